//! What the stack has written into its logs, and what must never stand there.

use super::Ground;
use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What opens something or names somebody, and how it is found, whatever the tests sent.
const SECRETS: [(&str, &str); 6] = [
    ("an API key", r"(itk|api_key)_[0-9a-f-]{32,}"),
    ("a presigned query", r"(?i)x-amz-(signature|credential)(=|%3d)[\w%/-]*"),
    ("an e-mail address", r"(?i)[\w.+%-]+@[\w-]+\.[a-z]{2,}"),
    ("a password", r"postgres(ql)?://[^\s/@]+@"),
    ("a webhook's secret", r"whsec_[\w+/=]*"),
    ("an upload token in a path", r"ingest/sessions/[0-9a-fA-F-]{32,36}"),
];

const UUID: &str = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

/// What was found is shown up to here.
const SHOWN: usize = 400;

/// The logs of a run, and what the run made that must not stand in them.
pub(crate) struct Logs {
    folder: PathBuf,
    upload_tokens: HashSet<String>,
}

impl Logs {
    /// The logs in this folder, of a stack whose uploads had these tokens.
    pub(crate) fn new(folder: PathBuf, upload_tokens: HashSet<String>) -> Self {
        Self { folder, upload_tokens }
    }

    /// Fails when anything stands in them that opens something or names somebody; says what and where.
    pub(crate) fn hold_no_secret(&self) -> Result<()> {
        let patterns = SECRETS.map(|(what, pattern)| (what, Regex::new(pattern).expect("a pattern")));
        let uuid = Regex::new(UUID).context("a pattern")?;
        let (mut read, mut found) = (0, Vec::new());
        for entry in std::fs::read_dir(&self.folder).with_context(|| self.folder.display().to_string())? {
            let path = entry?.path();
            for (at, line) in lines(&path)?.enumerate() {
                let line = line?;
                read += 1;
                let mut kinds: Vec<_> =
                    patterns.iter().filter(|(_, pattern)| pattern.is_match(&line)).map(|(what, _)| *what).collect();
                if uuid.find_iter(&line).any(|id| self.upload_tokens.contains(id.as_str())) {
                    kinds.push("an upload token");
                }
                if !kinds.is_empty() {
                    let place = format!("{}:{}", path.display(), at + 1);
                    found.push(format!("{place}: {}: {}", kinds.join(", "), redacted(&line, &patterns, &uuid)));
                }
            }
        }
        ensure!(read > 0, "{} holds no line", self.folder.display());
        ensure!(
            found.is_empty(),
            "{} lines of {read}, among them\n{}",
            found.len(),
            found[..found.len().min(20)].join("\n")
        );
        Ok(())
    }
}

fn lines(path: &Path) -> Result<impl Iterator<Item = Result<String>> + use<>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(BufReader::new(file).split(b'\n').map(|line| Ok(String::from_utf8_lossy(&line?).into_owned())))
}

/// A line in which what was found is struck out, and every id too: one of them may be a token.
fn redacted(line: &str, patterns: &[(&str, Regex)], uuid: &Regex) -> String {
    let struck =
        patterns.iter().fold(line.to_owned(), |line, (_, pattern)| pattern.replace_all(&line, "█").into_owned());
    uuid.replace_all(&struck, "█").chars().take(SHOWN).collect()
}

impl Ground {
    /// The lines that functions have written so far, as far as they are JSON: what a process says of its own end is not.
    pub(crate) fn function_log(&self) -> Result<Vec<Value>> {
        let lines = lines(&self.logs().join("functions.log"))?;
        let lines: Vec<_> = lines.collect::<Result<_>>()?;
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}
