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
    /// Somebody asked for its end, and work may still hold it.
    Cancelling,
    /// It ended because somebody asked; what was promoted before stays.
    Cancelled,
}

impl FileState {
    /// Every state, in the order in which a file may have them.
    pub const ALL: [Self; 10] = [
        Self::AwaitingUpload,
        Self::Uploaded,
        Self::Loading,
        Self::Promoting,
        Self::Completed,
        Self::CompletedWithErrors,
        Self::Failed,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

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
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads [`as_str`](Self::as_str) back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing more happens to the file by itself.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithErrors | Self::Failed | Self::Expired | Self::Cancelled)
    }

    /// Whether all its rows are accounted for, so that nothing of it is needed any more. A file that failed may be resumed.
    #[must_use]
    pub fn is_completed(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithErrors)
    }

    /// The four words that the predecessor's clients know.
    #[must_use]
    pub fn legacy(self) -> &'static str {
        match self {
            Self::AwaitingUpload => "pending",
            Self::Uploaded | Self::Loading | Self::Promoting | Self::Cancelling => "processing",
            Self::Completed | Self::CompletedWithErrors => "completed",
            Self::Failed | Self::Expired | Self::Cancelled => "failed",
        }
    }
}

/// The state of a session, which follows from its files'.
///
/// While any file is open it is the state of the file that is furthest behind, but past `awaiting_upload` as soon as any
/// file is, and `cancelling` once somebody has asked for the end. Then the worst end of any file counts. A session without
/// files waits for them until it `has_expired`.
#[must_use]
pub fn session_state(files: impl IntoIterator<Item = FileState>, has_expired: bool, is_cancelled: bool) -> FileState {
    let files: Vec<_> = files.into_iter().collect();
    let has = |state| files.contains(&state);
    let open = || files.iter().filter(|state| !state.is_terminal());
    if files.is_empty() {
        match (is_cancelled, has_expired) {
            (true, _) => FileState::Cancelled,
            (false, true) => FileState::Expired,
            (false, false) => FileState::AwaitingUpload,
        }
    } else if open().next().is_some() {
        if is_cancelled {
            FileState::Cancelling
        } else if files.iter().all(|state| *state == FileState::AwaitingUpload) {
            FileState::AwaitingUpload
        } else if open().all(|state| *state == FileState::Promoting) {
            FileState::Promoting
        } else {
            FileState::Loading
        }
    } else if has(FileState::Cancelled) {
        FileState::Cancelled
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

/// Which of a session's open files may be promoted, given the states of all open ones in their turn: the first, if it is
/// staged. A dry run waits until all are, because it promotes them together to undo them together.
#[must_use]
pub fn may_be_promoted(open: &[FileState], dry_run: bool) -> bool {
    let waited_for = open.iter().take(if dry_run { open.len() } else { 1 });
    !open.is_empty() && waited_for.copied().all(|state| state == FileState::Promoting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileState::*;

    #[test]
    fn a_session_is_open_while_any_file_is() {
        assert_eq!(session_state([Completed, AwaitingUpload], false, false), Loading);
        assert_eq!(session_state([Failed, Promoting], false, false), Promoting);
        assert_eq!(session_state([AwaitingUpload, AwaitingUpload], false, false), AwaitingUpload);
    }

    #[test]
    fn the_worst_end_of_any_file_counts() {
        assert_eq!(session_state([Completed, Completed], false, false), Completed);
        assert_eq!(session_state([Completed, CompletedWithErrors], false, false), CompletedWithErrors);
        assert_eq!(session_state([CompletedWithErrors, Failed], false, false), Failed);
        assert_eq!(session_state([Completed, Expired], false, false), Failed);
        assert_eq!(session_state([Expired, Expired], false, false), Expired);
        assert_eq!(session_state([], true, false), Expired);
    }

    #[test]
    fn a_cancelled_session_is_open_until_nothing_holds_it() {
        assert_eq!(session_state([Completed, Loading], false, true), Cancelling);
        assert_eq!(session_state([Completed, Cancelled], false, true), Cancelled);
        assert_eq!(session_state([], false, true), Cancelled);
        assert_eq!(session_state([Failed, Completed], false, true), Failed, "it had ended before");
    }

    #[test]
    fn a_file_has_its_turn_when_those_before_it_have_ended() {
        assert!(may_be_promoted(&[Promoting, Loading], false));
        assert!(!may_be_promoted(&[Loading, Promoting], false), "it waits for the first");
        assert!(!may_be_promoted(&[Promoting, Loading], true), "a dry run waits for all");
        assert!(may_be_promoted(&[Promoting, Promoting], true));
        assert!(!may_be_promoted(&[], false));
    }

    #[test]
    fn states_read_back() {
        for state in FileState::ALL {
            assert_eq!(FileState::parse(state.as_str()), Some(state));
        }
    }
}
