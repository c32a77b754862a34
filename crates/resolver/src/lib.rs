//! The DNS server of this machine: the stub resolver's sockets, and forwarding to other resolvers.
//!
//! This crate owns sockets of names: those that listen on the sentinels, and those to other resolvers. It must not decide what
//! a name means: the packet thread decides about each question ([`dns::Stub`]), reached through [`dataplane::Command`]. A query
//! goes from a listener to the exchange, which gets the decision and executes it, if need be through the [`Forwarder`].
//!
//! The sentinel addresses are local addresses of the tunnel interface, so ordinary sockets listen on them. In the order of a
//! query's way:
//!
//! * [`Server`] – the listeners, and [`port_owner`] for a port that is taken
//! * [`udp`], [`tcp`] – queries in, replies out
//! * [`exchange`] – one query from its bytes to the bytes of its reply; [`reply`] for replies of our own
//! * [`forward`] – chooses how another resolver is queried, on the host or through the tunnel: [`plain`], over TLS ([`dot`],
//!   [`opportunistic`]) or over HTTPS ([`doh`])
//! * [`loop_detection`] – resolvers on this host that forward to us
//! * [`lookup`] – names of our own connections
//! * [`query`], [`transport`], [`error`], [`sockets`] – the shared terms
//!
//! hickory-server parses queries, writes our replies and frames TCP. Its accept loop is not used, because it can only send
//! messages that it has encoded itself, while the response of another resolver must be passed on byte by byte (DNSSEC and EDNS
//! depend on it); because it handles the queries of a TCP connection one after the other, so that a silent resolver would
//! delay all that follow; and because it logs the queried names.

mod doh;
mod dot;
mod error;
mod exchange;
mod forward;
mod lookup;
mod loop_detection;
mod opportunistic;
mod plain;
mod port_owner;
mod query;
mod reply;
mod server;
mod sockets;
mod tcp;
mod transport;
mod udp;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_encrypted;

use std::net::IpAddr;

use model::Resolver;
use tls::Roots;

use self::sockets::Sockets;

pub use error::{CannotMark, Failure};
pub use forward::Forwarder;
pub use port_owner::Process;
pub use server::{ServeError, Server};
pub use transport::Transport;

/// Resolves the name of a server that we connect to ourselves, by the host's own resolvers. Calls `on_address` for each
/// address as soon as it is known, possibly more than once.
///
/// # Errors
/// Our sockets cannot be kept out of the tunnel.
pub async fn look_up(
    mark: u32,
    roots: &Roots,
    resolvers: &[Resolver],
    host: &str,
    on_address: &mut (dyn FnMut(IpAddr) + Send),
) -> Result<(), CannotMark> {
    lookup::look_up(Sockets { mark }, roots, resolvers, host, on_address).await
}
