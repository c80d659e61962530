//! Where a source is: `sqlite:FILE`, `mysql://…`, `mariadb://…`, `postgres://…`, `mssql://…`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::predecessor::Error;

/// How a connection to a server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// By TLS, with a certificate that the system's roots vouch for (`SSL_CERT_FILE` names others).
    Verify,
    /// Not at all.
    Off,
}

/// A database of the predecessor's. Shown and debugged without its password.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A server.
    Server(Server),
}

/// A server with databases.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    pub(crate) engine: Engine,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// A socket of this machine, in place of host and port: PostgreSQL's folder, MySQL's file.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) database: String,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    MySql,
    Postgres,
    Mssql,
}

impl Engine {
    fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "mysql" | "mariadb" => Some(Self::MySql),
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mssql" | "sqlserver" => Some(Self::Mssql),
            _ => None,
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
            Self::Mssql => "mssql",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::MySql => 3306,
            Self::Postgres => 5432,
            Self::Mssql => 1433,
        }
    }

    /// The parameter of an address that names a socket.
    fn socket(self) -> Option<&'static str> {
        match self {
            Self::MySql => Some("socket"),
            Self::Postgres => Some("host"),
            Self::Mssql => None,
        }
    }
}

const FORMS: &str = "it has one of the forms sqlite:FILE, mysql://USER@HOST/DATABASE, postgres://USER@HOST/DATABASE, \
                     mssql://USER@HOST/DATABASE";

impl Location {
    /// Reads an address. A password that is given beside it goes before one within.
    ///
    /// # Errors
    /// [`Error::Address`], which repeats no password.
    pub fn parse(text: &str, password: Option<String>) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Address(why.to_owned());
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(wrong("sqlite: names no file"))
            } else {
                Ok(Self::Sqlite(PathBuf::from(path)))
            };
        }
        let Some((scheme, _)) = text.split_once("://") else { return Err(wrong(FORMS)) };
        let Some(engine) = Engine::of(scheme) else {
            return Err(Error::Address(format!("{scheme}:// is none of a known database; {FORMS}")));
        };
        let url = Url::parse(text).map_err(|error| Error::Address(format!("{error}; {FORMS}")))?;
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let mut socket = None;
        for (name, value) in url.query_pairs() {
            if Some(name.as_ref()) == engine.socket() && value.starts_with('/') {
                socket = Some(PathBuf::from(value.as_ref()));
            } else {
                return Err(Error::Address(format!("the parameter {name} is not known")));
            }
        }
        let database = decode(url.path().trim_matches('/'));
        if database.is_empty() {
            return Err(wrong("it names no database"));
        }
        if url.username().is_empty() {
            return Err(wrong("it names no user"));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        if host.is_none() && socket.is_none() {
            return Err(wrong("it names no host"));
        }
        Ok(Self::Server(Server {
            engine,
            user: decode(url.username()),
            password: password.or_else(|| url.password().map(decode)),
            host: decode(host.unwrap_or("localhost").trim_matches(['[', ']'])),
            port: url.port().unwrap_or(engine.port()),
            socket,
            database,
        }))
    }

    /// How a connection is encrypted unless somebody says otherwise: not at all within this machine, verified to any other.
    #[must_use]
    pub fn default_tls(&self) -> Tls {
        match self {
            Self::Sqlite(_) => Tls::Off,
            Self::Server(Server { socket: Some(_), .. }) => Tls::Off,
            Self::Server(Server { host, .. }) => {
                let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
                if is_here { Tls::Off } else { Tls::Verify }
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Server(Server { engine, user, host, port, socket, database, .. }) => {
                let scheme = engine.scheme();
                match socket {
                    Some(socket) => write!(f, "{scheme}://{user}@{}/{database}", socket.display()),
                    None if host.contains(':') => write!(f, "{scheme}://{user}@[{host}]:{port}/{database}"),
                    None => write!(f, "{scheme}://{user}@{host}:{port}/{database}"),
                }
            }
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("engine", &self.engine).field("host", &self.host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, String> {
        Location::parse(text, None).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_read_and_shown_without_their_passwords() {
        for (text, shown) in [
            ("sqlite:old.db", "sqlite:old.db"),
            ("sqlite:///srv/old.db", "sqlite:/srv/old.db"),
            ("mysql://shop:s%40crt@db.example/old", "mysql://shop@db.example:3306/old"),
            ("mariadb://shop@127.0.0.1:3307/old", "mysql://shop@127.0.0.1:3307/old"),
            ("postgresql://shop:secret@[::1]/old", "postgres://shop@[::1]:5432/old"),
            ("postgres://shop@localhost/old?host=/run/postgresql", "postgres://shop@/run/postgresql/old"),
            ("sqlserver://sa:secret@db.example:1434/old/", "mssql://sa@db.example:1434/old"),
        ] {
            let location = parse(text).unwrap();
            assert_eq!((location.to_string(), format!("{location:?}")), (shown.to_owned(), shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_password_beside_the_address_goes_before_one_within() {
        let password = |text, beside: Option<&str>| match Location::parse(text, beside.map(str::to_owned)) {
            Ok(Location::Server(server)) => server.password,
            other => panic!("{other:?}"),
        };
        assert_eq!(password("mysql://a:p%40ss@h/d", None).as_deref(), Some("p@ss"));
        assert_eq!(password("mysql://a:p%40ss@h/d", Some("other")).as_deref(), Some("other"));
        assert_eq!(password("mysql://a@h/d", None), None);
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for (text, why) in [
            ("old.db", "it has one of the forms"),
            ("sqlite:", "names no file"),
            ("oracle://a:secret@h/d", "oracle:// is none of a known database"),
            ("mysql://h/d", "it names no user"),
            ("mysql://a:secret@h", "it names no database"),
            ("mysql://a:secret@h:port/d", "invalid port"),
            ("mssql://a:secret@h/d?encrypt=no", "the parameter encrypt is not known"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for (text, tls) in [
            ("mysql://a@localhost/d", Tls::Off),
            ("mysql://a@127.0.0.1/d", Tls::Off),
            ("postgres://a@[::1]/d", Tls::Off),
            ("postgres://a@db/d?host=/run/postgresql", Tls::Off),
            ("postgres://a@localhost.example/d", Tls::Verify),
            ("mssql://a@10.0.0.1/d", Tls::Verify),
        ] {
            assert_eq!(parse(text).unwrap().default_tls(), tls, "{text}");
        }
    }
}
