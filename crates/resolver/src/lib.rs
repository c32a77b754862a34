//! The resolver that the system asks: our end of DNS over UDP and TCP.
//!
//! The sentinel addresses are local addresses of the tunnel's interface, so the kernel does the transport and ordinary
//! sockets listen on them. The packet thread decides about each question ([`dns::Stub`]); here the decision is carried
//! out:
//!
//! * [`Server`] – which addresses are listened on, and what stands in the way
//! * [`udp`], [`tcp`] – queries in, replies out
//! * [`exchange`] – one query from its bytes to the bytes of its reply
//! * [`reply`] – replies that we write ourselves
//! * [`forward`] – asking another resolver, on the host or through the tunnel, in the way it wants to be asked:
//!   [`plain`], over TLS ([`dot`], [`opportunistic`]) or over HTTPS ([`doh`])
//! * [`circle`] – resolvers on this host that would ask us in turn
//! * [`lookup`] – names of our own connections
//!
//! hickory-server parses the queries, writes our replies and frames TCP. Its accept loop is not used: it can only send
//! what it has encoded itself, while the reply of another resolver has to arrive byte by byte (DNSSEC and EDNS depend
//! on it); it handles the queries of a TCP connection one after the other, so that a silent resolver would hold up all
//! that follow; and it logs the names that are asked for.

mod circle;
mod doh;
mod dot;
mod exchange;
mod forward;
mod lookup;
mod obstacle;
mod opportunistic;
mod plain;
mod reply;
mod server;
mod sockets;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_encrypted;

use std::net::IpAddr;

use model::Resolver;
use tls::Roots;

use self::sockets::Sockets;

pub use forward::{Failure, Forwarder};
pub use obstacle::Process;
pub use server::{ServeError, Server};

/// Tells all addresses of a host that we connect to ourselves, as the host's own resolvers know them; each as soon as it is
/// known, and possibly more than once.
///
/// # Errors
/// Our sockets cannot be kept out of the tunnel.
pub async fn look_up(
    mark: u32,
    roots: &Roots,
    resolvers: &[Resolver],
    host: &str,
    tell: &mut (dyn FnMut(IpAddr) + Send),
) -> Result<(), CannotMark> {
    lookup::look_up(Sockets { mark }, roots, resolvers, host, tell).await
}

/// Sockets cannot be kept out of the tunnel.
#[derive(Clone, Copy, Debug)]
pub struct CannotMark;

/// How a query came, and how it is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A message on a stream.
    Tcp,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}
