//! Asking another resolver, whichever way it wants to be asked.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dns::{Response, ResponseError, Upstream, Via};
use hickory_proto::op;
use model::{Encryption, Resolver};
use tls::{CertificateProblem, Roots};
use tokio::time::timeout;

use super::{
    Transport,
    circle::Circle,
    doh::Https,
    dot::Streams,
    plain::{self, id_of},
    sockets::Sockets,
};

/// How many resolvers are remembered to have failed.
const FAILURES: usize = 512;

/// Opens sockets and asks. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Forwarder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sockets: Sockets,
    limits: Limits,
    streams: Streams,
    https: Https,
    /// What is known about resolvers on this host; nothing if there cannot be a circle.
    circle: Option<Circle>,
    /// What went wrong with each resolver last, until it answers.
    failures: Mutex<BTreeMap<Upstream, Failure>>,
}

/// What was asked.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    /// The message.
    pub(super) bytes: &'a [u8],
    /// The one question in it.
    pub(super) question: &'a op::Query,
}

/// A response as it came, and as far as it was understood.
pub(super) type Answered = (Vec<u8>, Response);

/// How long a resolver may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) host: Duration,
    pub(super) tunnel: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("it took too long")]
    TimedOut,
    #[error("its socket cannot be kept out of the tunnel; CAP_NET_ADMIN is missing")]
    CannotMark,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    NoResponse(#[from] ResponseError),
    #[error("it answered something else")]
    OtherQuestion,
    #[error("it would ask us in turn")]
    Circle,
    #[error("the query is too long")]
    TooLong,
    #[error("the connection with it ended")]
    Closed,
    #[error("nobody knows its address")]
    NoAddress,
    #[error("it cannot have a certificate for that name")]
    NoServerName,
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("it answered with HTTP status {0}")]
    Status(u16),
    #[error("what it sent is no DNS message")]
    NoMessage,
}

/// What went wrong, for people who look into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It is silent.
    TimedOut,
    /// It cannot be reached.
    Unreachable,
    /// Its certificate is not trusted, or is somebody else's.
    Certificate,
    /// Its name is not found.
    NoAddress,
    /// It says something that is no answer.
    Protocol,
    /// It is on this host and asks us in turn.
    Circle,
    /// We may not mark sockets.
    CannotMark,
}

impl Default for Limits {
    fn default() -> Self {
        Self { host: Duration::from_secs(5), tunnel: Duration::from_secs(10) }
    }
}

impl Forwarder {
    /// What goes past the tunnel carries `mark`; 0 is no mark.
    #[must_use]
    pub fn new(mark: u32) -> Self {
        Self::make(mark, Limits::default(), Roots::System, Some(Circle::default()))
    }

    /// For tests, whose resolvers are all on this host.
    #[cfg(test)]
    pub(super) fn with(mark: u32, limits: Limits, roots: Roots) -> Self {
        Self::make(mark, limits, roots, None)
    }

    pub(super) fn make(mark: u32, limits: Limits, roots: Roots, circle: Option<Circle>) -> Self {
        let sockets = Sockets { mark };
        Self(Arc::new(Inner {
            sockets,
            limits,
            streams: Streams::new(sockets, roots.clone()),
            https: Https::new(sockets, roots),
            circle,
            failures: Mutex::default(),
        }))
    }

    /// The resolvers of the host: they know the addresses of DoH servers.
    pub fn set_host_resolvers(&self, resolvers: Vec<Resolver>) {
        self.0.https.set_host_resolvers(resolvers);
    }

    /// The network is another one: all connections are made anew.
    pub fn forget_connections(&self) {
        self.0.streams.forget();
        self.0.https.forget();
    }

    /// Whether this name was made up to find out whether a resolver asks us in turn. It exists nowhere.
    pub(super) fn is_made_up(&self, name: &str) -> bool {
        self.0.circle.as_ref().is_some_and(|circle| circle.is_made_up(name))
    }

    /// What went wrong with `upstream` last; `None` if its last answer was one, or nobody asked.
    #[must_use]
    pub fn failure(&self, upstream: &Upstream) -> Option<Failure> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner).get(upstream).copied()
    }

    /// Sends `bytes`, which ask `question`, and returns the response as it came and as far as it was understood. An
    /// encrypted resolver is asked in its own way, whatever the transport.
    pub(crate) async fn ask(
        &self,
        bytes: &[u8],
        question: &op::Query,
        to: &Upstream,
        via: Via,
        transport: Transport,
    ) -> Result<Answered, NoAnswer> {
        let limit = match via {
            Via::Host => self.0.limits.host,
            Via::Tunnel => self.0.limits.tunnel,
        };
        let query = Query { bytes, question };
        let outcome = timeout(limit, self.ask_patiently(query, to, via, transport)).await;
        let outcome = outcome.unwrap_or(Err(NoAnswer::TimedOut));
        if let (Err(NoAnswer::TimedOut), Some(circle), Upstream::Do53(server)) = (&outcome, &self.0.circle, to) {
            circle.doubt(*server);
        }
        self.remember(to, outcome.as_ref().err().map(Failure::from));
        outcome
    }

    async fn ask_patiently(
        &self,
        query: Query<'_>,
        to: &Upstream,
        via: Via,
        transport: Transport,
    ) -> Result<Answered, NoAnswer> {
        let Inner { streams, https, .. } = &*self.0;
        match to {
            Upstream::Do53(server) => self.ask_plainly(query, *server, via, transport).await,
            Upstream::Dot(resolver) if resolver.encryption == Encryption::Required => {
                streams.ask(query, resolver).await
            }
            Upstream::Dot(resolver) => match streams.ask_if_offered(query, resolver).await {
                Some(answered) => answered,
                None => self.ask_plainly(query, resolver.address, via, transport).await,
            },
            Upstream::Doh(url) => https.ask(query, url).await,
        }
    }

    async fn ask_plainly(
        &self,
        query: Query<'_>,
        server: SocketAddr,
        via: Via,
        transport: Transport,
    ) -> Result<Answered, NoAnswer> {
        let Inner { sockets, circle, .. } = &*self.0;
        let _asked = match circle {
            // What goes through the tunnel does not end on this host.
            Some(circle) if via == Via::Host => circle.enter(server, query.question, *sockets).await?,
            _ => None,
        };
        plain::ask(*sockets, query, server, via, transport).await
    }

    fn remember(&self, upstream: &Upstream, failure: Option<Failure>) {
        let mut failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) if failures.len() < FAILURES || failures.contains_key(upstream) => {
                failures.insert(upstream.clone(), failure);
            }
            Some(_) => {}
            None => {
                failures.remove(upstream);
            }
        }
    }
}

impl Query<'_> {
    /// Reads what a server said on a connection of which nobody else can use the other end.
    pub(super) fn answered(&self, bytes: Vec<u8>) -> Result<Answered, NoAnswer> {
        let response = Response::parse(&bytes)?;
        if !response.answers(id_of(self.bytes), self.question) {
            return Err(NoAnswer::OtherQuestion);
        }
        Ok((bytes, response))
    }
}

impl Failure {
    /// For programs; the contract lists them.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TimedOut => "timed-out",
            Self::Unreachable => "unreachable",
            Self::Certificate => "certificate",
            Self::NoAddress => "no-address",
            Self::Protocol => "protocol",
            Self::Circle => "loop",
            Self::CannotMark => "cannot-mark-sockets",
        }
    }
}

impl From<&NoAnswer> for Failure {
    fn from(error: &NoAnswer) -> Self {
        match error {
            NoAnswer::TimedOut => Self::TimedOut,
            NoAnswer::CannotMark => Self::CannotMark,
            NoAnswer::Io(error) if CertificateProblem::of(error).is_some() => Self::Certificate,
            NoAnswer::Io(_) | NoAnswer::Closed => Self::Unreachable,
            NoAnswer::NoAddress => Self::NoAddress,
            NoAnswer::NoServerName => Self::Certificate,
            NoAnswer::Circle => Self::Circle,
            NoAnswer::NoResponse(_)
            | NoAnswer::OtherQuestion
            | NoAnswer::TooLong
            | NoAnswer::Http(_)
            | NoAnswer::Status(_)
            | NoAnswer::NoMessage => Self::Protocol,
        }
    }
}
