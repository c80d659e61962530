//! The process of one function.

use std::pin::Pin;
use std::process::ExitCode;

/// Work in progress on one thread. Boxed, so that the code behind it is compiled once, in the crate that defines it.
pub type LocalPending<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A function at work.
pub type Run = LocalPending<'static, Result<(), lambda_runtime::Error>>;

/// Runs a function to its end. An error is written to standard error and gives exit code 1.
#[must_use]
pub fn run(function: fn() -> Run) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(function()),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
