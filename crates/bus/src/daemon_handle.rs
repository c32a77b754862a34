//! The objects' access to the daemon.

use std::time::Duration;

use dataplane::Statistics;
use dbus_api::Error;
use event_loop::Clock;
use resolver::Forwarder;
use session::{Refused, Request, Snapshot};
use settings::Settings;
use tokio::sync::{mpsc, oneshot, watch};

use crate::user_db::UserDatabase;

/// How long the packet thread may take to answer a question.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);

/// What the objects need of the daemon. Cloneable, and owns nothing.
#[derive(Clone, Debug)]
pub struct DaemonHandle {
    /// The daemon answers each request.
    pub requests: mpsc::Sender<DaemonRequest>,
    /// The published state of the session.
    pub snapshot: watch::Receiver<Snapshot>,
    /// The start of the daemon, counted from the epoch.
    pub started: Duration,
    /// The clock of the packet thread's instants.
    pub clock: Clock,
    /// Knows the failures of DNS servers.
    pub forwarder: Forwarder,
    /// The settings of the daemon.
    pub settings: Settings,
    /// The users of this machine.
    pub users: UserDatabase,
    /// Paths and counters of the packet thread.
    pub statistics: Statistics,
}

/// A request to the daemon. Permission has been granted already.
#[derive(Debug)]
pub enum DaemonRequest {
    /// Changes the session. The sender receives its reply.
    Session(Request, oneshot::Sender<Result<(), Refused>>),
    /// Concerns names, and does not change the session.
    Dns(DnsRequest),
}

/// A request about names. Without a tunnel, the sender of a question is dropped.
#[derive(Debug)]
pub enum DnsRequest {
    /// The DNS servers and the number of assigned names.
    GetStatus(oneshot::Sender<tunnel::DnsView>),
    /// The answer that a name gets, and why.
    Explain(dns::Domain, oneshot::Sender<tunnel::NameExplanation>),
    /// Flush the caches of the tunnel and of the host.
    Flush(oneshot::Sender<()>),
    /// Apply the configuration of the host again.
    Reapply(oneshot::Sender<()>),
}

impl DaemonHandle {
    /// Sends a request to the session and waits until it is accepted.
    pub(crate) async fn request(&self, request: Request) -> Result<(), Error> {
        let reply = self.send(|reply| DaemonRequest::Session(request, reply)).await.ok_or_else(stopping)?;
        reply.await.map_err(|_| stopping())?.map_err(|Refused::Stopping| stopping())
    }

    /// Sends a request about names and waits until it is executed.
    pub(crate) async fn dns_command(
        &self,
        request: impl FnOnce(oneshot::Sender<()>) -> DnsRequest,
    ) -> Result<(), Error> {
        let reply = self.send(|reply| DaemonRequest::Dns(request(reply))).await.ok_or_else(stopping)?;
        reply.await.map_err(|_| stopping())
    }

    /// Asks the packet thread about names. `None` without a tunnel, or after [`QUESTION_TIMEOUT`].
    pub(crate) async fn dns_question<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> DnsRequest) -> Option<T> {
        let reply = self.send(|reply| DaemonRequest::Dns(request(reply))).await?;
        tokio::time::timeout(QUESTION_TIMEOUT, reply).await.ok()?.ok()
    }

    /// Sends a request. `None` if the daemon is stopping.
    async fn send<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> DaemonRequest) -> Option<oneshot::Receiver<T>> {
        let (sender, receiver) = oneshot::channel();
        self.requests.send(request(sender)).await.ok()?;
        Some(receiver)
    }
}

fn stopping() -> Error {
    Error::Stopping(Refused::Stopping.to_string())
}
