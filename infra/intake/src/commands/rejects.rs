//! `intake rejects`: the rows that were refused, each with its reasons.

use std::io::{self, BufWriter, Write};

use crate::output::{Output, Verdict};
use crate::target::ApiOptions;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The session's upload token
    token: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Prints all rejects as NDJSON; they can be mended and sent again as they are.
pub async fn run(args: &Args, _: &Output) -> anyhow::Result<Verdict> {
    let api = args.api.connect().await?;
    let mut out = BufWriter::new(io::stdout());
    let mut cursor = None;
    loop {
        cursor = api.rejects(&args.token, cursor.as_deref(), &mut out).await?;
        if cursor.is_none() {
            out.flush()?;
            return Ok(Verdict::Good);
        }
    }
}
