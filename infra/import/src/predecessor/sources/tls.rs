//! TLS to servers, with the roots that the system trusts.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The certificates of the system's roots, or of the file that `SSL_CERT_FILE` names.
pub(super) fn roots() -> io::Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    match found.errors.into_iter().next() {
        Some(error) if found.certs.is_empty() => Err(io::Error::other(error)),
        _ if found.certs.is_empty() => {
            Err(io::Error::other("the system trusts no certificate; SSL_CERT_FILE names some"))
        }
        _ => Ok(found.certs),
    }
}

/// Lets drivers that ask for the process's provider of cryptography have ours.
pub(super) fn provide() {
    // somebody else may have been first, with the same
    let _ = aws_lc_rs::default_provider().install_default();
}

/// What begins TLS on a connection to PostgreSQL.
pub(super) fn connector() -> io::Result<MakeRustlsConnect> {
    let mut store = RootCertStore::empty();
    // one that cannot be read vouches for nobody
    store.add_parsable_certificates(roots()?);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
