//! Where functions can be made to die or stall: the points in the sources, and the way to arm them.

use super::Ground;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// How a point stands in the sources.
const MARK: &str = "fail_point!(\"";

/// The names of all fail points that the functions have.
pub(crate) fn fail_points() -> Result<BTreeSet<String>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![workspace.join("functions"), workspace.join("shared/lambda/src")];
    let mut points = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let source = std::fs::read_to_string(&path)?;
                let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
                let calls = code.flat_map(|line| line.split(MARK).skip(1));
                points.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }
    Ok(points)
}

impl Ground {
    fn action_file(&self, point: &str, tenant: Uuid) -> PathBuf {
        self.endpoints.fail_points.join(format!("{point}.{tenant}"))
    }

    /// Lets the next functions that pass the point with this tenant do what `action` says (`kill`, `kill 3`,
    /// `sleep 1500`).
    pub(crate) fn arm(&self, point: &str, tenant: Uuid, action: &str) -> Result<()> {
        let file = self.action_file(point, tenant);
        let written = file.with_file_name(format!(".{}", Uuid::now_v7()));
        std::fs::write(&written, action).and_then(|()| std::fs::rename(&written, &file)).context("arm a fail point")
    }

    /// What is left of the action that a point was armed with.
    pub(crate) fn armed(&self, point: &str, tenant: Uuid) -> Option<String> {
        std::fs::read_to_string(self.action_file(point, tenant)).ok()
    }

    /// Takes back what is left.
    pub(crate) fn disarm(&self, point: &str, tenant: Uuid) {
        std::fs::remove_file(self.action_file(point, tenant)).ok();
    }
}
