//! What a command acts on: which API, with whose key; which database.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use intake_aws::{Objects, SdkConfig, TenantItems};
use intake_local::{Endpoints, Settings};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::api::{Api, Refusal};
use crate::deployment;
use crate::keys::KeyFile;
use crate::uploads::Uploads;

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
    pub async fn url(&self, settings: &Settings) -> anyhow::Result<String> {
        let url = match (&self.api_url, deployment::named()) {
            (Some(url), _) => url.clone(),
            (None, Some(stack)) => stack.output("ApiUrl")?.to_owned(),
            (None, None) => {
                intake_local::running(settings).await.map_or(DEFAULT_API_URL.to_owned(), |stack| stack.api_url)
            }
        };
        Ok(url.trim_end_matches('/').to_owned())
    }

    /// The API, with the key that was given or the one in the key file.
    pub async fn connect(&self) -> anyhow::Result<Api> {
        let settings = Settings::from_env()?;
        let file = KeyFile::open(&settings.state_dir)?;
        let key = self.api_key.as_deref().or_else(|| file.get(self.tenant_id));
        Api::new(&self.url(&settings).await?, key.with_context(|| self.which_key(&file))?)
    }

    /// The API as a session's tenant sees it: with the key that was given, with that of the upload's record, or with
    /// the one key in the key file to which the session is known.
    pub async fn connect_to(&self, token: &str) -> anyhow::Result<Api> {
        let settings = Settings::from_env()?;
        let record = Uploads::new(&settings.state_dir).get(token)?;
        let options = Self {
            api_url: self.api_url.clone().or_else(|| record.as_ref().map(|record| record.api_url.clone())),
            tenant_id: self.tenant_id.or_else(|| record.as_ref().map(|record| record.tenant_id)),
            api_key: self.api_key.clone(),
        };
        let file = KeyFile::open(&settings.state_dir)?;
        if options.api_key.is_some() || options.tenant_id.is_some() || file.all().len() < 2 {
            return options.connect().await;
        }
        let url = options.url(&settings).await?;
        for key in file.all() {
            let api = Api::new(&url, key)?;
            match api.status(token, Duration::ZERO).await {
                Ok(_) => return Ok(api),
                // Another tenant's session is none, and a key may be of another installation.
                Err(error) if is_unknown(&error) => (),
                Err(error) => return Err(error),
            }
        }
        bail!("no tenant with a key in {} has a session {token}", file.path().display())
    }

    fn which_key(&self, file: &KeyFile) -> String {
        let (hint, path) = ("give --api-key or INTAKE_API_KEY", file.path().display());
        match self.tenant_id {
            Some(tenant) => format!("{path} has no key of tenant {tenant}, {hint}"),
            None => format!("which tenant? give --tenant-id for a key in {path}, or {hint}"),
        }
    }
}

/// Whether the server answered that there is no such thing, or no such key.
fn is_unknown(error: &anyhow::Error) -> bool {
    let unknown = [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED];
    error.downcast_ref::<Refusal>().is_some_and(|refusal| unknown.contains(&refusal.status()))
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
        if let Some(stack) = deployment::named() {
            return stack.database_url().await;
        }
        match intake_local::running(&Settings::from_env()?).await {
            Some(Endpoints { owner_database_url, .. }) => Ok(owner_database_url),
            None => bail!(
                "no database: the local stack is not running, start it with `cargo intake up --detach` \
                 or give --stack, --database-url or INTAKE_DATABASE_URL"
            ),
        }
    }
}

/// Options of commands that act on what lies in AWS besides the database.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreOptions {
    /// The bucket [default: the running local stack's]
    #[arg(long, env = "INTAKE_UPLOAD_BUCKET", value_name = "NAME")]
    pub bucket: Option<String>,
    /// The DynamoDB table of idempotency records [default: the running local stack's]
    #[arg(long, env = "INTAKE_IDEMPOTENCY_TABLE", value_name = "NAME")]
    pub idempotency_table: Option<String>,
    /// The DynamoDB table of the rate limits [default: the running local stack's]
    #[arg(long, env = "INTAKE_RATE_TABLE", value_name = "NAME")]
    pub rate_table: Option<String>,
}

impl StoreOptions {
    /// The stores: those that are named, with AWS's own configuration from the environment, or the local stack's.
    pub async fn connect(&self) -> anyhow::Result<Stores> {
        match (&self.bucket, &self.idempotency_table, &self.rate_table) {
            (Some(bucket), Some(idempotency), Some(rates)) => {
                Ok(Stores::new(&intake_aws::load().await, bucket, idempotency, rates))
            }
            (None, None, None) if let Some(stack) = deployment::named() => {
                let [bucket, idempotency, rates] =
                    ["UploadBucketName", "IdempotencyTableName", "RateTableName"].map(|name| stack.output(name));
                Ok(Stores::new(stack.config(), bucket?, idempotency?, rates?))
            }
            (None, None, None) => {
                let stack = intake_local::running(&Settings::from_env()?).await;
                let stack = stack.context(
                    "no stores: the local stack is not running; for a deployment give --stack, or --bucket, \
                     --idempotency-table and --rate-table",
                )?;
                let config = intake_aws::load_from(&stack.aws_url).await;
                Ok(Stores::new(&config, &stack.bucket, &stack.idempotency_table, &stack.rate_table))
            }
            _ => bail!("--bucket, --idempotency-table and --rate-table go together"),
        }
    }
}

/// What holds a tenant's data besides the database.
pub struct Stores {
    /// Uploads, chunks and exports.
    pub objects: Objects,
    /// Tables whose items belong to tenants, by what is in them.
    pub items: [(&'static str, TenantItems); 2],
}

impl Stores {
    /// The bucket and the tables of these names.
    pub fn new(config: &SdkConfig, bucket: &str, idempotency_table: &str, rate_table: &str) -> Self {
        let items = |table: &str| TenantItems::new(config, table.to_owned());
        Self {
            objects: Objects::new(config, bucket.to_owned()),
            items: [("idempotency records", items(idempotency_table)), ("rate limits", items(rate_table))],
        }
    }
}
