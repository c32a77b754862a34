//! TLS towards the portal, with the roots that this machine trusts.

use std::{io, sync::Arc};

use portal::DialError;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{net::TcpStream, task::spawn_blocking};
use tokio_rustls::TlsConnector;

use super::stream::Stream;

/// Which certificates are trusted.
#[derive(Clone, Debug)]
pub(super) enum Roots {
    /// Those of the system, read anew for each attempt: an administrator may just have added one.
    System,
    /// These.
    #[cfg(test)]
    Given(Arc<RootCertStore>),
}

/// Encrypts `stream` for `host`, which may be an address.
pub(super) async fn connect(stream: TcpStream, host: &str, roots: &Roots) -> Result<Stream, DialError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| DialError::Tls)?;
    let config = config(roots.load().await?)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| blame(&error))?;
    Ok(Stream::Tls(Box::new(stream)))
}

impl Roots {
    async fn load(&self) -> Result<Arc<RootCertStore>, DialError> {
        match self {
            Self::System => spawn_blocking(system).await.map_err(|_| DialError::Tls),
            #[cfg(test)]
            Self::Given(roots) => Ok(roots.clone()),
        }
    }
}

fn system() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, odd) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("this machine trusts no certificates at all (is ca-certificates installed?)");
    }
    tracing::trace!(added, odd, errors = found.errors.len(), "read the system's roots");
    Arc::new(roots)
}

/// No ALPN: the upgrade to a WebSocket is HTTP/1.1.
fn config(roots: Arc<RootCertStore>) -> Result<ClientConfig, DialError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| DialError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn blame(error: &io::Error) -> DialError {
    tracing::debug!(%error, "TLS failed");
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => DialError::Certificate,
        Some(_) | None => DialError::Tls,
    }
}
