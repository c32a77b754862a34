//! DNS servers of the host.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// A DNS server that the host uses, configured by an administrator or by its network.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Resolver {
    /// The address and port; with a scope if the address is link-local.
    pub address: SocketAddr,
    /// Whether queries are sent over TLS.
    pub encryption: Encryption,
    /// The name that its certificate must contain; `None` means its address.
    pub server_name: Option<Arc<str>>,
}

/// Whether queries are sent over TLS (RFC 7858).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Encryption {
    /// Never.
    #[default]
    None,
    /// If the server supports it, without authentication (RFC 8310 5); else in plain text.
    Opportunistic,
    /// Always, with authentication.
    Required,
}

impl Resolver {
    /// The port of plain DNS (RFC 1035 4.2).
    pub const PORT: u16 = 53;
    /// The port of DNS over TLS (RFC 7858 3.1).
    pub const TLS_PORT: u16 = 853;

    /// A server for plain DNS at the default port.
    #[must_use]
    pub fn plain(ip: IpAddr) -> Self {
        Self { address: SocketAddr::new(ip, Self::PORT), encryption: Encryption::None, server_name: None }
    }

    /// A server for DNS over TLS at the default port.
    #[must_use]
    pub fn over_tls(ip: IpAddr, server_name: Option<&str>) -> Self {
        Self {
            address: SocketAddr::new(ip, Self::TLS_PORT),
            encryption: Encryption::Required,
            server_name: server_name.map(Arc::from),
        }
    }

    /// The address for DNS over TLS: the default port of plain DNS is replaced by that of TLS.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        let mut address = self.address;
        if address.port() == Self::PORT {
            address.set_port(Self::TLS_PORT);
        }
        address
    }
}

impl From<IpAddr> for Resolver {
    fn from(ip: IpAddr) -> Self {
        Self::plain(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_port_replaces_only_the_default_port() {
        let ip: IpAddr = "9.9.9.9".parse().expect("an address");
        assert_eq!(Resolver::plain(ip).tls_address().port(), 853);
        assert_eq!(Resolver::over_tls(ip, Some("dns.quad9.net")).tls_address().port(), 853);
        let custom = Resolver { address: SocketAddr::new(ip, 8853), ..Resolver::plain(ip) };
        assert_eq!(custom.tls_address().port(), 8853);
    }
}
