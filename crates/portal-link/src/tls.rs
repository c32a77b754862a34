//! TLS to the portal.

use std::{io, sync::Arc};

use portal::DialError;
use rustls::pki_types::ServerName;
use tls::{CertificateProblem, Roots};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::stream::Stream;

/// Starts TLS on `stream` with `host`, a name or an address.
///
/// # Errors
/// The certificate is not trusted, or TLS failed for another reason.
pub(super) async fn connect(stream: TcpStream, host: &str, roots: &Roots) -> Result<Stream, DialError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| DialError::Tls)?;
    // No ALPN: the upgrade to a WebSocket is HTTP/1.1.
    let config = roots.client(&[]).await.map_err(|_| DialError::Tls)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| classify(&error))?;
    Ok(Stream::Tls(Box::new(stream)))
}

fn classify(error: &io::Error) -> DialError {
    tracing::debug!(%error, "TLS with the portal failed");
    if CertificateProblem::of(error).is_some() { DialError::Certificate } else { DialError::Tls }
}
