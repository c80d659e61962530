//! What a command acts on: which API, with whose key; which database.

use anyhow::{Context, bail};
use clap::Args;
use intake_local::{Endpoints, Settings};
use uuid::Uuid;

use crate::api::Api;
use crate::keys::KeyFile;

/// The predecessor's address, and the local stack's.
const DEFAULT_API_URL: &str = "http://localhost:8000";

/// Options of commands that call the API.
#[derive(Args, Clone, Debug)]
pub struct ApiOptions {
    /// The API's address [default: the running local stack's, else http://localhost:8000]
    #[arg(long, env = "INTAKE_API_URL", value_name = "URL")]
    pub api_url: Option<String>,
    /// Act for this tenant
    #[arg(long, value_name = "UUID")]
    pub tenant_id: Option<Uuid>,
    /// The API key [default: the tenant's in the key file]
    #[arg(long, env = "INTAKE_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<String>,
}

impl ApiOptions {
    /// The API's address, without a slash at its end.
    pub async fn url(&self, settings: &Settings) -> String {
        let url = match &self.api_url {
            Some(url) => url.clone(),
            None => intake_local::running(settings).await.map_or(DEFAULT_API_URL.to_owned(), |stack| stack.api_url),
        };
        url.trim_end_matches('/').to_owned()
    }

    /// The API, with the key that was given or the one in the key file.
    pub async fn connect(&self) -> anyhow::Result<Api> {
        let settings = Settings::from_env()?;
        let file = KeyFile::open(&settings.state_dir)?;
        let key = self.api_key.as_deref().or_else(|| file.get(self.tenant_id)).with_context(|| {
            let hint = "give --api-key or INTAKE_API_KEY";
            match self.tenant_id {
                Some(tenant) => format!("{} has no key of tenant {tenant}, {hint}", file.path().display()),
                None => format!("which tenant? give --tenant-id for a key in {}, or {hint}", file.path().display()),
            }
        })?;
        Api::new(&self.url(&settings).await, key)
    }
}

/// Options of commands that act on the database itself.
#[derive(Args, Clone, Debug)]
pub struct DatabaseOptions {
    /// The database, as its owner [default: the running local stack's]
    #[arg(long, env = "INTAKE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

impl DatabaseOptions {
    /// The owner's address of the database.
    pub async fn url(&self) -> anyhow::Result<String> {
        if let Some(url) = &self.database_url {
            return Ok(url.clone());
        }
        match intake_local::running(&Settings::from_env()?).await {
            Some(Endpoints { owner_database_url, .. }) => Ok(owner_database_url),
            None => bail!(
                "no database: the local stack is not running, start it with `cargo intake up --detach` \
                 or give --database-url or INTAKE_DATABASE_URL"
            ),
        }
    }
}
