//! An upload whose outcome is known beforehand: its files, and the oracle that says what must come of them.

use super::oracle::{Created, Due, Failure, NEVER_ARRIVED, Oracle, Refusal, Sent, json};
use super::{Dice, File, Goods, Ground, Session, Shop, counts, file_named, object_created, sheet};
use anyhow::{Context, Result, bail, ensure};
use intake_aws::messages::{LoadChunk, PromoteFile};
use intake_domain::dataset::{self, Effect, Lane};
use intake_domain::object_key::FileKey;
use intake_domain::value::Kind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

const POLL: Duration = Duration::from_millis(100);

/// How long an upload may take on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(120);

/// A session of files, and what must come of it.
pub(crate) struct Upload {
    pub(crate) shop: Shop,
    pub(crate) session: Session,
    files: Vec<File>,
    sent: Vec<Sent>,
    is_dry_run: bool,
    was_resumed: AtomicBool,
    stored: Oracle,
}

/// A message as it goes through a queue.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) queue: &'static str,
    pub(crate) function: &'static str,
    pub(crate) body: String,
}

/// Where a file is, as the ledger has it.
struct Place {
    at: usize,
    state: String,
    chunks: i32,
}

impl Upload {
    /// Declares files of a new shop.
    pub(crate) async fn declare(
        ground: &Arc<Ground>,
        goods: &[Goods],
        is_dry_run: bool,
        callback_url: Option<&str>,
        dice: &mut Dice,
    ) -> Result<Self> {
        let shop = Shop::open(ground).await?;
        let (mut files, mut sent, mut declared) = (Vec::new(), Vec::new(), Vec::new());
        for (at, goods) in goods.iter().enumerate() {
            let name = format!("{}_{}_chunk_{at:04}", goods.dataset.name, shop.id);
            let (file, rows) = sheet::write(&name, goods.dataset, goods.format, &goods.entries, dice);
            let mut document = file.declared();
            if let Some(most) = goods.max_rejects {
                document["max_rejects"] = most.into();
            }
            if goods.reject_missing_references {
                document["on_missing_reference"] = "reject".into();
            }
            declared.push(document);
            sent.push(Sent {
                key: FileKey { tenant_id: shop.id, session_id: Uuid::nil(), file_id: Uuid::nil() },
                name: file.name.clone(),
                dataset: goods.dataset,
                rows,
                max_rejects: goods.max_rejects,
                reject_missing_references: goods.reject_missing_references,
                fails_with: None,
            });
            files.push(file);
        }
        let mut body = json!({"files": declared, "dry_run": is_dry_run});
        if let Some(url) = callback_url {
            body["callback_url"] = url.into();
        }
        let session = shop.create(&body).await?;
        for (at, sent) in sent.iter_mut().enumerate() {
            sent.key = FileKey { tenant_id: shop.id, session_id: session.id, file_id: session.file_id(at) };
        }
        Ok(Self {
            shop,
            session,
            files,
            sent,
            is_dry_run,
            was_resumed: AtomicBool::new(false),
            stored: Oracle::default(),
        })
    }

    /// How many files it has.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Sends the bytes of one file.
    pub(crate) async fn put(&self, at: usize) -> Result<()> {
        self.shop.put(&self.session.files[at], &self.files[at].bytes).await
    }

    /// Puts another object than was declared in a file's place, past its URL; so the file must fail.
    pub(crate) async fn put_other(&mut self, at: usize, failure: Failure) -> Result<()> {
        self.sent[at].fails_with = Some(failure);
        let (ground, key) = (&self.shop.ground, self.sent[at].key.to_string());
        let put = ground.s3.put_object().bucket(&ground.endpoints.bucket).key(key);
        put.body(b"{}\n".to_vec().into()).send().await.map(drop).context("PutObject")
    }

    /// Lets the time for a file be over that has not arrived; so it must fail.
    pub(crate) async fn expire(&mut self, at: usize) -> Result<()> {
        self.sent[at].fails_with = Some(Failure { code: NEVER_ARRIVED, is_staged: false });
        let sql = "update upload_sessions set expires_at = now() - interval '1 second'";
        ensure!(self.shop.books.execute(sql, &[]).await? == 1, "one session");
        Ok(())
    }

    /// Removes what is staged of a file; so the file must fail.
    pub(crate) async fn remove_staged(&mut self, at: usize, failure: Failure) -> Result<()> {
        self.sent[at].fails_with = Some(failure);
        let (ground, key) = (&self.shop.ground, self.sent[at].key.staged(0));
        let delete = ground.s3.delete_object().bucket(&ground.endpoints.bucket).key(key);
        delete.send().await.map(drop).context("DeleteObject")
    }

    /// Waits until all of a file is staged.
    pub(crate) async fn staged(&self, at: usize) -> Result<()> {
        let since = Instant::now();
        while !self.places().await?.iter().any(|place| place.at == at && place.state == "promoting") {
            ensure!(since.elapsed() < PATIENCE, "the file is not staged");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Sends the bytes of all files.
    pub(crate) async fn put_all(&self) -> Result<()> {
        for at in 0..self.len() {
            self.put(at).await?;
        }
        Ok(())
    }

    /// Where each file is, in the order of promotion.
    async fn places(&self) -> Result<Vec<Place>> {
        let sql = "select file_id::text || ' ' || state || ' ' ||
                (select count(*) from chunks where chunks.file_id = files.file_id)
            from files where session_id = $1 order by dataset_rank, ordinal, file_id";
        let rows = self.shop.books.texts(sql, &[&self.session.id]).await?;
        rows.iter()
            .map(|row| {
                let [file, state, chunks] = row.split(' ').collect::<Vec<_>>()[..] else { bail!("{row}") };
                let file: Uuid = file.parse()?;
                let at = self.sent.iter().position(|sent| sent.key.file_id == file).context("a file")?;
                Ok(Place { at, state: state.to_owned(), chunks: chunks.parse()? })
            })
            .collect()
    }

    /// Waits until all files have ended, without asking any function.
    pub(crate) async fn ended(&self) -> Result<()> {
        self.ended_but(0).await
    }

    /// Waits until all files but so many have ended.
    pub(crate) async fn ended_but(&self, open: usize) -> Result<()> {
        let since = Instant::now();
        loop {
            let places = self.places().await?;
            if places.iter().filter(|place| !has_ended(&place.state)).count() <= open {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                let chunks = "select row_to_json(chunks)::text from chunks order by file_id, chunk_index";
                let states: Vec<_> = places.iter().map(|place| (&self.sent[place.at].name, &place.state)).collect();
                let chunks = self.shop.books.texts(chunks, &[]).await?;
                bail!("no end after {} s: {states:?}\n{}", PATIENCE.as_secs(), chunks.join("\n"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The codes of the files that have failed in a way that `resume` mends.
    pub(crate) async fn resumable(&self) -> Result<Vec<String>> {
        let sql = "select error_code::text from files where session_id = $1 and state = 'failed'
            and error_code in ('PLANNING_FAILED', 'LOADING_FAILED', 'PROMOTION_FAILED', 'DEAD_LETTER', 'STALLED')";
        self.shop.books.texts(sql, &[&self.session.id]).await
    }

    /// Lets the files go on that have failed, and returns the answer.
    pub(crate) async fn resume(&self) -> Result<Value> {
        self.was_resumed.store(true, Ordering::Relaxed);
        let path = format!("/api/v1/ingest/sessions/{}/resume", self.session.token);
        self.shop.post(&path, &json!({})).await?.json(200)
    }

    /// Waits for the end, resuming while anything has failed that this mends. Returns how often it did.
    pub(crate) async fn brought_home(&self) -> Result<usize> {
        for resumed in 0..10 {
            self.ended().await?;
            if self.resumable().await?.is_empty() {
                return Ok(resumed);
            }
            self.resume().await?;
        }
        bail!("resumed ten times: {:?}", self.resumable().await?)
    }

    /// Every message that the system has sent by now, with the names of its queue and function.
    pub(crate) async fn messages(&self) -> Result<Vec<Message>> {
        let (mut messages, mut is_overtaking) = (Vec::new(), false);
        for place in &self.places().await? {
            let Sent { key, dataset, .. } = &self.sent[place.at];
            let is_urgent = dataset.lane == Lane::Urgent;
            let FileKey { tenant_id, session_id, file_id } = *key;
            if place.state != "awaiting_upload" {
                let body = object_created(tenant_id, session_id, file_id)?;
                messages.push(Message { queue: "uploads", function: "PlanFile", body });
            }
            for chunk_index in 0..place.chunks {
                let body = serde_json::to_string(&LoadChunk { tenant_id, file_id, chunk_index })?;
                let queue = if is_urgent { "urgent-chunks" } else { "chunks" };
                messages.push(Message { queue, function: "LoadChunk", body });
            }
            // before its turn a file has no such message; a dry run's files have theirs together
            let has_turn = place.state == "promoting" && !is_overtaking && !self.is_dry_run;
            if has_turn || has_ended(&place.state) {
                let body = serde_json::to_string(&PromoteFile { tenant_id, file_id })?;
                let queue = if is_urgent { "urgent-promotions" } else { "promotions" };
                messages.push(Message { queue, function: "PromoteFile", body });
            }
            is_overtaking |= !has_ended(&place.state);
        }
        Ok(messages)
    }

    /// What must be told of each file, in the order of promotion, and what must be stored after it.
    async fn expected(&self) -> Result<(Vec<(&Sent, Due)>, Oracle)> {
        let mut order: Vec<_> = self.sent.iter().collect();
        order.sort_by_key(|sent| sent.dataset.rank());
        let mut after = self.stored.clone();
        if !self.was_resumed.load(Ordering::Relaxed) {
            let dues = order.into_iter().map(|sent| (sent, after.promote(sent))).collect();
            return Ok((dues, if self.is_dry_run { self.stored.clone() } else { after }));
        }
        // files that failed were overtaken by those behind them: what counts is the order in which slices went in
        if self.is_dry_run {
            return self.expected_of_resumed_dry_run(order).await;
        }
        let mut dues: HashMap<Uuid, Due> = HashMap::new();
        for (file_id, rows) in self.slices().await? {
            let sent = order.iter().find(|sent| sent.key.file_id == file_id).context("a file")?;
            match rows {
                // with a limit on its rejects a file goes in at once or not at all
                _ if sent.max_rejects.is_some() => {
                    dues.entry(file_id).or_insert_with(|| after.promote(sent));
                }
                Some((first, last)) => {
                    let due = dues.entry(file_id).or_insert_with(|| Oracle::validate(sent));
                    after.promote_rows(sent, first..last, due);
                }
                None => bail!("{} ended without its rows", sent.name),
            }
        }
        let dues = order.into_iter().map(|sent| {
            let mut due = dues.remove(&sent.key.file_id).unwrap_or_else(|| Oracle::validate(sent));
            due.refused.sort();
            due.counts[4] = due.refused.len() as i64;
            (sent, due)
        });
        Ok((dues.collect(), after))
    }

    /// Files of a dry run that ended together met each other, and nobody else.
    async fn expected_of_resumed_dry_run<'a>(&self, order: Vec<&'a Sent>) -> Result<(Vec<(&'a Sent, Due)>, Oracle)> {
        let sql = "select file_id || ' ' || finished_at from files where session_id = $1";
        let mut ends = HashMap::new();
        for row in self.shop.books.texts(sql, &[&self.session.id]).await? {
            let (file, end) = row.split_once(' ').context("an end")?;
            ends.insert(file.parse::<Uuid>()?, end.to_owned());
        }
        let (mut dues, mut stages) = (Vec::new(), HashMap::new());
        for sent in order {
            let end = ends.get(&sent.key.file_id).context("an end")?;
            let stage = stages.entry(end).or_insert_with(|| self.stored.clone());
            dues.push((sent, stage.promote(sent)));
        }
        Ok((dues, self.stored.clone()))
    }

    /// The slices in the order in which they were promoted: the file and its rows from the first to the one after the
    /// last; without rows for a file that ended with too many rejects.
    async fn slices(&self) -> Result<Vec<(Uuid, Option<(usize, usize)>)>> {
        let sql =
            "select file_id::text || ' ' || coalesce(first_row::text, '-') || ' ' || coalesce(last_row::text, '-')
            from (
                select chunks.changed_at as at, file_id, chunk_index, accepted, chunks.state,
                    sum(accepted) over earlier - accepted as first_row, sum(accepted) over earlier as last_row
                from chunks
                window earlier as (partition by file_id order by chunk_index)
                union all
                select finished_at, file_id, 0, 0, 'promoted', null, null
                from files where error_code = 'TOO_MANY_REJECTS'
            ) as slices
            join files using (file_id)
            where session_id = $1 and slices.state = 'promoted'
            order by at, dataset_rank, ordinal, file_id, chunk_index";
        let rows = self.shop.books.texts(sql, &[&self.session.id]).await?;
        rows.iter()
            .map(|row| {
                let [file, first, last] = row.split(' ').collect::<Vec<_>>()[..] else { bail!("{row}") };
                Ok((file.parse()?, first.parse().ok().zip(last.parse().ok())))
            })
            .collect()
    }

    /// Gives the connection to the database up until it is needed again.
    pub(crate) fn rest(&mut self) {
        self.shop.books.close();
    }

    /// Holds everything that can be seen of the session against the oracle.
    pub(crate) async fn verify(&self) -> Result<()> {
        let status = self.shop.status(&self.session).await?;
        let (dues, stored) = self.expected().await?;
        let mut refused: BTreeMap<&str, Vec<Refusal>> = BTreeMap::new();
        for reject in self.shop.rejects(&self.session, 100).await? {
            let sent = self.sent.iter().find(|sent| sent.name == reject.file).context("the file of a reject")?;
            let codes = reject.errors.iter().map(|error| error.code.as_str()).collect();
            let refusal = Refusal { line: reject.line, byte_offset: reject.byte_offset, codes };
            refused.entry(&sent.name).or_default().push(refusal);
        }
        for (sent, due) in &dues {
            let told = file_named(&status, &sent.name);
            let found = refused.remove(sent.name.as_str()).unwrap_or_default();
            ensure!(found == due.refused, "rejects of {}: {found:?}\nmust be {:?}", sent.name, due.refused);
            ensure!(told["state"] == due.state(), "{} must be {}: {told:#}", sent.name, due.state());
            ensure!(
                told["error"]["code"] == json!(due.error),
                "{} must fail with {:?}: {told:#}",
                sent.name,
                due.error
            );
            ensure!(counts(told) == due.counts, "{} must count {:?}: {told:#}", sent.name, due.counts);
            let dangling = &told["rows"]["dangling_references"];
            ensure!(*dangling == due.dangling, "{} must have {} of them: {told:#}", sent.name, due.dangling);
        }
        self.shop.check(&status).await?;
        self.verify_tables(&stored).await?;
        self.verify_objects(&status).await
    }

    async fn verify_tables(&self, stored: &Oracle) -> Result<()> {
        let sql = "select file_id::text || ' ' || (extract(epoch from uploaded_at) * 1000000)::bigint
            from files where uploaded_at is not null";
        let mut uploads: HashMap<Uuid, i64> = HashMap::new();
        for row in self.shop.books.texts(sql, &[]).await? {
            let (file, at) = row.split_once(' ').context("a time")?;
            uploads.insert(file.parse()?, at.parse()?);
        }
        // what price events come to is compared elsewhere, and no file of these uploads has any
        for dataset in dataset::ALL.iter().filter(|dataset| dataset.effect != Effect::ChangesPrices) {
            let mut found = self.shop.books.table(dataset).await?;
            for (id, stored) in stored.rows(dataset) {
                let row = found.remove(&id).with_context(|| format!("{} {id} is missing", dataset.name))?;
                for (field, (found, expected)) in
                    dataset.fields.iter().zip(row.cells.iter().zip(&stored.contents.cells))
                {
                    let is_same = match field.kind {
                        Kind::Object => json(found.as_deref())? == json(expected.as_deref())?,
                        _ => found == expected,
                    };
                    let name = field.name;
                    ensure!(is_same, "{} {id}: {name} is {found:?}, must be {expected:?}", dataset.name);
                }
                if let Some(found) = row.created_at {
                    let expected = match stored.created {
                        Created::Stated(at) => at,
                        Created::With(file) => *uploads.get(&file).context("a file that arrived")?,
                    };
                    ensure!(found == expected, "{} {id}: created at {found}, must be {expected}", dataset.name);
                }
            }
            ensure!(found.is_empty(), "{}: nobody sent {:?}", dataset.name, found.keys());
        }
        let (found, due) = (self.shop.books.levels().await?, stored.levels());
        ensure!(found == due, "stock stands at {found:?}\nmust stand at {due:?}");
        Ok(())
    }

    /// Nothing is left of a file that is in, but the file.
    async fn verify_objects(&self, status: &Value) -> Result<()> {
        let (ground, since) = (&self.shop.ground, Instant::now());
        loop {
            let mut left = Vec::new();
            for prefix in ["staging", "unpacked"] {
                let list = ground.s3.list_objects_v2().bucket(&ground.endpoints.bucket);
                let list = list.prefix(format!("{prefix}/{}/", self.shop.id)).send().await?;
                left.extend(list.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
            }
            let files = status["files"].as_array().into_iter().flatten();
            let completed = files.filter(|file| file["state"].as_str().is_some_and(|s| s.starts_with("completed")));
            let ids: Vec<_> = completed.filter_map(|file| file["file_id"].as_str()).collect();
            left.retain(|key| ids.iter().any(|id| key.contains(id)));
            if left.is_empty() {
                return Ok(());
            }
            ensure!(since.elapsed() < Duration::from_secs(10), "objects are left: {left:?}");
            tokio::time::sleep(POLL).await;
        }
    }
}

fn has_ended(state: &str) -> bool {
    ["completed", "completed_with_errors", "failed", "expired", "cancelled"].contains(&state)
}
