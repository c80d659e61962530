//! A MariaDB server of a test's own, from the one found on the machine, else from the system's packages, unpacked and not
//! installed.

use super::Ground;
use anyhow::{Context, Result, bail, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The user who owns the database, and who may look at it.
const USER: &str = "shop";

/// What comes with the server, and makes the tables in which it keeps itself.
const SYSTEM_TABLES: [&str; 3] =
    ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"];

/// How long it may take to start on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with its test.
pub(crate) struct MariaDb {
    pub(crate) port: u16,
    pub(crate) password: String,
    folder: PathBuf,
    _server: Child,
}

/// Where a server lies.
#[derive(Clone)]
struct Installation {
    server: PathBuf,
    /// Above `share`.
    base: PathBuf,
}

impl MariaDb {
    /// Starts a server with an empty database `old`.
    pub(crate) async fn start(ground: &Ground) -> Result<Self> {
        let installation = installation().await?;
        let folder = ground.state_dir.join(format!("mariadb-{}", Uuid::now_v7().simple()));
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let password = Uuid::new_v4().simple().to_string();

        let share = ["mariadb", "mysql"].map(|name| installation.base.join("share").join(name));
        let share = share.into_iter().find(|path| path.join(SYSTEM_TABLES[0]).is_file());
        let share = share.with_context(|| format!("{} has no system tables", installation.base.display()))?;
        let mut tables = "create database mysql;\nuse mysql;\n".to_owned();
        for name in SYSTEM_TABLES {
            tables += &std::fs::read_to_string(share.join(name))?;
        }
        let command = || {
            let mut command = Command::new(&installation.server);
            command.arg("--no-defaults").arg(format!("--basedir={}", installation.base.display()));
            command.arg(format!("--datadir={}", data.display()));
            command.arg(format!("--lc-messages-dir={}", share.display()));
            // refused as root unless it is said; ignored for all others
            command.arg("--user=root").env("INTAKE_STACK", &ground.state_dir).kill_on_drop(true);
            command
        };
        let mut bootstrap = command()
            .arg("--bootstrap")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("run mariadbd")?;
        bootstrap.stdin.take().context("its input")?.write_all(tables.as_bytes()).await?;
        let made = bootstrap.wait_with_output().await?;
        ensure!(made.status.success(), "mariadbd --bootstrap: {}", String::from_utf8_lossy(&made.stderr));

        let init = folder.join("init.sql");
        std::fs::write(
            &init,
            format!(
                "create database old character set utf8mb4;\n\
                 create user {USER}@'%' identified by '{password}';\n\
                 create user {USER}@'localhost' identified by '{password}';\n\
                 grant all on old.* to {USER}@'%';\ngrant all on old.* to {USER}@'localhost';\n"
            ),
        )?;
        // nobody else listens there for the moment, which is as much as can be had
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = folder.join("log");
        let server = command()
            .args(["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=32M", "--skip-log-bin"])
            // whoever reads must say which zone is meant
            .arg("--default-time-zone=+05:30")
            .arg(format!("--port={port}"))
            .arg(format!("--socket={}", std::env::temp_dir().join(format!("intake-{port}.sock")).display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .arg(format!("--init-file={}", init.display()))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("run mariadbd")?;
        let mut this = Self { port, password, folder, _server: server };
        let since = Instant::now();
        loop {
            match this.connect().await {
                Ok(_) => return Ok(this),
                Err(_) if since.elapsed() < PATIENCE && this._server.try_wait()?.is_none() => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    let mut said = String::new();
                    std::fs::File::open(&log)?.read_to_string(&mut said)?;
                    return Err(error.context(said));
                }
            }
        }
    }

    /// A connection to the database.
    pub(crate) async fn connect(&self) -> Result<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some(USER))
            .pass(Some(&self.password))
            .db_name(Some("old"))
            .prefer_socket(false);
        Ok(Conn::new(options).await?)
    }

    /// Runs statements, one after another, as a session that writes times in UTC and takes backslashes for what they are.
    pub(crate) async fn run(&self, statements: &[String]) -> Result<()> {
        let mut connection = self.connect().await?;
        connection
            .query_drop("set time_zone = '+00:00', names utf8mb4, sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'")
            .await?;
        for statement in statements {
            connection.query_drop(statement).await.with_context(|| statement.clone())?;
        }
        connection.disconnect().await?;
        Ok(())
    }

    /// Its address, without a password.
    pub(crate) fn url(&self) -> String {
        format!("mysql://{USER}@127.0.0.1:{}/old", self.port)
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // it is killed with its handle; what it wrote goes with the next run at the latest
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The server that is there, or the one that is fetched when it is first asked for.
async fn installation() -> Result<Installation> {
    static FOUND: OnceCell<Installation> = OnceCell::const_new();
    let find = async || {
        if let Some(found) = on_this_machine() {
            return Ok(found);
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("target"));
        let root = target.join("mariadb-tools");
        let fetched = Installation { server: root.join("usr/sbin/mariadbd"), base: root.join("usr") };
        let stamp = root.join("complete");
        if !stamp.exists() {
            fetch(&root)
                .await
                .context("no MariaDB server on this machine; on Debian: apt-get install mariadb-server-core")?;
            std::fs::write(stamp, "")?;
        }
        ensure!(fetched.server.is_file(), "the package mariadb-server-core has no usr/sbin/mariadbd");
        Ok(fetched)
    };
    FOUND.get_or_try_init(find).await.cloned()
}

fn on_this_machine() -> Option<Installation> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    folders.extend(["/usr/sbin", "/usr/libexec", "/usr/local/sbin"].map(PathBuf::from));
    let server = folders.into_iter().map(|folder| folder.join("mariadbd")).find(|path| path.is_file())?;
    let server = server.canonicalize().ok()?;
    let base = server.parent()?.parent()?.to_owned();
    Some(Installation { server, base })
}

/// Unpacks the system's package into a folder: nothing is installed and nothing is started, and nobody need be root.
async fn fetch(root: &Path) -> Result<()> {
    eprintln!("fetching a MariaDB server into {}", root.display());
    let packages = root.join("packages");
    let _ = std::fs::remove_dir_all(root);
    std::fs::create_dir_all(&packages)?;
    let mut apt = Command::new("apt-get");
    run(apt.current_dir(&packages).args(["download", "mariadb-server-core"])).await?;
    for package in std::fs::read_dir(&packages)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(root)).await?;
    }
    Ok(())
}

async fn run(command: &mut Command) -> Result<()> {
    let done = command.stdin(Stdio::null()).output().await.with_context(|| format!("{command:?}"))?;
    if !done.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}
