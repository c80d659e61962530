//! Sends the files of a session: parts side by side, and when addresses have become too old, with new ones.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use tokio::sync::{Mutex, Semaphore};

use crate::api::{Api, Part, Refusal, Upload, header_map};
use crate::data_files::LocalFile;

/// How often in a row a file is sent to new addresses and nothing of it arrives, before it is given up.
const FRUITLESS_ROUNDS: u32 = 2;

/// What is still to be sent of each file, by its name.
pub type Uploads = BTreeMap<String, Upload>;

/// The sending of a session's files.
pub struct Transfer<'a> {
    api: &'a Api,
    token: &'a str,
    /// Uploads that may go on at once.
    slots: &'a Semaphore,
    tickets: Mutex<Tickets>,
}

/// Where files go. All files get new addresses at once, so that one that finds them too old asks for all.
struct Tickets {
    generation: u32,
    uploads: Uploads,
}

/// How a file's round ended.
enum Round {
    /// All of it has arrived.
    Done,
    /// An address was refused, or the parts do not make the file; `fruitless` when nothing has arrived for good.
    Refused { refusal: anyhow::Error, fruitless: bool },
}

impl<'a> Transfer<'a> {
    /// Sends to the addresses in `uploads`; a file that is not among them has arrived.
    pub fn new(api: &'a Api, token: &'a str, slots: &'a Semaphore, uploads: Uploads) -> Self {
        Self { api, token, slots, tickets: Mutex::new(Tickets { generation: 0, uploads }) }
    }

    /// Sends what is missing of a file; calls `sent` with the bytes that have arrived. Refuses a file that is no longer
    /// what was declared.
    pub async fn send(&self, file: &LocalFile, sent: &impl Fn(u64)) -> anyhow::Result<()> {
        let (mut counted, mut fruitless_rounds, mut known) = (BTreeSet::new(), 0, None);
        loop {
            let (generation, upload) = self.ticket(&file.name, known).await?;
            let Some(upload) = upload else { return Ok(()) };
            let context = || format!("cannot upload {}", file.path.display());
            match self.round(file, &upload, &mut counted, sent).await {
                Ok(Round::Done) => return Ok(()),
                Err(error) => {
                    // A file that was cut short breaks the connection; it is why, not the connection.
                    file.ensure_unchanged()?;
                    return Err(error.context(context()));
                }
                Ok(Round::Refused { refusal, fruitless }) => {
                    fruitless_rounds = if fruitless { fruitless_rounds + 1 } else { 0 };
                    if fruitless_rounds > FRUITLESS_ROUNDS {
                        return Err(refusal.context(context()));
                    }
                    known = Some(generation);
                }
            }
        }
    }

    /// Where a file goes, newer than what is `known`.
    async fn ticket(&self, name: &str, known: Option<u32>) -> anyhow::Result<(u32, Option<Upload>)> {
        let mut tickets = self.tickets.lock().await;
        if known == Some(tickets.generation) {
            let resumed = self.api.resume(self.token, &[]).await?;
            let missing = resumed.files.into_iter().filter_map(|file| Some((file.name, file.upload?)));
            *tickets = Tickets { generation: tickets.generation + 1, uploads: missing.collect() };
        }
        Ok((tickets.generation, tickets.uploads.get(name).cloned()))
    }

    /// Sends what a ticket names, all of it: the server may have begun the upload anew, and then has nothing of what
    /// had arrived. Parts that were `counted` are not told again.
    async fn round(
        &self,
        file: &LocalFile,
        upload: &Upload,
        counted: &mut BTreeSet<u64>,
        sent: &impl Fn(u64),
    ) -> anyhow::Result<Round> {
        match upload {
            Upload::Put { url, headers } => {
                let _slot = self.slots.acquire().await?;
                file.ensure_unchanged()?;
                let put = self.api.put(url, header_map(headers)?, file, 0, file.size_bytes).await;
                if let Some(refusal) = refusal_of_the_address(put)? {
                    return Ok(Round::Refused { refusal, fruitless: true });
                }
                file.ensure_unchanged()?;
                sent(file.size_bytes);
            }
            Upload::Multipart { part_size_bytes, parts, complete_path } => {
                // The addresses of a file age together: after the first refusal the others are not tried.
                let refused = RefCell::new(None);
                let counted = RefCell::new(counted);
                let send_part = async |part: &Part| -> anyhow::Result<bool> {
                    let _slot = self.slots.acquire().await?;
                    if refused.borrow().is_some() {
                        return Ok(false);
                    }
                    file.ensure_unchanged()?;
                    let offset = part.part_number.saturating_sub(1) * part_size_bytes;
                    let put = self.api.put(&part.url, Default::default(), file, offset, part.size_bytes).await;
                    let refusal = refusal_of_the_address(put).with_context(|| format!("part {}", part.part_number))?;
                    if refusal.is_some() {
                        *refused.borrow_mut() = refusal;
                        return Ok(false);
                    }
                    if counted.borrow_mut().insert(part.part_number) {
                        sent(part.size_bytes);
                    }
                    Ok(true)
                };
                let arrived = try_join_all(parts.iter().map(send_part)).await?;
                if let Some(refusal) = refused.into_inner() {
                    return Ok(Round::Refused { refusal, fruitless: !arrived.contains(&true) });
                }
                file.ensure_unchanged()?;
                if let Err(error) = self.api.complete(complete_path).await {
                    let refusal = error.context("the server does not take the upload as complete");
                    // Parts are missing, or the upload was aborted: what is to be sent is known to the server.
                    let status = refusal.downcast_ref::<Refusal>().map(Refusal::status);
                    if !matches!(status, Some(StatusCode::CONFLICT | StatusCode::GONE)) {
                        return Err(refusal);
                    }
                    return Ok(Round::Refused { refusal, fruitless: true });
                }
            }
        }
        Ok(Round::Done)
    }
}

/// The refusal, if it is one that a new address may mend; any other error stays one.
fn refusal_of_the_address(put: anyhow::Result<()>) -> anyhow::Result<Option<anyhow::Error>> {
    match put {
        Ok(()) => Ok(None),
        Err(error) => match error.downcast_ref::<Refusal>() {
            Some(refusal) if refusal.is_of_the_address() => Ok(Some(error)),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests;
