//! What clients ask of a session besides its status: that it goes on, or that it ends.

use super::{files::lock_file, finish_staging, first_of_window, sql};
use crate::Error;
use crate::database::Scope;
use intake_domain::failure::Failure;
use intake_domain::state::FileState;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// What a file that goes on waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// How far it is.
    pub state: FileState,
    /// The chunks with which loading goes on.
    pub first_chunks: Vec<i32>,
    /// How many of the chunks that were asked for wait to be loaded.
    pub waiting_chunks: i64,
}

/// Lets a file go on that failed in a way that may not repeat itself, and puts its chunks that were given up back: all,
/// or those of `indices`, and then the file goes on only if one of these is among them. A file that is under way stays
/// as it is; that its messages are sent again does no harm.
pub async fn resume_file(scope: &Scope<'_>, file: Uuid, indices: Option<&[i32]>) -> Result<Option<Resumed>, Error> {
    let tenant = scope.tenant();
    let Some(found) = lock_file(scope, file).await? else { return Ok(None) };
    if found == FileState::Loading {
        // whoever staged the last chunk may have died before it said so
        finish_staging(scope, file).await?;
    }
    let resumable: Vec<_> = Failure::ALL
        .iter()
        .filter(|(failure, _)| failure.is_resumable())
        .map(|(failure, _)| failure.as_str())
        .collect();
    if matches!(found, FileState::Loading | FileState::Failed) {
        let (name, sql) = sql!("retry_chunks");
        let with = [
            (&tenant as _, Type::UUID),
            (&file as _, Type::UUID),
            (&resumable as _, Type::TEXT_ARRAY),
            (&indices as _, Type::INT4_ARRAY),
        ];
        let retried = scope.execute(name, sql, &with).await?;
        if indices.is_none() || retried > 0 {
            let (name, sql) = sql!("reopen_file");
            let with = [(&tenant as _, Type::UUID), (&file as _, Type::UUID), (&resumable as _, Type::TEXT_ARRAY)];
            scope.execute(name, sql, &with).await?;
        }
    }
    let Some(state) = lock_file(scope, file).await? else { return Ok(None) };
    let mut resumed = Resumed { state, first_chunks: Vec::new(), waiting_chunks: 0 };
    if state == FileState::Loading {
        resumed.first_chunks = first_of_window(scope, file).await?;
        let (name, sql) = sql!("count_waiting_chunks");
        let with = [(&tenant as _, Type::UUID), (&file as _, Type::UUID), (&indices as _, Type::INT4_ARRAY)];
        resumed.waiting_chunks = scope.query_opt(name, sql, &with).await?.map_or(0, |row| row.get("waiting"));
    }
    Ok(Some(resumed))
}

/// Notes that a file is uploaded in parts to `new`, because its multipart upload `old` is gone; `false` when somebody else
/// has noted another by now, or its object has arrived.
pub async fn replace_multipart_upload(scope: &Scope<'_>, file: Uuid, old: &str, new: &str) -> Result<bool, Error> {
    let (name, sql) = sql!("replace_multipart_upload");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&old as _, Type::TEXT),
        (&new as _, Type::TEXT),
    ];
    Ok(scope.execute(name, sql, &with).await? == 1)
}

/// Asks for the end of a session; `false` when it has ended by itself.
pub async fn ask_for_cancel(scope: &Scope<'_>, session: Uuid) -> Result<bool, Error> {
    let (name, sql) = sql!("ask_for_cancel");
    Ok(scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await? == 1)
}

/// Ends those files of a session whose end somebody asked for that no slice in promotion holds.
pub async fn end_cancelled_unheld(scope: &Scope<'_>, session: Uuid) -> Result<(), Error> {
    let (name, sql) = sql!("end_cancelled_unheld");
    scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await?;
    Ok(())
}

/// How many files a session has.
pub async fn count_files(scope: &Scope<'_>, session: Uuid) -> Result<i64, Error> {
    let (name, sql) = sql!("count_files");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await?;
    Ok(row.map_or(0, |row| row.get("files")))
}
