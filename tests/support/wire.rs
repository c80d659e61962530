//! A wire to PostgreSQL that tells for how long it was waited for.

use anyhow::{Context, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A wire. It ends when it is dropped.
pub(crate) struct Wire {
    clock: Arc<Mutex<Clock>>,
    server: JoinHandle<()>,
    /// Where clients that use it connect to.
    pub(crate) url: String,
}

/// Runs while something was asked that is not answered.
#[derive(Default)]
struct Clock {
    open: usize,
    since: Option<Instant>,
    waited: Duration,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Wire {
    /// A wire to the database of that URL, which names its port.
    pub(crate) async fn open(database_url: &str) -> Result<Self> {
        let config: tokio_postgres::Config = database_url.parse()?;
        let port = *config.get_ports().first().context("a port")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = database_url.replace(&format!(":{port}"), &format!(":{}", listener.local_addr()?.port()));
        let clock: Arc<Mutex<Clock>> = Arc::default();
        let of_server = Arc::clone(&clock);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, Arc::clone(&of_server)));
            }
        });
        Ok(Self { clock, server, url })
    }

    /// For how long answers were waited for since this was asked the last time.
    pub(crate) fn waited(&self) -> Duration {
        std::mem::take(&mut lock(&self.clock).waited)
    }
}

fn lock(clock: &Mutex<Clock>) -> MutexGuard<'_, Clock> {
    clock.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(mut client: TcpStream, port: u16, clock: Arc<Mutex<Clock>>) -> Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    // a client's first message has no letter
    let (mut asked, mut answered) = (Messages { head: vec![0], rest: 0 }, Messages { head: Vec::new(), rest: 0 });
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let bytes = &up[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let questions = asked.count(bytes, b"QS");
                if questions > 0 {
                    let mut clock = lock(&clock);
                    clock.since.get_or_insert_with(Instant::now);
                    clock.open += questions;
                }
                server.write_all(bytes).await?;
            }
            read = server.read(&mut down) => {
                let bytes = &down[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
                // the first answer is to the first message, which was no question
                let answers = answered.count(bytes, b"Z");
                let mut clock = lock(&clock);
                clock.open = clock.open.saturating_sub(answers);
                if clock.open == 0 && let Some(since) = clock.since.take() {
                    clock.waited += since.elapsed();
                }
            }
        }
    }
}

/// The messages of one direction: a letter, a length, and what it says.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
struct Messages {
    head: Vec<u8>,
    /// How many bytes the last one still has.
    rest: usize,
}

impl Messages {
    /// How many messages with these letters begin in the bytes.
    fn count(&mut self, mut bytes: &[u8], letters: &[u8]) -> usize {
        let mut found = 0;
        while let Some((first, others)) = bytes.split_first() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                bytes = &bytes[skipped..];
                self.rest -= skipped;
                continue;
            }
            self.head.push(*first);
            bytes = others;
            if let [letter, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                found += usize::from(letters.contains(letter));
                self.rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
                self.head.clear();
            }
        }
        found
    }
}
