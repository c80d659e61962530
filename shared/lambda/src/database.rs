//! How a function reaches the database, from its environment.

use crate::config::Environment;
use intake_aws::{IamTokens, SdkConfig, Secret};
use intake_postgres::{Database, Error, Login, LoginSource, PendingLogin, Server};
use std::sync::Arc;
use std::time::SystemTime;

/// A database and how to log in there, as two variables say: `DATABASE_URL`, and `DATABASE_LOGIN`, which is `url` or nothing when
/// the password stands in the URL; `iam` for a token of IAM's that is made for each connection; or the ARN of a secret that is
/// read for each. So what is rotated is never kept.
pub struct DatabaseAddress {
    url: String,
    login: String,
}

impl DatabaseAddress {
    /// An address of that URL, and how to log in there.
    #[must_use]
    pub fn new(url: &str, login: &str) -> Self {
        Self { url: url.to_owned(), login: login.to_owned() }
    }

    /// Reads the variables of the role that the function usually has.
    pub fn read(environment: &mut Environment) -> Self {
        Self { url: environment.text("DATABASE_URL"), login: environment.text_or("DATABASE_LOGIN", "url") }
    }

    /// Reads those of the owner of the schema, for a function that has both roles: they begin with `OWNER_`.
    pub fn read_of_owner(environment: &mut Environment) -> Self {
        Self { url: environment.text("OWNER_DATABASE_URL"), login: environment.text_or("OWNER_DATABASE_LOGIN", "url") }
    }

    /// The server.
    ///
    /// # Errors
    /// [`Error::Url`]; [`Error::Login`] when the URL lacks what a token is made of.
    pub fn server(&self, aws: &SdkConfig) -> Result<Server, Error> {
        let server = Server::new(&self.url)?;
        Ok(match &*self.login {
            "url" => server,
            "iam" => {
                let (Some((host, port)), Some(user)) = (server.address(), server.user()) else {
                    return Err(Error::Login("a token needs a role and a host in DATABASE_URL".into()));
                };
                let source = Tokens { user: user.to_owned(), tokens: IamTokens::new(aws, host, port, user) };
                server.with_login(Arc::new(source))
            }
            secret => server.with_login(Arc::new(SecretSource(Secret::new(aws, secret)))),
        })
    }

    /// The database, which sees `application` as who is connected.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub fn open(&self, aws: &SdkConfig, application: &str) -> Result<Database, Error> {
        Ok(Database::at(&self.server(aws)?, application))
    }
}

struct Tokens {
    user: String,
    tokens: IamTokens,
}

impl LoginSource for Tokens {
    fn login(&self) -> PendingLogin<'_> {
        Box::pin(async {
            let password = self.tokens.token(SystemTime::now()).await?;
            Ok(Login { user: self.user.clone(), password })
        })
    }
}

struct SecretSource(Secret);

impl LoginSource for SecretSource {
    fn login(&self) -> PendingLogin<'_> {
        Box::pin(async {
            let found = self.0.login().await?;
            Ok(Login { user: found.username, password: found.password })
        })
    }
}
