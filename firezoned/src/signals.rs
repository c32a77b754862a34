//! What the administrator can say with `kill`.

use std::io;

use tokio::signal::unix::{self, SignalKind};

use crate::container;

/// A signal that means something to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// TERM or INT: end.
    End,
    /// HUP: start all connections over.
    Reset,
}

/// All signals that mean something to us, any number of times.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
    /// Others have ended. Only the first process of a container is told of those that are not its own.
    ended: Option<unix::Signal>,
}

impl Signals {
    /// Starts to listen. From now on these signals do not end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
            ended: container::is_first_process().then(|| unix::signal(SignalKind::child())).transpose()?,
        })
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        loop {
            tokio::select! {
                biased;
                _ = self.interrupt.recv() => return Signal::End,
                _ = self.terminate.recv() => return Signal::End,
                _ = self.hang_up.recv() => return Signal::Reset,
                () = received(&mut self.ended) => container::let_go(),
            }
        }
    }
}

async fn received(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
