//! `intake rejects`: the rows that were refused, each with its reasons.

use std::io::{self, BufWriter, Write};

use crate::api::Api;
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

/// Prints all rejects as NDJSON, as they come; they can be mended and sent again as they are.
pub async fn run(args: &Args, _: &Output) -> anyhow::Result<Verdict> {
    let api = args.api.connect_to(&args.token).await?;
    print(&api, &args.token, &mut BufWriter::new(io::stdout())).await?;
    Ok(Verdict::Good)
}

/// Writes all rejects, however many answers they take.
async fn print(api: &Api, token: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let mut cursor = None;
    loop {
        cursor = api.rejects(token, cursor.as_deref(), out).await?;
        if cursor.is_none() {
            return Ok(out.flush()?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stub::{Answer, Request, Stub};

    async fn printed(answer: fn(&Request, &str) -> Answer) -> (String, anyhow::Result<()>) {
        let stub = Stub::start(answer);
        let mut out = Vec::new();
        let result = print(&Api::new(&stub.url, "key").unwrap(), "token", &mut out).await;
        (String::from_utf8(out).unwrap(), result)
    }

    #[tokio::test]
    async fn rejects_are_printed_to_the_last_and_nothing_else() {
        let (out, result) = printed(|request, _| match request.line.as_str() {
            "GET /api/v1/ingest/sessions/token/rejects" => {
                (200, "", "{\"line\":1}\n\n{\"line\":2}\n{\"_meta\":{\"next_cursor\":\"a b\"}}\n".to_owned())
            }
            "GET /api/v1/ingest/sessions/token/rejects?cursor=a%20b" => {
                (200, "", "{\"line\":3}\n{\"_meta\":{\"next_cursor\":null,\"complete\":true}}".to_owned())
            }
            _ => (404, "", String::new()),
        })
        .await;
        result.unwrap();
        assert_eq!(out, "{\"line\":1}\n{\"line\":2}\n{\"line\":3}\n");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_an_error() {
        let (out, result) = printed(|_, _| (200, "", "{\"line\":1}\n".to_owned())).await;
        assert_eq!(out, "{\"line\":1}\n");
        assert!(result.unwrap_err().to_string().contains("cut off"));

        const BROKEN: &str = "{\"line\":1}\n{\"error\":{\"code\":\"INTERNAL\"}}\n";
        let (out, result) = printed(|_, _| (200, "", BROKEN.to_owned())).await;
        assert_eq!(out, "{\"line\":1}\n");
        assert!(result.unwrap_err().to_string().contains("broke off"));
    }
}
