//! `intake logs`: what the parts of the local stack have written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use intake_local::Settings;
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
}

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
        log.show(args.lines, output)?;
    }
    if !args.follow {
        return Ok(Verdict::Good);
    }
    loop {
        sleep(Duration::from_millis(250)).await;
        for log in &mut logs {
            log.show(usize::MAX, output)?;
        }
    }
}

impl Log {
    /// Says the last `limit` of the lines that came since; a log that does not exist has none.
    fn show(&mut self, limit: usize, output: &Output) -> anyhow::Result<()> {
        let (lines, offset) = match tail(&self.path, self.offset, limit) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            read => read.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        self.offset = offset;
        lines.iter().for_each(|line| output.say(&format!("{:<9} | {line}", self.part)));
        Ok(())
    }
}

/// The last `limit` whole lines from `offset` on, and where they end.
fn tail(path: &Path, offset: u64, limit: usize) -> io::Result<(VecDeque<String>, u64)> {
    let mut file = File::open(path)?;
    // A log that became shorter was begun anew.
    let mut offset = if file.metadata()?.len() < offset { 0 } else { offset };
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::new(file);
    let (mut lines, mut line) = (VecDeque::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        offset += line.len() as u64;
        lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
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
        std::fs::write(&path, "a\nb\nc\nhal").unwrap();
        assert_eq!(tail(&path, 0, 2).unwrap(), (["b", "c"].map(str::to_owned).into(), 6));
        std::fs::write(&path, "a\nb\nc\nhalf\n").unwrap();
        assert_eq!(tail(&path, 6, 9).unwrap(), (["half".to_owned()].into(), 11));
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(tail(&path, 11, 9).unwrap(), (["new".to_owned()].into(), 4));
        std::fs::remove_file(&path).unwrap();
    }
}
