//! `intake webhooks`: the secret that calls are signed with, and whether a call is to be trusted.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use intake_domain::webhook::{Message, Secret, TOLERANCE};
use intake_postgres::webhooks;
use serde_json::json;
use uuid::Uuid;

use crate::output::{Output, Verdict};
use crate::target::DatabaseOptions;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Action {
    /// Check the signature of a call; exit code 0 if it is to be trusted, 1 if not
    Verify(Call),
    /// Show the secret of a tenant, which is made when it has none
    Secret {
        /// Whose
        #[arg(long, value_name = "UUID")]
        tenant_id: Uuid,
        /// Make a new one; calls are signed with it from then on, and with the old one no more
        #[arg(long)]
        rotate: bool,
        #[command(flatten)]
        database: DatabaseOptions,
    },
}

/// A call as it was received.
#[derive(clap::Args, Clone, Debug)]
struct Call {
    /// The tenant's secret, `whsec_…`
    #[arg(long, env = "INTAKE_WEBHOOK_SECRET", value_name = "SECRET", hide_env_values = true)]
    secret: String,
    /// The header webhook-id
    #[arg(long)]
    id: String,
    /// The header webhook-timestamp
    #[arg(long, value_name = "SECONDS")]
    timestamp: u64,
    /// The header webhook-signature
    #[arg(long, value_name = "LIST")]
    signature: String,
    /// The body, byte for byte [default: standard input]
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// How many seconds the timestamp may be away from now
    #[arg(long, value_name = "SECONDS", default_value_t = TOLERANCE.as_secs())]
    tolerance: u64,
}

/// Runs the action.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    match &args.action {
        Action::Verify(call) => verify(call, output),
        Action::Secret { tenant_id, rotate, database } => {
            let secret = secret(&database.url().await?, *tenant_id, *rotate).await?.text();
            if !output.json() {
                output.say(&secret);
            }
            output.result(&json!({"tenant_id": tenant_id, "secret": secret}))?;
            Ok(Verdict::Good)
        }
    }
}

fn verify(call: &Call, output: &Output) -> anyhow::Result<Verdict> {
    let secret = Secret::parse(&call.secret)?;
    let body = read_body(call.body_file.as_deref())?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let message = Message { id: &call.id, timestamp: call.timestamp, body: &body };
    let verified = secret.verify(&message, &call.signature, now, Duration::from_secs(call.tolerance));
    let reason = verified.err().map(|error| error.to_string());
    output.say(&reason.as_ref().map_or("valid".to_owned(), |reason| format!("not valid: {reason}")));
    output.result(&json!({"valid": reason.is_none(), "reason": reason}))?;
    Ok(if reason.is_none() { Verdict::Good } else { Verdict::Failed })
}

fn read_body(file: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    match file {
        Some(file) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display())),
        None => {
            let mut body = Vec::new();
            io::stdin().lock().read_to_end(&mut body).context("cannot read the body from standard input")?;
            Ok(body)
        }
    }
}

/// The tenant's secret, or its new one.
async fn secret(database_url: &str, tenant: Uuid, rotate: bool) -> anyhow::Result<Secret> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| anyhow!("the system has no random bytes: {error}"))?;
    let client = intake_postgres::connect(database_url).await?;
    let is_known = !rotate || webhooks::rotate_secret(&client, tenant, random).await?;
    match webhooks::secret(&client, tenant, random).await? {
        Some(secret) if is_known => Ok(Secret::new(&secret)?),
        _ => bail!("there is no tenant {tenant}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_held_against_its_body() {
        let path = std::env::temp_dir().join(format!("intake-webhook-{}", Uuid::new_v4()));
        std::fs::write(&path, "{}\n").unwrap();
        let secret = Secret::new(&[7; 32]).unwrap();
        let signed = |body: &[u8]| secret.sign(&Message { id: "1", timestamp: 1_600_000_000, body });
        let call = |signature: String, tolerance| Call {
            secret: secret.text(),
            id: "1".to_owned(),
            timestamp: 1_600_000_000,
            signature,
            body_file: Some(path.clone()),
            tolerance,
        };
        let verdict = |call: &Call| verify(call, &Output::new(true)).unwrap();
        let ever = u64::MAX;
        assert_eq!(verdict(&call(signed(b"{}\n"), ever)), Verdict::Good);
        assert_eq!(verdict(&call(signed(b"{}"), ever)), Verdict::Failed);
        assert_eq!(verdict(&call(signed(b"{}\n"), TOLERANCE.as_secs())), Verdict::Failed);
        std::fs::remove_file(&path).unwrap();
    }
}
