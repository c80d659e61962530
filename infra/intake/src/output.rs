//! What the operator sees: text on standard output, bars on a terminal, and with `--json` one object as the last line.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How a command ended, when nothing went wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All good.
    Good,
    /// Done, but some rows were rejected.
    Rejected,
    /// It did not work, and why has been said.
    Failed,
}

impl Verdict {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Failed => 1,
            Self::Rejected => 2,
        }
    }
}

/// Where a command's words go.
pub struct Output {
    json: bool,
    bars: MultiProgress,
}

impl Output {
    /// With `json`, standard output is kept for [`Output::result`] and text goes to standard error.
    pub fn new(json: bool) -> Self {
        let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self { json, bars: MultiProgress::with_draw_target(target) }
    }

    /// Whether the answer is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether bars are seen; where they are not, progress is said in lines.
    pub fn interactive(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Says a line, above the bars.
    pub fn say(&self, line: &str) {
        // A reader that has gone away, as with `| head`, must not fail the work.
        let _ = self.bars.suspend(|| match self.json {
            true => writeln!(io::stderr().lock(), "{line}"),
            false => writeln!(io::stdout().lock(), "{line}"),
        });
    }

    /// Writes a line about work that comes before the command's own output, to standard error.
    pub fn progress(&self, line: &str) {
        let _ = self.bars.suspend(|| writeln!(io::stderr().lock(), "{line}"));
    }

    /// Prints the answer, a single line, if it is wanted as JSON.
    pub fn result(&self, answer: &impl Serialize) -> anyhow::Result<()> {
        if self.json {
            writeln!(io::stdout().lock(), "{}", serde_json::to_string(answer)?)?;
        }
        Ok(())
    }

    /// A bar of `length` steps, shown on a terminal only.
    pub fn bar(&self, length: u64, kind: Bar) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(length));
        kind.dress(&bar);
        if self.interactive() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar
    }
}

/// What a bar counts.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// Steps of any kind.
    Steps,
    /// Bytes sent.
    Bytes,
    /// Chunks promoted; the message tells the rows.
    Chunks,
}

impl Bar {
    /// Gives the bar this look.
    pub fn dress(self, bar: &ProgressBar) {
        let template = match self {
            Self::Steps => "{prefix} {wide_bar} {percent}% · {eta}",
            Self::Bytes => "{prefix} {wide_bar} {bytes}/{total_bytes} · {bytes_per_sec}",
            Self::Chunks => "{prefix} {wide_bar} {pos}/{len} chunks · {msg}",
        };
        // A template that does not parse leaves the default look.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
    }
}

/// A number as people read it: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A size as people read it: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Rows as lines, their columns aligned.
pub fn table<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> Vec<String> {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["orders", "12"], ["é", "3"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(rows), ["orders  12", "é       3"]);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
