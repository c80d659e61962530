//! The object that a file becomes: bytes are hashed and sent in parts, while the next ones are made.

use bytes::Bytes;
use intake_aws::{Error as AwsError, Objects, Part};
use intake_postgres::exports::{Begun, Key, PartRecord, Progress, Resume};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How many parts are on their way at a time.
const IN_FLIGHT: usize = 2;

/// S3 takes so many parts of an object.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_PARTS: i32 = 10_000;

/// How large parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartSizes {
    /// With so many bytes a part ends where a range of rows does.
    pub(crate) enough: usize,
    /// With so many it ends wherever it is.
    pub(crate) most: usize,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error(transparent)]
    Objects(#[from] AwsError),
    #[error("the object has more parts than one may have")]
    TooManyParts,
    #[error("the upload of a part ended without an answer")]
    Lost,
}

/// A part on its way; given up, it is called off.
struct Sending {
    answer: JoinHandle<Result<Part, AwsError>>,
    /// Where the next try may go on once this part has arrived.
    resume: Option<Resume>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

/// What whoever keeps the books is told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<(Mutex<Progress>, Notify)>);

impl Told {
    /// Changes what is told.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until there is a place where the next try may go on, if there is not.
    pub(crate) async fn has_place(&self) {
        self.0.1.notified().await;
    }

    /// How far it is, with all parts that have not been written down.
    pub(crate) fn now(&self) -> Progress {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was told is written down: its parts need not be told once more.
    pub(crate) fn is_written_down(&self, progress: &Progress) {
        self.tell(|told| {
            told.parts.drain(..progress.parts.len().min(told.parts.len()));
            if told.resume == progress.resume {
                told.resume = None;
            }
        });
    }
}

/// An object that is being written.
pub(crate) struct Object {
    objects: Objects,
    key: String,
    sizes: PartSizes,
    upload_id: Option<String>,
    buffer: Vec<u8>,
    hash: Sha256,
    pub(crate) bytes: i64,
    pub(crate) rows: i64,
    sending: VecDeque<Sending>,
    /// The number of the last part that was sent.
    sent: i32,
    arrived: Vec<Part>,
    told: Told,
    /// The oldest transaction that had not ended for the snapshot; the lower 32 bits of its number.
    xmin: i64,
}

/// What an object turned out to be.
pub(crate) struct Written {
    pub(crate) sha256: [u8; 32],
    pub(crate) bytes: i64,
    pub(crate) rows: i64,
}

impl Object {
    /// One of which nothing is there.
    pub(crate) fn new(objects: Objects, key: String, sizes: PartSizes, told: Told, xmin: i64) -> Self {
        Self {
            objects,
            key,
            sizes,
            upload_id: None,
            buffer: Vec::new(),
            hash: Sha256::new(),
            bytes: 0,
            rows: 0,
            sending: VecDeque::new(),
            sent: 0,
            arrived: Vec::new(),
            told,
            xmin,
        }
    }

    /// Goes on behind the parts of an earlier try, and says which is the last of them; `None` when they are not there any more
    /// as they were.
    pub(crate) async fn resume(
        &mut self,
        begun: &Begun,
        resume: &Resume,
        recorded: &[PartRecord],
    ) -> Result<Option<i32>, AwsError> {
        let Some(there) = self.objects.parts(&self.key, &begun.upload_id).await? else { return Ok(None) };
        let mut behind = resume.bytes;
        for part in recorded.iter().take_while(|part| {
            let is_before = behind > 0;
            behind -= if is_before { part.size_bytes } else { 0 };
            is_before
        }) {
            let is_part = |other: &&Part| other.number == part.number && trimmed(&other.etag) == trimmed(&part.etag);
            let Some(part) = there.iter().find(is_part) else { return Ok(None) };
            let (number, size_bytes, etag) = (part.number, part.size_bytes, part.etag.clone());
            self.arrived.push(Part { number, size_bytes, etag });
        }
        let state = resume.sha256.as_slice().try_into().ok();
        let hash = state.and_then(|state| Sha256::deserialize(state).ok());
        let Some(hash) = hash.filter(|_| behind == 0) else {
            self.arrived.clear();
            return Ok(None);
        };
        self.upload_id = Some(begun.upload_id.clone());
        (self.hash, self.bytes, self.rows) = (hash, resume.bytes, resume.rows);
        self.sent = self.arrived.last().map_or(0, |part| part.number);
        Ok(Some(self.sent))
    }

    /// Writes bytes in which so many rows are.
    pub(crate) async fn write(&mut self, bytes: &[u8], rows: i64) -> Result<(), ObjectError> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as i64;
        self.rows += rows;
        self.buffer.extend_from_slice(bytes);
        let (rows, bytes) = (self.rows, self.bytes);
        self.told.tell(|told| (told.rows, told.bytes) = (rows, bytes));
        if self.buffer.len() >= self.sizes.most { self.send(None).await } else { Ok(()) }
    }

    /// A range of rows has ended, and the next one begins at a key, if it is the last of none.
    pub(crate) async fn range_ended(&mut self, next: Option<Key>) -> Result<(), ObjectError> {
        let Some(key) = next.filter(|_| self.buffer.len() >= self.sizes.enough) else { return Ok(()) };
        let resume =
            Resume { key, rows: self.rows, bytes: self.bytes, sha256: self.hash.serialize().to_vec(), xmin: self.xmin };
        self.send(Some(resume)).await
    }

    /// Sends what there is as the next part.
    async fn send(&mut self, resume: Option<Resume>) -> Result<(), ObjectError> {
        if self.sent == MAX_PARTS {
            return Err(ObjectError::TooManyParts);
        }
        let upload_id = match &self.upload_id {
            Some(upload_id) => upload_id.clone(),
            None => {
                let upload_id = self.objects.begin_multipart(&self.key).await?;
                self.told.tell(|told| told.upload_id = Some(upload_id.clone()));
                self.upload_id.insert(upload_id).clone()
            }
        };
        while self.sending.len() >= IN_FLIGHT {
            self.arrive().await?;
        }
        self.sent += 1;
        let bytes = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(self.sizes.most)));
        let (objects, key, number) = (self.objects.clone(), self.key.clone(), self.sent);
        let answer = tokio::spawn(async move { objects.put_part(&key, &upload_id, number, bytes).await });
        self.sending.push_back(Sending { answer, resume });
        Ok(())
    }

    /// Waits for the first part that is on its way.
    async fn arrive(&mut self) -> Result<(), ObjectError> {
        let Some(mut sending) = self.sending.pop_front() else { return Ok(()) };
        let part = (&mut sending.answer).await.map_err(|_| ObjectError::Lost)??;
        let record =
            PartRecord { number: part.number, size_bytes: part.size_bytes.cast_signed(), etag: part.etag.clone() };
        let resume = sending.resume.take();
        let is_place = resume.is_some();
        self.told.tell(|told| {
            told.parts.push(record);
            if is_place {
                told.resume = resume;
            }
        });
        if is_place {
            self.told.0.1.notify_one();
        }
        self.arrived.push(part);
        Ok(())
    }

    /// Waits for all parts that are on their way.
    pub(crate) async fn settle(&mut self) -> Result<(), ObjectError> {
        while !self.sending.is_empty() {
            self.arrive().await?;
        }
        Ok(())
    }

    /// Sends the rest, and makes an object of all.
    pub(crate) async fn finish(mut self) -> Result<Written, ObjectError> {
        if self.upload_id.is_some() {
            if !self.buffer.is_empty() {
                self.send(None).await?;
            }
            self.settle().await?;
        }
        match self.upload_id {
            Some(upload_id) => self.objects.complete_multipart(&self.key, &upload_id, self.arrived).await?,
            None => drop(self.objects.put(&self.key, self.buffer.into()).await?),
        }
        Ok(Written { sha256: self.hash.finalize().into(), bytes: self.bytes, rows: self.rows })
    }
}

/// A version without the quotes that some put around it.
fn trimmed(etag: &str) -> &str {
    etag.trim_matches('"')
}
