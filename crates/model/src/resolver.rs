//! A resolver of the host.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// A resolver that the host was told to use, by an administrator or by its network.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Resolver {
    /// Where it is. With a scope, if it is a link-local address.
    pub address: SocketAddr,
    /// Whether it is asked over TLS.
    pub encryption: Encryption,
    /// The name that its certificate must be for; without one, that is its address.
    pub server_name: Option<Arc<str>>,
}

/// Whether a resolver is asked over TLS (RFC 7858).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Encryption {
    /// Never.
    #[default]
    None,
    /// Where it offers that, whoever it is (RFC 8310 5); else it is asked openly.
    Opportunistic,
    /// Always, and only if it proves who it is.
    Required,
}

impl Resolver {
    /// The port of plain DNS (RFC 1035 4.2).
    pub const PORT: u16 = 53;
    /// The port of DNS over TLS (RFC 7858 3.1).
    pub const TLS_PORT: u16 = 853;

    /// One that is asked openly at the usual port.
    #[must_use]
    pub fn plain(ip: IpAddr) -> Self {
        Self { address: SocketAddr::new(ip, Self::PORT), encryption: Encryption::None, server_name: None }
    }

    /// One that is asked over TLS at the usual port.
    #[must_use]
    pub fn over_tls(ip: IpAddr, server_name: Option<&str>) -> Self {
        Self {
            address: SocketAddr::new(ip, Self::TLS_PORT),
            encryption: Encryption::Required,
            server_name: server_name.map(Arc::from),
        }
    }

    /// Where it is asked over TLS: a resolver at the port of plain DNS does that at another one.
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
        let odd = Resolver { address: SocketAddr::new(ip, 8853), ..Resolver::plain(ip) };
        assert_eq!(odd.tls_address().port(), 8853);
    }
}
