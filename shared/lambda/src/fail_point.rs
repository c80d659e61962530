//! Places in the functions where a test makes them die or stall; compiled in only with debug assertions.
//!
//! A test arms a point for one tenant: it puts a file named `<point>.<tenant>` into the folder that
//! `INTAKE_FAIL_POINTS` names. The next function that passes the point with that tenant takes the file away and does
//! what it says:
//!
//! - `kill`: the process ends by SIGKILL, as if its machine were gone; `kill 3` does so for three who pass.
//! - `sleep 1500`: it stays there for so many milliseconds, so that others overtake it.

/// A named place in an `async` function: `fail_point!("load-chunk.object-written", tenant_id);`.
///
/// The name begins with that of the function or, in what functions share, of the module. Tests find all names in the
/// sources, and fail over one that nothing reaches.
#[cfg(debug_assertions)]
#[macro_export]
macro_rules! fail_point {
    ($point:literal, $tenant:expr) => {
        $crate::fail_point::reach($point, $tenant).await
    };
}

/// Nothing: without debug assertions there are no fail points.
#[cfg(not(debug_assertions))]
#[macro_export]
macro_rules! fail_point {
    ($point:literal, $tenant:expr) => {};
}

#[cfg(debug_assertions)]
pub use armed::reach;

#[cfg(debug_assertions)]
mod armed {
    use rustix::process::{Signal, getpid, kill_process};
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;
    use std::time::Duration;
    use uuid::Uuid;

    static FOLDER: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("INTAKE_FAIL_POINTS").filter(|folder| !folder.is_empty()).map(PathBuf::from));

    /// What an armed point does.
    #[derive(Debug, PartialEq, Eq)]
    enum Action {
        /// The process dies, so many times.
        Kill(u32),
        /// It stays at the point.
        Sleep(Duration),
    }

    impl Action {
        fn parse(text: &str) -> Option<Self> {
            match text.split_ascii_whitespace().collect::<Vec<_>>()[..] {
                ["kill"] => Some(Self::Kill(1)),
                ["kill", times] => Some(Self::Kill(times.parse().ok()?)),
                ["sleep", ms] => Some(Self::Sleep(Duration::from_millis(ms.parse().ok()?))),
                _ => None,
            }
        }
    }

    /// Does what the point is armed for with this tenant, if it is.
    pub async fn reach(point: &str, tenant: Uuid) {
        let Some(folder) = FOLDER.as_deref() else { return };
        match take(folder, point, tenant) {
            None => {}
            Some(Action::Kill(_)) => {
                tracing::warn!(point, %tenant, "killed at a fail point");
                // it does not return
                kill_process(getpid(), Signal::KILL).ok();
            }
            Some(Action::Sleep(time)) => {
                tracing::warn!(point, %tenant, sleep_ms = time.as_millis(), "asleep at a fail point");
                tokio::time::sleep(time).await;
            }
        }
    }

    /// Takes an armed action away, all of it or one of its times. Of several that are here at once, one gets it.
    fn take(folder: &Path, point: &str, tenant: Uuid) -> Option<Action> {
        let (file, own) = (folder.join(format!("{point}.{tenant}")), folder.join(format!(".{}", Uuid::now_v7())));
        // a rename succeeds for one of those who try it
        std::fs::rename(&file, &own).ok()?;
        let text = std::fs::read_to_string(&own).unwrap_or_default();
        let action = Action::parse(&text);
        match action {
            Some(Action::Kill(times @ 2..)) => {
                std::fs::write(&own, format!("kill {}", times - 1)).and_then(|()| std::fs::rename(&own, &file)).ok();
            }
            _ => std::fs::remove_file(&own).unwrap_or_default(),
        }
        if action.is_none() {
            tracing::error!(point, %tenant, text, "a fail point is armed with what it does not know");
        }
        action
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn armed(action: &str) -> (PathBuf, Uuid) {
            let (folder, tenant) = (std::env::temp_dir().join(Uuid::now_v7().to_string()), Uuid::now_v7());
            std::fs::create_dir(&folder).expect("a folder");
            std::fs::write(folder.join(format!("a.b.{tenant}")), action).expect("a file");
            (folder, tenant)
        }

        #[test]
        fn actions_read_as_they_are_written() {
            assert_eq!(Action::parse("kill\n"), Some(Action::Kill(1)));
            assert_eq!(Action::parse("kill 3"), Some(Action::Kill(3)));
            assert_eq!(Action::parse("sleep 1500"), Some(Action::Sleep(Duration::from_millis(1500))));
            for text in ["", "die", "sleep", "sleep x", "kill x", "kill 1 2"] {
                assert_eq!(Action::parse(text), None, "{text}");
            }
        }

        #[test]
        fn an_action_is_for_its_point_and_tenant_and_acts_as_often_as_it_says() {
            let (folder, tenant) = armed("kill 2");
            assert_eq!(take(&folder, "a.c", tenant), None);
            assert_eq!(take(&folder, "a.b", Uuid::now_v7()), None);
            assert_eq!(take(&folder, "a.b", tenant), Some(Action::Kill(2)));
            assert_eq!(take(&folder, "a.b", tenant), Some(Action::Kill(1)));
            assert_eq!(take(&folder, "a.b", tenant), None);
            std::fs::remove_dir(&folder).expect("nothing is left in it");
        }

        #[test]
        fn of_many_at_once_one_gets_it() {
            let (folder, tenant) = armed("sleep 5");
            let taken: usize = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| usize::from(take(&folder, "a.b", tenant).is_some()))).collect();
                threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
            });
            assert_eq!(taken, 1);
            std::fs::remove_dir(&folder).expect("nothing is left in it");
        }
    }
}
