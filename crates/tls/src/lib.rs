//! TLS towards others: which certificates this machine trusts, and what is wrong with one that it does not.
//!
//! The daemon and the diagnosis use it alike, so that what one refuses the other refuses, too.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod flaw;

use std::{io, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::task::spawn_blocking;

pub use flaw::Flaw;

/// Which certificates are trusted.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those of the system, read anew for each connection: an administrator may just have added one.
    System,
    /// These.
    Given(Arc<RootCertStore>),
}

impl Roots {
    /// How to connect to somebody who speaks one of the `protocols` (ALPN); without any, nothing is said about it.
    ///
    /// # Errors
    /// There is no cryptography, or the runtime ends.
    pub async fn client(&self, protocols: &[&[u8]]) -> io::Result<ClientConfig> {
        let mut config = builder()?.with_root_certificates(self.load().await?).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// The certificates themselves.
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn load(&self) -> io::Result<Arc<RootCertStore>> {
        match self {
            Self::System => spawn_blocking(system).await.map_err(io::Error::other),
            Self::Given(roots) => Ok(roots.clone()),
        }
    }
}

/// What every connection of ours has in common.
///
/// # Errors
/// There is no cryptography.
pub fn builder() -> io::Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)
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
