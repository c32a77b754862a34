//! TLS clients: the trusted root certificates, and the classification of certificate problems.
//!
//! The daemon and the diagnosis both use this crate, so they accept and reject the same certificates. It does not open
//! connections.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod certificate_problem;

use std::{io, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::task::spawn_blocking;

pub use certificate_problem::CertificateProblem;

/// The trusted root certificates.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those of the system, loaded for each connection: an administrator may have added one.
    System,
    /// A fixed set.
    Fixed(Arc<RootCertStore>),
}

impl Roots {
    /// A client configuration that offers `protocols` by ALPN; without protocols it does not use ALPN.
    ///
    /// # Errors
    /// The cryptography provider supports no safe protocol version, or the runtime is shutting down.
    pub async fn client(&self, protocols: &[&[u8]]) -> io::Result<ClientConfig> {
        let mut config = builder()?.with_root_certificates(self.load().await?).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// Loads the certificates.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn load(&self) -> io::Result<Arc<RootCertStore>> {
        match self {
            Self::System => spawn_blocking(system).await.map_err(io::Error::other),
            Self::Fixed(roots) => Ok(roots.clone()),
        }
    }
}

/// The common part of all client configurations.
///
/// # Errors
/// The cryptography provider supports no safe protocol version.
pub fn builder() -> io::Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)
}

fn system() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, malformed) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("no trusted root certificates found (is ca-certificates installed?)");
    }
    tracing::trace!(added, malformed, errors = found.errors.len(), "loaded the system root certificates");
    Arc::new(roots)
}
