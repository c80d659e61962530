//! What functions log in to a database with, in the cloud: tokens that IAM vouches for, and secrets.

use crate::{Error, Pending, presign_get};
use aws_config::SdkConfig;
use serde::Deserialize;
use std::time::{Duration, SystemTime};
use url::Url;

/// A token lets in for so long; a connection that is open stays.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html>
const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Tokens for one role of one database. Making one calls nobody.
#[derive(Clone, Debug)]
pub struct IamTokens {
    config: SdkConfig,
    address: String,
    user: String,
}

impl IamTokens {
    /// Tokens for that role at that host, as the certificate of the server names it, and port.
    #[must_use]
    pub fn new(config: &SdkConfig, host: &str, port: u16, user: &str) -> Self {
        Self { config: config.clone(), address: format!("{host}:{port}"), user: user.to_owned() }
    }

    /// A token that lets in from `now` on, for 15 minutes. It stands for the password.
    ///
    /// # Errors
    /// [`Error::Unreadable`] without a region, credentials, or a host that is one.
    pub fn token<'a>(&'a self, now: SystemTime) -> Pending<'a, Result<String, Error>> {
        Box::pin(async move {
            let asked = [("Action", "connect"), ("DBUser", &self.user)];
            let url = Url::parse_with_params(&format!("https://{}/", self.address), asked)
                .map_err(|_| Error::Unreadable("the host of a database"))?;
            let url = presign_get(&self.config, "rds-db", url, TOKEN_LIFETIME, now).await?;
            Ok(url.as_str().trim_start_matches("https://").to_owned())
        })
    }
}

/// A secret that holds a role and its password, as RDS writes those that it manages.
#[derive(Clone, Debug)]
pub struct Secret {
    client: aws_sdk_secretsmanager::Client,
    id: String,
}

/// What such a secret holds.
#[derive(Clone, Deserialize)]
pub struct SecretLogin {
    /// The role.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl Secret {
    /// The secret of that ARN or name.
    #[must_use]
    pub fn new(config: &SdkConfig, id: &str) -> Self {
        Self { client: aws_sdk_secretsmanager::Client::new(config), id: id.to_owned() }
    }

    /// What it holds now.
    ///
    /// # Errors
    /// [`Error::Call`]; [`Error::Unreadable`] when it holds something else.
    pub fn login<'a>(&'a self) -> Pending<'a, Result<SecretLogin, Error>> {
        Box::pin(async move {
            let found = self.client.get_secret_value().secret_id(&self.id).send().await;
            let found = found.map_err(Error::call("GetSecretValue"))?;
            let text = found.secret_string().ok_or(Error::Unreadable("a secret without a text"))?;
            serde_json::from_str(text).map_err(|_| Error::Unreadable("a secret without username and password"))
        })
    }
}
