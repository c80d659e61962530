//! The states of a file and of its session.

use serde::{Deserialize, Serialize};

/// The state of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Its object has not arrived.
    AwaitingUpload,
    /// The object is there and is being checked.
    Uploaded,
    /// Chunks are being validated and staged.
    Loading,
    /// Staged; its rows go, or wait for their turn to go, into the production tables.
    Promoting,
    /// All rows are in.
    Completed,
    /// All rows are accounted for, some as rejects.
    CompletedWithErrors,
    /// It ended without all its rows accounted for; its error says why.
    Failed,
    /// Its object never arrived.
    Expired,
}

impl FileState {
    /// As stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingUpload => "awaiting_upload",
            Self::Uploaded => "uploaded",
            Self::Loading => "loading",
            Self::Promoting => "promoting",
            Self::Completed => "completed",
            Self::CompletedWithErrors => "completed_with_errors",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// Reads [`as_str`](Self::as_str) back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::AwaitingUpload,
            Self::Uploaded,
            Self::Loading,
            Self::Promoting,
            Self::Completed,
            Self::CompletedWithErrors,
            Self::Failed,
            Self::Expired,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }

    /// Whether nothing more happens to the file by itself.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithErrors | Self::Failed | Self::Expired)
    }

    /// The four words that the predecessor's clients know.
    #[must_use]
    pub fn legacy(self) -> &'static str {
        match self {
            Self::AwaitingUpload => "pending",
            Self::Uploaded | Self::Loading | Self::Promoting => "processing",
            Self::Completed | Self::CompletedWithErrors => "completed",
            Self::Failed | Self::Expired => "failed",
        }
    }
}

/// The state of a session, which follows from its files'.
///
/// While any file is open it is the state of the file that is furthest behind, but past `awaiting_upload` as soon as any
/// file is. Then the worst end of any file counts. A session without files waits for them until it `has_expired`.
#[must_use]
pub fn session_state(files: impl IntoIterator<Item = FileState>, has_expired: bool) -> FileState {
    let files: Vec<_> = files.into_iter().collect();
    let has = |state| files.contains(&state);
    let open = || files.iter().filter(|state| !state.is_terminal());
    if files.is_empty() {
        if has_expired { FileState::Expired } else { FileState::AwaitingUpload }
    } else if open().next().is_some() {
        if files.iter().all(|state| *state == FileState::AwaitingUpload) {
            FileState::AwaitingUpload
        } else if open().all(|state| *state == FileState::Promoting) {
            FileState::Promoting
        } else {
            FileState::Loading
        }
    } else if files.iter().all(|state| *state == FileState::Expired) {
        FileState::Expired
    } else if has(FileState::Failed) || has(FileState::Expired) {
        FileState::Failed
    } else if has(FileState::CompletedWithErrors) {
        FileState::CompletedWithErrors
    } else {
        FileState::Completed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileState::*;

    #[test]
    fn a_session_is_open_while_any_file_is() {
        assert_eq!(session_state([Completed, AwaitingUpload], false), Loading);
        assert_eq!(session_state([Failed, Promoting], false), Promoting);
        assert_eq!(session_state([AwaitingUpload, AwaitingUpload], false), AwaitingUpload);
    }

    #[test]
    fn the_worst_end_of_any_file_counts() {
        assert_eq!(session_state([Completed, Completed], false), Completed);
        assert_eq!(session_state([Completed, CompletedWithErrors], false), CompletedWithErrors);
        assert_eq!(session_state([CompletedWithErrors, Failed], false), Failed);
        assert_eq!(session_state([Completed, Expired], false), Failed);
        assert_eq!(session_state([Expired, Expired], false), Expired);
        assert_eq!(session_state([], true), Expired);
    }

    #[test]
    fn states_read_back() {
        for state in [AwaitingUpload, Uploaded, Loading, Promoting, Completed, CompletedWithErrors, Failed, Expired] {
            assert_eq!(FileState::parse(state.as_str()), Some(state));
        }
    }
}
