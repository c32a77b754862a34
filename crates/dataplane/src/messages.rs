//! Messages between the daemon and the packet thread.

use std::net::IpAddr;

use model::{FromPortal, Resolver};
use tokio::sync::oneshot;

/// A request of the daemon to the packet thread.
#[derive(Debug)]
pub enum Command {
    /// A message of the portal.
    Portal(FromPortal),
    /// A DNS query of a program.
    Query {
        /// The question.
        question: dns::Question,
        /// The sentinel at which it arrived.
        sentinel: IpAddr,
        /// Receives the decision; dropped if there will be none.
        reply: oneshot::Sender<dns::Decision>,
    },
    /// The response of another resolver to a forwarded query.
    Answer {
        /// From the decision to forward.
        generation: dns::CacheGeneration,
        /// The cacheable part of the response.
        answer: dns::Cacheable,
    },
    /// Sets the host's own resolvers.
    SystemResolvers(Vec<Resolver>),
    /// Enables or disables the Internet resource.
    InternetResource(bool),
    /// The network changed: all paths are discarded, with new sockets and a new key.
    Reset,
    /// Requests the DNS servers in use.
    Names(oneshot::Sender<tunnel::DnsView>),
    /// Requests the reason for the answer to a name.
    Explain(dns::Domain, oneshot::Sender<tunnel::NameExplanation>),
    /// Discards cached responses of other resolvers.
    FlushNames,
    /// Says goodbye to all peers, and ends. [`Event::Stopped`] is the last event.
    Stop,
}

/// An event of the packet thread for the daemon.
#[derive(Debug)]
pub enum Event {
    /// An event of the tunnel; never a decision about a query, which goes to the sender of the query.
    Tunnel(tunnel::Event),
    /// The packet thread failed. The last event.
    Died {
        /// The reason.
        error: anyhow::Error,
        /// The names with assigned addresses, for the next session.
        names: dns::Assignments,
    },
    /// The packet thread ended by [`Command::Stop`]. The TUN device is closed. The last event.
    Stopped {
        /// The names with assigned addresses, for the next session.
        names: dns::Assignments,
    },
}
