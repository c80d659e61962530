//! `intake resume`: lets a session go on that was interrupted, or whose chunks have failed.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;
use intake_local::Settings;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::session::{end_lines, verdict};
use crate::api::{ResumedFile, Rows};
use crate::data_files::LocalFile;
use crate::output::{Bar, Output, Verdict};
use crate::shipment::{UPLOADS_AT_ONCE, ending, going_on, is_over, to_send};
use crate::target::ApiOptions;
use crate::transfer::{self, Transfer};
use crate::uploads::{Held, Record, Uploads};
use crate::watch;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The session's upload token
    token: String,
    /// Where the files are that have not arrived, found by name and size [default: where `ingest` found them]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Try these failed chunks again and no others
    #[arg(long, value_name = "N,N…", value_delimiter = ',')]
    chunks: Vec<u32>,
    /// Wait until the session has ended
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    api: ApiOptions,
}

#[derive(Serialize)]
struct Answer<'a> {
    upload_token: &'a str,
    /// Chunks that are tried again.
    chunks_queued: u64,
    /// Files that were still to be sent, at least in part.
    files_sent: usize,
    /// Bytes of them.
    bytes_sent: u64,
    /// As last seen; `uploaded` when it was not waited for.
    state: String,
    rows: Rows,
}

/// Sends what is missing, and has failed chunks tried again.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let token = &args.token;
    let uploads = Uploads::new(&Settings::from_env()?.state_dir);
    let held = uploads.hold(token)?;
    let api = args.api.connect_to(token).await?;
    let resumed = match api.resume(token, &args.chunks).await {
        Err(error) if is_over(&error) => {
            held.map_or(Ok(()), Held::forget)?;
            return Err(error);
        }
        resumed => resumed?,
    };
    let record = held.as_ref().map(|held| &held.record);
    let missing: Vec<_> = resumed.files.iter().filter(|file| file.upload.is_some()).collect();
    let files = missing.iter().map(|file| source(token, file, args.data_dir.as_deref(), record));
    let files: Vec<_> = files.collect::<anyhow::Result<_>>()?;

    let targets = resumed.files.iter().filter_map(|file| Some((file.name.clone(), file.upload.clone()?)));
    let targets: transfer::Uploads = targets.collect();
    let (count, bytes) = to_send(&targets, &files);
    let ended = resumed.has_ended();
    if !ended {
        output.say(&going_on(token, resumed.files.len(), count, bytes, resumed.chunks_queued));
    }
    let bar = output.bar(bytes, Bar::Bytes);
    let slots = Semaphore::new(UPLOADS_AT_ONCE);
    let transfer = Transfer::new(&api, token, &slots, targets);
    let sent = |bytes| bar.inc(bytes);
    try_join_all(files.iter().map(|file| transfer.send(file, &sent))).await?;
    if count > 0 {
        output.say("uploaded");
    }

    let chunks_queued = resumed.chunks_queued;
    let mut answer = Answer {
        upload_token: token,
        chunks_queued,
        files_sent: count,
        bytes_sent: bytes,
        state: "uploaded".to_owned(),
        rows: Rows::default(),
    };
    let mut how = Verdict::Good;
    if ended {
        output.say(&format!("session {token} has ended, nothing of it can go on"));
    }
    if args.wait || ended {
        let say = |line: &str| output.say(line);
        let status = watch::to_the_end(&api, token, &bar, output, &say).await?;
        bar.finish_and_clear();
        held.map_or(Ok(()), Held::forget)?;
        end_lines(&status).iter().for_each(|line| output.say(line));
        how = verdict(&status);
        (answer.state, answer.rows) = (status.state, status.rows);
    } else {
        bar.finish_and_clear();
        held.map_or(Ok(()), Held::leave)?;
        output.say(&format!("cargo intake session {token}"));
    }
    output.result(&answer)?;
    Ok(how)
}

/// The file on disk that a session waits for: by name and size in a folder, else as it was noted.
fn source(
    token: &str,
    ResumedFile { name, size_bytes, .. }: &ResumedFile,
    dir: Option<&Path>,
    record: Option<&Record>,
) -> anyhow::Result<LocalFile> {
    let Some(dir) = dir else {
        let noted = record.and_then(|record| record.files.iter().find(|file| file.name == *name));
        let file = noted.filter(|file| file.path.exists());
        let file = file.with_context(|| format!("{name} has not arrived: give --data-dir, the folder where it is"))?;
        return match file.ensure_unchanged() {
            Ok(()) => Ok(file.clone()),
            Err(error) => bail!("{error:#}; {}", ending(token)),
        };
    };
    ensure!(Path::new(name).file_name().is_some_and(|plain| plain == name.as_str()), "{name:?} is no file's name");
    let path = dir.join(name);
    let file =
        LocalFile::look(name.clone(), path.clone()).with_context(|| format!("cannot read {}", path.display()))?;
    let file = file.with_context(|| format!("{} is not a file", path.display()))?;
    ensure!(
        file.size_bytes == *size_bytes,
        "{} has changed since it was declared: it had {size_bytes} bytes and has {}; {}",
        path.display(),
        file.size_bytes,
        ending(token)
    );
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use uuid::Uuid;

    use super::*;
    use crate::policy::Policy;

    fn wanted(name: &str, size_bytes: u64) -> ResumedFile {
        ResumedFile { name: name.to_owned(), size_bytes, ..ResumedFile::default() }
    }

    #[test]
    fn a_file_is_found_by_name_and_size_or_as_it_was_noted() {
        let dir = std::env::temp_dir().join(format!("intake-resume-{}", Uuid::new_v4()));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.ndjson"), "12345").unwrap();
        let find =
            |name: &str, size, record| source("t", &wanted(name, size), Some(&dir), record).map_err(|e| e.to_string());
        let file = find("a.ndjson", 5, None).unwrap();
        assert!(find("a.ndjson", 6, None).unwrap_err().contains("it had 6 bytes and has 5"));
        assert!(find("b.ndjson", 5, None).unwrap_err().contains("cannot read"));
        assert!(find("../a.ndjson", 5, None).unwrap_err().contains("no file's name"));

        let record = Record {
            upload_token: "t".to_owned(),
            api_url: String::new(),
            tenant_id: Uuid::nil(),
            policy: Policy::default(),
            sha256: false,
            left: false,
            files: vec![file.clone()],
        };
        assert_eq!(source("t", &wanted("a.ndjson", 5), None, Some(&record)).unwrap(), file);
        assert!(source("t", &wanted("a.ndjson", 5), None, None).unwrap_err().to_string().contains("give --data-dir"));
        fs::write(dir.join("a.ndjson"), "123456").unwrap();
        let error = source("t", &wanted("a.ndjson", 5), None, Some(&record)).unwrap_err().to_string();
        assert!(error.contains("has changed since it was declared"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
