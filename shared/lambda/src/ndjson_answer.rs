//! Answers of NDJSON that are sent while they are read, in constant memory: pages of lines, and a last line that says that
//! the answer is whole, or where it broke off. An answer without either was cut off on the way.

use crate::{Problem, http};
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::convert::Infallible;

/// The media type of lines of JSON.
pub const CONTENT_TYPE: &str = "application/x-ndjson";

/// Lines of an answer.
#[derive(Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// An empty line, which says nothing but that the answer goes on.
    #[must_use]
    pub fn empty_line() -> Self {
        Self(b"\n".to_vec())
    }

    /// Adds a line.
    ///
    /// # Errors
    /// 500 for what cannot be written as JSON.
    pub fn push(&mut self, line: &impl Serialize) -> Result<(), Problem> {
        serde_json::to_writer(&mut self.0, line).map_err(|error| Problem::internal(&error))?;
        self.0.push(b'\n');
        Ok(())
    }

    /// How many bytes they have as a string of JSON, which an answer that is sent whole becomes.
    fn escaped_len(&self) -> usize {
        self.0.len() + self.0.iter().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n')).count()
    }
}

/// How much more an answer may have.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// In bytes; `None` where answers are sent while they are made.
    left: Option<usize>,
}

impl Room {
    /// Whether about so many bytes of lines fit in.
    #[must_use]
    pub fn fits(self, bytes: usize) -> bool {
        // quotes are escaped: of what is mostly quotes twice as much is left
        self.left.is_none_or(|left| left >= 2 * bytes)
    }

    fn spend(&mut self, lines: &Lines) {
        self.left = self.left.map(|left| left.saturating_sub(lines.escaped_len()));
    }
}

/// What an answer is made of.
pub trait Pages: Send + 'static {
    /// What the last line is.
    type End: Serialize;

    /// The next lines; `None` at the end. Nothing of a store is held between two pages. One that does not fit into the
    /// `room` ends the answer, too.
    fn page(&mut self, room: Room) -> impl Future<Output = Result<Option<Lines>, Problem>> + Send;

    /// The last line of an answer that is whole.
    fn end(&self) -> Self::End;

    /// The last line of an answer that breaks off, because its store failed.
    fn broken(&self) -> Self::End;
}

/// Answers with these lines. What fails before anything is sent is a problem as everywhere.
///
/// # Errors
/// Whatever the first page fails with.
pub async fn answer(mut pages: impl Pages) -> Result<Response, Problem> {
    let mut room = Room { left: http::body_limit() };
    let first = pages.page(room).await?;
    first.iter().for_each(|lines| room.spend(lines));
    let rest = stream::unfold(Some((pages, room)), async |reading| {
        let (mut pages, mut room) = reading?;
        Some(match pages.page(room).await {
            Ok(Some(lines)) => {
                room.spend(&lines);
                (Bytes::from(lines.0), Some((pages, room)))
            }
            Ok(None) => (last(&pages.end()), None),
            Err(_) => (last(&pages.broken()), None),
        })
    });
    let first = first.map(|lines| Bytes::from(lines.0));
    let body = stream::iter(first).chain(rest).map(Ok::<_, Infallible>);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::from_stream(body)).into_response())
}

fn last(end: &impl Serialize) -> Bytes {
    let mut line = Lines::default();
    // what cannot be written is logged, and the answer ends without a last line
    drop(line.push(end));
    line.0.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    /// So many pages of one line each, and then the end, or a failure.
    struct Numbers {
        next: usize,
        pages: usize,
        fails: bool,
    }

    impl Pages for Numbers {
        type End = Value;

        async fn page(&mut self, room: Room) -> Result<Option<Lines>, Problem> {
            if self.next == self.pages && self.fails {
                return Err(Problem::new(Code::Unavailable, "gone"));
            }
            if self.next == self.pages || !room.fits(1 << 20) {
                return Ok(None);
            }
            self.next += 1;
            let mut lines = Lines::default();
            lines.push(&json!({"number": self.next, "text": "\"".repeat(100_000)}))?;
            Ok(Some(lines))
        }

        fn end(&self) -> Value {
            json!({"_meta": self.next})
        }

        fn broken(&self) -> Value {
            json!({"error": self.next})
        }
    }

    async fn read(pages: Numbers) -> Vec<Value> {
        let answer = answer(pages).await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], CONTENT_TYPE);
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    #[tokio::test]
    async fn the_last_line_says_how_it_ended() {
        for (pages, fails, expected) in
            [(0, false, json!({"_meta": 0})), (3, false, json!({"_meta": 3})), (3, true, json!({"error": 3}))]
        {
            let lines = read(Numbers { next: 0, pages, fails }).await;
            assert_eq!((lines.len(), lines.last()), (pages + 1, Some(&expected)));
        }
        let failed = answer(Numbers { next: 0, pages: 0, fails: true }).await.expect_err("a problem");
        assert_eq!(failed.code(), Code::Unavailable, "nothing was sent yet");
    }

    #[tokio::test]
    async fn an_answer_that_is_sent_whole_has_a_size() {
        // four bytes for each quote: it is escaped in its line, and both bytes of that in the whole
        let lines = read(Numbers { next: 0, pages: 100, fails: false }).await;
        let sent: usize = lines.iter().map(|line| json!(line.to_string()).to_string().len()).sum();
        assert!(sent < 4 << 20 && lines.len() > 4, "{sent} bytes in {} lines", lines.len());
    }
}
