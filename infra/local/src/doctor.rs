//! Whether this machine has what the stack needs, and what installs it where it has not.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::state::State;
use crate::{Say, Settings, front, postgres, running, tools};

/// Says of each prerequisite what was found, or the command that installs it; true when nothing is missing.
pub async fn doctor(settings: &Settings, say: Say<'_>) -> Result<bool> {
    let findings = [
        ("cargo", cargo().await, "curl https://sh.rustup.rs -sSf | sh".to_owned()),
        ("python3", tools::check_python().await, package("python3 python3-venv", "python3", "python3")),
        ("postgres", server().await, package("postgresql", "postgresql-server", "postgresql")),
        ("state folder", writable(settings), "INTAKE_STATE_DIR=DIR names another folder".to_owned()),
        ("front port", port(settings).await, "INTAKE_API_PORT=N names another port".to_owned()),
    ];
    let mut well = true;
    for (name, finding, remedy) in findings {
        match finding {
            Ok(found) => say(&format!("{name}: {found}")),
            Err(error) => {
                well = false;
                say(&format!("{name}: missing ({error:#}); {remedy}"));
            }
        }
    }
    Ok(well)
}

async fn cargo() -> Result<String> {
    let asked = Command::new("cargo").arg("--version").output().await.context("not in PATH")?;
    Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

/// None on the machine is no defect: one is then fetched with the Python tools.
async fn server() -> Result<String> {
    Ok(match postgres::installations(None).await.first() {
        Some(found) => format!("{} in {}", found.version, found.bin.display()),
        None => "none of version 15 or later on this machine; one will be fetched from PyPI".into(),
    })
}

fn writable(settings: &Settings) -> Result<String> {
    Ok(State::create(&settings.state_dir)?.root().display().to_string())
}

async fn port(settings: &Settings) -> Result<String> {
    if let Some(endpoints) = running(settings).await {
        return Ok(format!("{}, held by the stack itself", endpoints.api_url));
    }
    match front::bind(settings.api_port).await {
        Ok(listener) => Ok(format!("{} is free", listener.local_addr()?.port())),
        Err(error) => bail!(error),
    }
}

/// The command that installs a package here, by its name in Debian, Fedora and Alpine.
fn package(debian: &str, fedora: &str, alpine: &str) -> String {
    let managers = [
        ("/usr/bin/apt-get", format!("apt-get install {debian}")),
        ("/usr/bin/dnf", format!("dnf install {fedora}")),
        ("/sbin/apk", format!("apk add {alpine}")),
    ];
    let found = managers.into_iter().find(|(manager, _)| Path::new(manager).exists());
    found.map_or_else(|| format!("install {debian}"), |(_, command)| command)
}
