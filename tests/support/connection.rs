//! A connection that another process makes: what it trusts is read once in each.

use std::process::ExitCode;

/// Where the environment asks for it, connects, says whether the way is encrypted, and has the process end.
pub(crate) fn probe_connection() -> Option<ExitCode> {
    let url = std::env::var("INTAKE_TESTS_CONNECT").ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let connected = runtime.block_on(async {
        let client = intake_postgres::connect(&url).await?;
        let row = client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await?;
        anyhow::Ok(row.get::<_, bool>(0))
    });
    Some(match connected {
        Ok(is_encrypted) => {
            println!("encrypted: {is_encrypted}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}
