//! The data plane: one thread that owns the tunnel, its TUN device and its UDP sockets.
//!
//! This crate owns the packet path between TUN device and sockets, in batches. It must not decide about packets: that is the
//! crate `tunnel`. A loop reads from both edges, passes packets to the tunnel, and writes what the tunnel returns.
//!
//! * [`run`] – the loop
//! * [`messages`] – the commands and events between daemon and loop; [`error`] for its failures
//! * [`tun`], [`sockets`], [`udp`], [`send_queue`] – packets and datagrams, in and out
//! * [`statistics`], [`counters`] – paths and counters, published for readers outside the thread
//! * [`syscalls`] – the only `unsafe` code
//!
//! The daemon sends a [`Command`] and receives an [`Event`]. Both channels are bounded. The loop always takes commands and
//! never waits for a receiver of its events, so the two cannot block each other.

mod counters;
mod error;
mod messages;
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
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::PublicKey;
use rand::TryRngCore;
use tokio::sync::mpsc;
use tunnel::Tunnel;

use self::{
    run::{Channels, Worker},
    sockets::Bound,
};
use event_loop::Clock;

pub use counters::Counters;
pub use error::StartError;
pub use messages::{Command, Event};
pub use sockets::SocketError;
pub use statistics::Statistics;
pub use tun::{Tun, TunError};

/// Pending commands; more than a burst of DNS queries.
const COMMAND_QUEUE: usize = 1024;
/// Unread events in the channel.
const EVENT_QUEUE: usize = 256;

/// A running packet thread. It ends by [`Command::Stop`], or when `commands` is dropped.
#[derive(Debug)]
pub struct Dataplane {
    /// Sends commands.
    pub commands: mpsc::Sender<Command>,
    /// Receives events.
    pub events: mpsc::Receiver<Event>,
    /// Our public key for the portal, until [`Event::Tunnel`] reports a new one.
    pub public_key: PublicKey,
}

impl Dataplane {
    /// Starts the thread. `names` are those of the last session. `mark` is set on every datagram of the tunnel itself, so that
    /// the host's rules do not route it into the tunnel.
    ///
    /// # Errors
    /// Sockets, randomness or the thread are unavailable.
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
        let (commands, command_receiver) = mpsc::channel(COMMAND_QUEUE);
        let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
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
