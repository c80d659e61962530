//! The list of codes for people, held against the code. `INTAKE_WRITE_DOCS=1 cargo test -p intake-domain` writes it anew.

use intake_domain::failure::Failure;
use intake_domain::reject::Code;
use std::fmt::Write;
use std::path::Path;

/// A cell of a table, in which a vertical bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn document() -> Result<String, std::fmt::Error> {
    let mut text = String::from(
        "# Codes\n\n\
         Written by `tests/codes.rs` from the code. Codes are never renamed or used again for something else.\n\n\
         ## Rows\n\n\
         What can be wrong with a row. A refused row is told with all its errors, each with its code, the field as a JSON \
         pointer and a sentence, by `GET /api/v1/ingest/sessions/{upload_token}/rejects`.\n\n\
         | code | meaning | example |\n|---|---|---|\n",
    );
    for (_, code, meaning, example) in Code::ALL {
        // some examples are described
        let tick = if example.contains(['{', '[', '"']) { "`" } else { "" };
        writeln!(text, "| `{code}` | {} | {tick}{}{tick} |", cell(meaning), cell(example))?;
    }
    text.push_str(
        "\n## Files\n\n\
         Why a file ended without all its rows being in, by `GET /api/v1/ingest/sessions/{upload_token}/status`. One that \
         is resumable goes on with `POST /api/v1/ingest/sessions/{upload_token}/resume`; any other is sent again in another \
         session once it is mended.\n\n\
         | code | meaning | resumable |\n|---|---|---|\n",
    );
    for (failure, meaning) in Failure::ALL {
        let resumable = if failure.is_resumable() { "yes" } else { "no" };
        writeln!(text, "| `{}` | {} | {resumable} |", failure.as_str(), cell(meaning))?;
    }
    Ok(text)
}

#[test]
fn the_list_of_codes_is_that_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("CODES.md");
    let document = document().expect("text is always written");
    if std::env::var_os("INTAKE_WRITE_DOCS").is_some() {
        std::fs::write(&file, &document).expect("a writable folder");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == document, "CODES.md is not up to date: run this test with INTAKE_WRITE_DOCS=1");
}
