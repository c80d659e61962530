//! A database beside the stack's, with the same schema and roles, for tests that fill every table or leave a door open;
//! and what only a superuser can do.

use super::Ground;
use anyhow::{Context, Result};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_postgres::Client;
use uuid::Uuid;

/// Migrations set what the roles of the whole cluster have: one database after another.
static TURN: Mutex<()> = Mutex::const_new(());

/// The database and the ways into it.
pub(crate) struct Scratch {
    /// Its name.
    pub(crate) name: String,
    pub(crate) owner_url: String,
    pub(crate) api_url: String,
    pub(crate) loader_url: String,
    superuser_url: String,
}

impl Scratch {
    /// Makes the database. It stays until the stack's state is removed, which the next run does.
    pub(crate) async fn new(ground: &Ground) -> Result<Self> {
        let name = format!("scratch_{}", Uuid::now_v7().simple());
        let there = |url: &str| url.rsplit_once('/').map(|(server, _)| format!("{server}/{name}")).context("a URL");
        let scratch = Self {
            owner_url: there(&ground.endpoints.owner_database_url)?,
            api_url: there(&ground.endpoints.api_database_url)?,
            loader_url: there(&ground.endpoints.loader_database_url)?,
            superuser_url: there(&ground.superuser_database_url()?)?,
            name,
        };
        let superuser = intake_postgres::connect(&ground.superuser_database_url()?).await?;
        let _turn = TURN.lock().await;
        superuser.batch_execute(&format!("create database {} owner intake_owner", scratch.name)).await?;
        intake_postgres::migrate(&scratch.owner_url).await?;
        Ok(scratch)
    }

    pub(crate) async fn superuser(&self) -> Result<Client> {
        Ok(intake_postgres::connect(&self.superuser_url).await?)
    }

    pub(crate) async fn owner(&self) -> Result<Client> {
        Ok(intake_postgres::connect(&self.owner_url).await?)
    }

    /// The URL for another role, whose password is its name.
    pub(crate) fn url_of(&self, role: &str) -> Result<String> {
        let (_, server) = self.owner_url.split_once('@').context("a URL")?;
        Ok(format!("postgres://{role}:{role}@{server}"))
    }
}

impl Ground {
    /// The stack's database, for the superuser whom no function knows.
    pub(crate) fn superuser_database_url(&self) -> Result<String> {
        let path = self.state_dir.join("passwords.json");
        let passwords: Value = serde_json::from_slice(&std::fs::read(path).context("the passwords of the cluster")?)?;
        let password = passwords["postgres"].as_str().context("the superuser's password")?;
        let (_, server) = self.endpoints.owner_database_url.split_once('@').context("a URL")?;
        Ok(format!("postgres://postgres:{password}@{server}"))
    }
}
