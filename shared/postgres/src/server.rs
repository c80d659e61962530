//! A server: where it is, who logs in there, and whether the way is encrypted.

use crate::{Error, Pending};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{CancelToken, Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The roots that Amazon RDS signs with in all its regions, and those of RDS Proxy. `roots/README.md` says where they are from.
const AMAZON_ROOTS: &[u8] = include_bytes!("../roots/rds.pem");

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A password that is refused may be one that is being rotated: so long it is asked for anew. A rotation sets it at the server
/// first and tells of it then.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotating-secrets_strategies.html>
const ROTATION_TIME: Duration = Duration::from_secs(15);

/// Between two attempts of those.
const ROTATION_PAUSE: Duration = Duration::from_millis(250);

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The role.
    pub user: String,
    /// What it proves itself with.
    pub password: String,
}

/// Why there is no login.
pub type LoginError = Box<dyn std::error::Error + Send + Sync>;

/// A login that is to come.
pub type PendingLogin<'a> = Pin<Box<dyn Future<Output = Result<Login, LoginError>> + Send + 'a>>;

/// Where the login of each connection comes from, if it is not the same for ever.
pub trait LoginSource: Send + Sync {
    /// The login of a connection that is made now.
    fn login(&self) -> PendingLogin<'_>;
}

/// A server and how to log in there. With `sslmode=require` in its URL every connection is encrypted, and the server must prove
/// that it is the host of that name: by a root of Amazon's, or one that the system trusts.
#[derive(Clone)]
pub struct Server {
    config: Config,
    source: Option<Arc<dyn LoginSource>>,
}

impl Server {
    /// The server of that URL, which names a role and, unless [`with_login`](Self::with_login) follows, its password.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(url: &str) -> Result<Self, Error> {
        let mut config: Config = url.parse().map_err(Error::Url)?;
        config.connect_timeout(CONNECT_TIMEOUT);
        Ok(Self { config, source: None })
    }

    /// Takes the login of each connection from there.
    #[must_use]
    pub fn with_login(mut self, source: Arc<dyn LoginSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// What the server shows for the connections.
    #[must_use]
    pub(crate) fn for_application(mut self, application: &str) -> Self {
        self.config.application_name(application);
        self
    }

    /// The role that the URL names, if it names one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.config.get_user()
    }

    /// The host and the port of the URL, if it names them.
    #[must_use]
    pub fn address(&self) -> Option<(&str, u16)> {
        match self.config.get_hosts().first()? {
            Host::Tcp(host) => Some((host, self.config.get_ports().first().copied().unwrap_or(5432))),
            Host::Unix(_) => None,
        }
    }

    fn is_encrypted(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }

    /// Opens a connection and drives it in the background.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Login`], [`Error::Tls`].
    pub fn connect<'a>(&'a self) -> Pending<'a, Result<Client, Error>> {
        Box::pin(async move {
            let Some(source) = &self.source else { return self.open(&self.config).await };
            let since = Instant::now();
            loop {
                let Login { user, password } = source.login().await.map_err(Error::Login)?;
                let mut config = self.config.clone();
                config.user(user).password(password);
                match self.open(&config).await {
                    Err(error) if is_refused(&error) && since.elapsed() < ROTATION_TIME => {
                        tracing::info!(%error, "the login is refused, it is asked for again");
                        tokio::time::sleep(ROTATION_PAUSE).await;
                    }
                    opened => return opened,
                }
            }
        })
    }

    async fn open(&self, config: &Config) -> Result<Client, Error> {
        if self.is_encrypted() { drive(config, tls()?).await } else { drive(config, NoTls).await }
    }

    /// Asks the server to end the statement that runs on a connection.
    pub(crate) fn cancel<'a>(&'a self, running: CancelToken) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move {
            let cancelled = if self.is_encrypted() {
                running.cancel_query(tls()?).await
            } else {
                running.cancel_query(NoTls).await
            };
            cancelled.map_err(Error::Connect)
        })
    }
}

fn is_refused(error: &Error) -> bool {
    let refused = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
    matches!(error, Error::Connect(error) if error.code().is_some_and(|code| refused.contains(code)))
}

async fn drive<T>(config: &Config, tls: T) -> Result<Client, Error>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static, TlsConnect: Send> + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await.map_err(Error::Connect)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = %error, "database connection lost");
        }
    });
    Ok(client)
}

/// The one configuration of all connections; it reads a hundred certificates.
fn tls() -> Result<MakeRustlsConnect, Error> {
    static TLS: OnceLock<MakeRustlsConnect> = OnceLock::new();
    if let Some(tls) = TLS.get() {
        return Ok(tls.clone());
    }
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(AMAZON_ROOTS) {
        let root = root.map_err(|_| Error::Corrupt("a root certificate"))?;
        roots.add(root).map_err(Error::Tls)?;
    }
    // One that cannot be read vouches for nobody, and a system that trusts none has Amazon's still.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TLS.get_or_init(|| MakeRustlsConnect::new(config)).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_root_can_be_read() {
        assert_eq!(CertificateDer::pem_slice_iter(AMAZON_ROOTS).filter(Result::is_ok).count(), 85);
        tls().expect("a configuration");
    }

    #[test]
    fn a_url_says_where_and_who() {
        let server = Server::new("postgres://intake_api@db.example:6432/intake?sslmode=require").expect("a URL");
        assert_eq!((server.user(), server.address()), (Some("intake_api"), Some(("db.example", 6432))));
        assert!(server.is_encrypted());
        assert!(!Server::new("postgres://a:b@db.example/intake").expect("a URL").is_encrypted());
    }
}
