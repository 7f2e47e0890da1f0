//! The server's side of TLS, from files. Not here: certificates for others' servers.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{DEFAULT_VERSIONS, ServerConfig};

use crate::config;
use crate::exit::UsageError;

/// What accepts TLS connections, if a certificate is configured.
///
/// # Errors
/// [`UsageError`] if the files hold no certificate and its key.
pub(super) fn acceptor(config: &config::ServerConfig) -> Result<Option<TlsAcceptor>, UsageError> {
    let (Some(certificate), Some(key)) = (&config.certificate.value, &config.key.value) else {
        return Ok(None);
    };
    let unusable = |setting: &str, path: &Path, why: String| {
        UsageError(format!("`{setting}` is {}: {why}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable("server.tls_certificate", certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable("server.tls_certificate", certificate, "there is no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable("server.tls_key", key, error.to_string()))?;
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(DEFAULT_VERSIONS)
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| unusable("server.tls_key", key, format!("does not fit the certificate: {error}")))?;
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}
