//! LocalStack without Docker, in what its people call host mode: S3 and SQS, of a test's own.

use super::{Ground, python};
use anyhow::{Context, Result, ensure};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use uuid::Uuid;

/// A release that needs no token, and the versions that it knows of what has changed under it since. What else it takes differs
/// from one Python to another.
const REQUIREMENTS: &str = include_str!("../localstack/requirements.txt");

/// How long it may take to start on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(120);

/// A LocalStack that ends with its test.
pub(crate) struct LocalStack {
    pub(crate) url: String,
    _process: Child,
}

impl LocalStack {
    pub(crate) async fn start(ground: &Ground) -> Result<Self> {
        let python = python::python("localstack-tools", REQUIREMENTS).await?;
        let folder = ground.state_dir.join(format!("localstack-{}", Uuid::now_v7().simple()));
        std::fs::create_dir_all(&folder)?;
        // nobody else listens there for the moment, which is as much as can be had
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = folder.join("log");
        let out = std::fs::File::create(&log)?;
        let mut process = Command::new(python)
            .args(["-m", "localstack.runtime.main"])
            // what a user's shell says to a LocalStack of his own is not meant for this one
            .env_clear()
            .envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(Self::settings(&folder, &address.to_string()))
            .env("INTAKE_STACK", &ground.state_dir)
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .context("run LocalStack")?;
        let (url, since) = (format!("http://{address}"), Instant::now());
        loop {
            let healthy = ground.http.get(format!("{url}/_localstack/health")).send().await;
            if healthy.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Self { url, _process: process });
            }
            let is_there = process.try_wait()?.is_none() && since.elapsed() < PATIENCE;
            ensure!(is_there, "LocalStack does not start: {}", std::fs::read_to_string(&log)?);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn settings(folder: &Path, address: &str) -> [(&'static str, PathBuf); 8] {
        [
            ("FILESYSTEM_ROOT", folder.to_owned()),
            ("LOCALSTACK_VOLUME_DIR", folder.to_owned()),
            ("SERVICES", "s3,sqs".into()),
            ("STRICT_SERVICE_LOADING", "1".into()),
            ("GATEWAY_LISTEN", address.into()),
            ("S3_SKIP_SIGNATURE_VALIDATION", "0".into()),
            ("DISABLE_EVENTS", "1".into()),
            ("SKIP_SSL_CERT_DOWNLOAD", "1".into()),
        ]
    }
}
