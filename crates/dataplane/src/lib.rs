//! The data plane: one thread that owns the tunnel, its TUN device and its UDP sockets.
//!
//! The decisions are those of the crate `tunnel`; here are the edges, where packets come in and go out in batches.
//!
//! * [`run`] – the loop
//! * [`tun`], [`sockets`], [`udp`], [`send_queue`] – packets and datagrams, in and out
//! * [`statistics`] – paths and counters, published for readers outside of the thread
//! * [`syscalls`] – the only `unsafe` code
//!
//! The daemon sends a [`Command`] and receives an [`Event`]. Both channels are bounded. The loop always takes commands, and
//! never waits for somebody to take its events, so the two cannot block each other.

mod counters;
mod run;
mod send_queue;
mod sockets;
pub mod statistics;
mod syscalls;
#[cfg(test)]
mod tests;
mod tun;
mod udp;

use std::{
    io,
    net::IpAddr,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{FromPortal, PublicKey, Resolver};
use rand::TryRngCore;
use tokio::sync::{mpsc, oneshot};
use tunnel::Tunnel;

use self::{
    run::{Channels, Worker},
    sockets::Bound,
};
use event_loop::Clock;

pub use counters::Counters;
pub use sockets::SocketError;
pub use statistics::Statistics;
pub use tun::{Tun, TunError};

/// Commands that may wait; more than a burst of DNS queries.
const COMMANDS: usize = 1024;
/// Events that may wait in the channel.
const EVENTS: usize = 256;

/// Something that the daemon wants of the data plane.
#[derive(Debug)]
pub enum Command {
    /// The portal says something.
    Portal(FromPortal),
    /// A program asks for a name.
    Query {
        /// What it asks.
        question: dns::Question,
        /// Which of our resolver addresses it asks.
        sentinel: IpAddr,
        /// Gets the decision, or is dropped if there will be none.
        reply: oneshot::Sender<dns::Decision>,
    },
    /// Another resolver answered a query that we had forwarded.
    Answer {
        /// From the decision to forward.
        generation: dns::CacheGeneration,
        /// The answer, as far as it can be used again.
        answer: dns::Cacheable,
    },
    /// These are the host's own resolvers.
    SystemResolvers(Vec<Resolver>),
    /// Switches the Internet resource.
    InternetResource(bool),
    /// The network changed: everything about paths starts anew, with new sockets and a new key.
    Reset,
    /// Whom do we ask for names?
    Names(oneshot::Sender<tunnel::DnsView>),
    /// Why is this name answered as it is?
    Explain(dns::Domain, oneshot::Sender<tunnel::NameExplanation>),
    /// Forget what other resolvers said.
    FlushNames,
    /// Says goodbye to all peers, and ends. [`Event::Stopped`] is the last event.
    Stop,
}

/// Something that the daemon has to know.
#[derive(Debug)]
pub enum Event {
    /// From the tunnel; never a decision about a query, which goes to whoever asked.
    Tunnel(tunnel::Event),
    /// The data plane cannot go on. The last event.
    Died {
        /// Why.
        error: anyhow::Error,
        /// The names that have addresses, for the next session.
        names: dns::Assignments,
    },
    /// The data plane ended as told. The TUN device is gone. The last event.
    Stopped {
        /// The names that have addresses, for the next session.
        names: dns::Assignments,
    },
}

/// Why the data plane cannot go on.
#[derive(Debug, thiserror::Error)]
enum Death {
    /// Somebody deleted the interface.
    #[error("the TUN device is gone")]
    Tun(#[source] io::Error),
    /// New sockets could not be opened after a change of network.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// The runtime of the loop failed.
    #[error("the data plane's event loop failed")]
    Loop(#[source] io::Error),
}

/// Why the data plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No sockets.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// No randomness.
    #[error("the system has no randomness")]
    Randomness(#[source] rand::rand_core::OsError),
    /// No thread or no event loop.
    #[error("cannot start the data plane's thread")]
    Thread(#[source] io::Error),
}

/// A running data plane. It ends when told by [`Command::Stop`], or when `commands` is dropped.
#[derive(Debug)]
pub struct Dataplane {
    /// Takes commands.
    pub commands: mpsc::Sender<Command>,
    /// Gives events.
    pub events: mpsc::Receiver<Event>,
    /// The key by which the portal has to know us, until an event says otherwise.
    pub public_key: PublicKey,
}

impl Dataplane {
    /// Starts the thread. `names` are those of the last session; `mark` goes on every datagram of the tunnel itself, so
    /// that the host's rules do not route it into the tunnel.
    pub fn start(
        tun: Tun,
        names: dns::Assignments,
        mark: u32,
        statistics: statistics::Publisher,
    ) -> Result<Self, StartError> {
        let clock = Clock::new();
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut seed = [0; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut seed).map_err(StartError::Randomness)?;

        let sockets = Bound::open(mark)?;
        let tunnel = Tunnel::new(clock.now(), unix_now, seed, names);
        let public_key = tunnel.public_key();
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let channels = Channels { commands: command_receiver, events: event_sender, statistics };

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(StartError::Thread)?;
        let worker = {
            // The devices register with the runtime that drives them.
            let _guard = runtime.enter();
            Worker::new(tunnel, tun, sockets, mark, clock, channels).map_err(StartError::Thread)?
        };
        thread::Builder::new()
            .name("dataplane".to_owned())
            .spawn(move || runtime.block_on(worker.run()))
            .map_err(StartError::Thread)?;

        Ok(Self { commands, events, public_key })
    }
}
