//! One call over HTTP, to the public internet only.
//!
//! The URL is a stranger's, and this function stands inside of our network. So the names in it are resolved here, once, and
//! a connection is made to those of the addresses that are public, whatever the name says a moment later; an address that
//! stands in the URL itself is never resolved and is checked with it. Redirects and proxies would lead elsewhere.

use intake_domain::webhook::{self, AddressError};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the whole call may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// So much of an answer is read, for the receiver's sake, and dropped.
const MAX_ANSWER: usize = 64 << 10;

/// As which we introduce ourselves.
const USER_AGENT: &str = concat!("Intake/", env!("CARGO_PKG_VERSION"));

/// Makes the calls.
pub(crate) struct Caller {
    client: Client,
    allowed_hosts: Arc<[String]>,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// What went wrong on the way.
    pub(crate) error: Option<String>,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

impl Caller {
    /// A caller that calls `allowed_hosts` wherever they are.
    pub(crate) fn new(allowed_hosts: Vec<String>) -> reqwest::Result<Self> {
        let allowed_hosts: Arc<[String]> = allowed_hosts.into();
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .dns_resolver(Arc::new(PublicOnly { allowed_hosts: Arc::clone(&allowed_hosts) }))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // a connection that was kept would be frozen with the environment, and dead after it
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { client, allowed_hosts })
    }

    /// Sends a JSON body with the headers to the URL.
    pub(crate) async fn post(&self, url: &str, headers: [(&'static str, String); 3], body: Vec<u8>) -> Outcome {
        let started = Instant::now();
        let answered = self.send(url, headers, body).await;
        let elapsed = started.elapsed();
        match answered {
            Ok(status @ 300..400) => {
                Outcome { status: Some(status), error: Some("redirects are not followed".to_owned()), elapsed }
            }
            Ok(status) => Outcome { status: Some(status), error: None, elapsed },
            Err(error) => Outcome { status: None, error: Some(error), elapsed },
        }
    }

    async fn send(&self, url: &str, headers: [(&'static str, String); 3], body: Vec<u8>) -> Result<u16, String> {
        // once more, because what is allowed may have changed since the session was created
        let url = webhook::check_url(url, &self.allowed_hosts).map_err(|error| error.to_string())?;
        let request = self.client.post(url).header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.body(body).send().await.map_err(|error| explain(&error))?;
        let status = answer.status().as_u16();
        drain(answer).await;
        Ok(status)
    }
}

/// Lets the receiver end its answer, if it is short: one that is cut off would see an error.
async fn drain(mut answer: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > MAX_ANSWER {
            break;
        }
    }
}

/// What went wrong, in the words of its innermost cause, and never with the URL, whose query may hold a secret.
fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() { "no connection in 10 s" } else { "no answer in 15 s" }.to_owned();
    }
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => "the call failed".to_owned(),
        None => cause.to_string(),
    }
}

/// Resolves names to those of their addresses that may be called.
struct PublicOnly {
    allowed_hosts: Arc<[String]>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_allowed = webhook::is_allowed(name.as_str(), &self.allowed_hosts);
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let check = |address: &std::net::SocketAddr| webhook::check_address(address.ip());
            let refused: Option<AddressError> = found.iter().find_map(|address| check(address).err());
            let may_call: Vec<_> = found.into_iter().filter(|address| is_allowed || check(address).is_ok()).collect();
            match (may_call.is_empty(), refused) {
                (false, _) => Ok(Box::new(may_call.into_iter()) as Addrs),
                (true, Some(refused)) => Err(refused.into()),
                (true, None) => Err("the name has no address".into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn resolve(name: &str, allowed_hosts: &[&str]) -> Result<usize, String> {
        let allowed_hosts = allowed_hosts.iter().map(|host| (*host).to_owned()).collect();
        let resolved = PublicOnly { allowed_hosts }.resolve(name.parse().expect("a name")).await;
        resolved.map(Iterator::count).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_not_connected_to() {
        assert!(resolve("localhost", &["localhost"]).await.expect("addresses") >= 1);
        assert!(resolve("LOCALHOST", &["localhost"]).await.expect("addresses") >= 1);
        let refused = resolve("localhost", &["example.org"]).await.expect_err("refused");
        assert!(refused.ends_with("is not public: loopback"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_not_public_is_told() {
        let caller = Caller::new(vec!["localhost".to_owned()]).expect("a client");
        let headers = || [("a", "1".to_owned()), ("b", "2".to_owned()), ("c", "3".to_owned())];
        for (url, error) in [
            ("https://127.0.0.1/", "the address 127.0.0.1 is not public: loopback"),
            ("http://example.org/", "the URL must begin with https://"),
            ("http://localhost:1/", "Connection refused (os error 111)"),
        ] {
            let outcome = caller.post(url, headers(), Vec::new()).await;
            assert_eq!((outcome.status, outcome.error.as_deref()), (None, Some(error)), "{url}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_to_its_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://localhost:{}/", listener.local_addr().expect("an address").port());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                stream.read_buf(&mut request).await?;
            }
            stream.write_all(b"HTTP/1.1 202 X\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            while stream.write_all(b"5\r\nagain\r\n").await.is_ok() {}
            std::io::Result::Ok(())
        });
        let caller = Caller::new(vec!["localhost".to_owned()]).expect("a client");
        let headers = [("a", "1".to_owned()), ("b", "2".to_owned()), ("c", "3".to_owned())];
        let outcome = caller.post(&url, headers, b"{}".to_vec()).await;
        assert_eq!((outcome.status, outcome.error), (Some(202), None));
        assert!(outcome.elapsed < TIMEOUT, "{:?}", outcome.elapsed);
    }
}
