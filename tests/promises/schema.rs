//! The schema and the statements that meet it.

use crate::support::{Ground, event};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) async fn migrations_are_applied_once(ground: Arc<Ground>) -> Result<()> {
    assert!(intake_postgres::migrate(&ground.endpoints.owner_database_url).await?.is_empty());
    assert_eq!(ground.invoke("Migrate", &event("migrate.deploy")?).await?, json!({"applied": []}));
    Ok(())
}

pub(super) async fn every_statement_prepares(ground: Arc<Ground>) -> Result<()> {
    let client = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    let files = statements(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/postgres/queries"))?;
    let mut prepared = 0;
    for file in files {
        let sql = std::fs::read_to_string(&file)?;
        // a template for several tables is prepared by the uploads of the other tests
        if !sql.contains('{') {
            client.prepare(&sql).await.with_context(|| file.display().to_string())?;
            prepared += 1;
        }
    }
    assert!(prepared >= 30, "{prepared} statements were found");
    Ok(())
}

fn statements(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(statements(&path)?);
        } else if path.extension().is_some_and(|kind| kind == "sql") {
            found.push(path);
        }
    }
    Ok(found)
}
