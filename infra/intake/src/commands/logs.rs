//! `intake logs`: what the parts of the local stack have written.

use std::collections::VecDeque;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use intake_local::Settings;
use serde_json::{Map, Value};
use tokio::time::sleep;

use crate::output::{Output, Verdict};

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Parts to show [default: all]
    parts: Vec<String>,
    /// Go on with what is written from now
    #[arg(long, short)]
    follow: bool,
    /// Last lines of each part to begin with
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    lines: usize,
    /// Show what the functions counted, too
    #[arg(long)]
    metrics: bool,
    /// Show lines as they were written
    #[arg(long)]
    raw: bool,
}

/// Fields that stand at the beginning of a line, without their names.
const HEAD: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Fields that say what others say better.
const LEFT_OUT: [&str; 2] = ["name", "message_id"];

/// A log, read up to `offset`.
struct Log {
    part: String,
    path: PathBuf,
    offset: u64,
}

/// Shows the last lines of each log, then follows them if asked to.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let known = intake_local::logs(&Settings::from_env()?);
    if let Some(part) = args.parts.iter().find(|part| known.iter().all(|(name, _)| name != *part)) {
        let names: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
        bail!("the stack has no part {part}, it has {}", names.join(", "));
    }
    let wanted = known.into_iter().filter(|(name, _)| args.parts.is_empty() || args.parts.contains(name));
    let mut logs: Vec<_> = wanted.map(|(part, path)| Log { part, path, offset: 0 }).collect();
    for log in &mut logs {
        log.show(args.lines, args, output)?;
    }
    if !args.follow {
        return Ok(Verdict::Good);
    }
    loop {
        sleep(Duration::from_millis(250)).await;
        for log in &mut logs {
            log.show(usize::MAX, args, output)?;
        }
    }
}

impl Log {
    /// Says the last `limit` of the lines that came since; a log that does not exist has none.
    fn show(&mut self, limit: usize, args: &Args, output: &Output) -> anyhow::Result<()> {
        let (lines, offset) = match tail(&self.path, self.offset, limit, |line| args.read(line)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            read => read.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        self.offset = offset;
        lines.iter().for_each(|line| output.say(&format!("{:<9} | {line}", self.part)));
        Ok(())
    }
}

impl Args {
    /// A line as it is shown; `None` for one that is not.
    fn read(&self, line: &str) -> Option<String> {
        let fields: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
        let is_metrics = fields.contains_key("_aws");
        match () {
            () if is_metrics && !self.metrics => None,
            () if self.raw || fields.is_empty() => Some(line.to_owned()),
            () => Some(for_people(&fields)),
        }
    }
}

/// A line of JSON as a sentence: its time, what it says, and `name=value` for the rest.
fn for_people(fields: &Map<String, Value>) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |name: &str| fields.get(name).map(text).unwrap_or_default();
    // the day is known
    let time: String = of("timestamp").chars().skip(11).take(12).collect();
    let mut line = match fields.contains_key("_aws") {
        true => "metrics".to_owned(),
        false => format!("{time} {:<5} {}: {}", of("level"), of("target"), of("message")),
    };
    let is_said = |name: &str| HEAD.contains(&name) || LEFT_OUT.contains(&name) || name == "_aws";
    // what happened comes before what it happened to
    let (ids, rest): (Vec<_>, Vec<_>) =
        fields.iter().filter(|(name, _)| !is_said(name)).partition(|(name, _)| name.ends_with("_id"));
    for (name, value) in rest.into_iter().chain(ids) {
        // writing to a string does not fail
        let _ = write!(line, " {name}={}", text(value));
    }
    line
}

/// The last `limit` whole lines from `offset` on, as far as they are shown, and where they end.
fn tail(
    path: &Path,
    offset: u64,
    limit: usize,
    show: impl Fn(&str) -> Option<String>,
) -> io::Result<(VecDeque<String>, u64)> {
    let mut file = File::open(path)?;
    // A log that became shorter was begun anew.
    let mut offset = if file.metadata()?.len() < offset { 0 } else { offset };
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::new(file);
    let (mut lines, mut line) = (VecDeque::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        offset += line.len() as u64;
        lines.extend(show(String::from_utf8_lossy(&line).trim_end()));
        if lines.len() > limit {
            lines.pop_front();
        }
        line.clear();
    }
    Ok((lines, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_in_whole_lines_and_on_from_there() {
        let path = std::env::temp_dir().join(format!("intake-log-{}", uuid::Uuid::new_v4()));
        let all = |line: &str| Some(line.to_owned());
        std::fs::write(&path, "a\nb\nc\nhal").unwrap();
        assert_eq!(tail(&path, 0, 2, all).unwrap(), (["b", "c"].map(str::to_owned).into(), 6));
        std::fs::write(&path, "a\nb\nc\nhalf\n").unwrap();
        assert_eq!(tail(&path, 6, 9, all).unwrap(), (["half".to_owned()].into(), 11));
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(tail(&path, 11, 9, all).unwrap(), (["new".to_owned()].into(), 4));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn lines_of_json_are_shown_as_sentences() {
        let args = |metrics, raw| Args { parts: Vec::new(), follow: false, lines: 1, metrics, raw };
        let said = r#"{"level":"INFO","target":"load_chunk::load","timestamp":"2026-11-22T06:49:19.434045Z","message":"chunk staged","file_id":"f","rejected":20,"name":"message"}"#;
        let shown = "06:49:19.434 INFO  load_chunk::load: chunk staged rejected=20 file_id=f";
        assert_eq!(args(false, false).read(said).as_deref(), Some(shown));
        assert_eq!(args(false, true).read(said).as_deref(), Some(said));
        assert_eq!(args(false, false).read("panicked at x").as_deref(), Some("panicked at x"));
        let counted = r#"{"_aws":{},"FunctionName":"LoadChunk","AcceptedRows":20}"#;
        assert_eq!(args(false, true).read(counted), None);
        let shown = "metrics AcceptedRows=20 FunctionName=LoadChunk";
        assert_eq!(args(true, false).read(counted).as_deref(), Some(shown));
    }
}
