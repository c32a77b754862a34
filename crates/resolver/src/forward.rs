//! Forwards queries to other resolvers, each by its own protocol.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dns::{Upstream, Via};
use hickory_proto::op;
use model::{Encryption, Resolver};
use tls::Roots;
use tokio::time::timeout;

use super::{
    doh::DohClient,
    dot::DotClient,
    error::{Failure, ForwardError},
    loop_detection::LoopDetector,
    plain,
    query::{Answered, Query},
    sockets::Sockets,
    transport::Transport,
};

/// Number of resolvers whose last failure is kept.
const MAX_FAILURES: usize = 512;

/// Queries other resolvers. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Forwarder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sockets: Sockets,
    limits: Limits,
    dot: DotClient,
    doh: DohClient,
    /// `None` if there cannot be a loop.
    loop_detector: Option<LoopDetector>,
    /// The last failure of each resolver, until it responds.
    failures: Mutex<BTreeMap<Upstream, Failure>>,
}

/// Time limits for a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) host: Duration,
    pub(super) tunnel: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { host: Duration::from_secs(5), tunnel: Duration::from_secs(10) }
    }
}

impl Forwarder {
    /// Sockets outside the tunnel carry `mark`; 0 means no mark.
    #[must_use]
    pub fn new(mark: u32) -> Self {
        Self::make(mark, Limits::default(), Roots::System, Some(LoopDetector::default()))
    }

    /// Without loop detection: the resolvers of tests are all on this host.
    #[cfg(test)]
    pub(super) fn with(mark: u32, limits: Limits, roots: Roots) -> Self {
        Self::make(mark, limits, roots, None)
    }

    pub(super) fn make(mark: u32, limits: Limits, roots: Roots, loop_detector: Option<LoopDetector>) -> Self {
        let sockets = Sockets { mark };
        Self(Arc::new(Inner {
            sockets,
            limits,
            dot: DotClient::new(sockets, roots.clone()),
            doh: DohClient::new(sockets, roots),
            loop_detector,
            failures: Mutex::default(),
        }))
    }

    /// Sets the resolvers of the host, which resolve the names of DoH servers.
    pub fn set_host_resolvers(&self, resolvers: Vec<Resolver>) {
        self.0.doh.set_host_resolvers(resolvers);
    }

    /// Closes all connections, after a change of the network.
    pub fn forget_connections(&self) {
        self.0.dot.forget();
        self.0.doh.forget();
    }

    /// Whether this is a probe name of the loop detection. Such names do not exist.
    pub(super) fn is_probe(&self, name: &str) -> bool {
        self.0.loop_detector.as_ref().is_some_and(|detector| detector.is_probe(name))
    }

    /// The last failure of `upstream`; `None` if it responded last, or was not queried.
    #[must_use]
    pub fn failure(&self, upstream: &Upstream) -> Option<Failure> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner).get(upstream).copied()
    }

    /// Sends `bytes`, which contain `question`, and returns the response. `transport` applies to plain DNS only.
    pub(crate) async fn ask(
        &self,
        bytes: &[u8],
        question: &op::Query,
        to: &Upstream,
        via: Via,
        transport: Transport,
    ) -> Result<Answered, ForwardError> {
        let limit = match via {
            Via::Host => self.0.limits.host,
            Via::Tunnel => self.0.limits.tunnel,
        };
        let query = Query { bytes, question };
        let outcome = timeout(limit, self.ask_without_limit(query, to, via, transport)).await;
        let outcome = outcome.unwrap_or(Err(ForwardError::TimedOut));
        if let (Err(ForwardError::TimedOut), Some(detector), Upstream::Do53(server)) =
            (&outcome, &self.0.loop_detector, to)
        {
            detector.recheck(*server);
        }
        self.record(to, outcome.as_ref().err().map(Failure::from));
        outcome
    }

    async fn ask_without_limit(
        &self,
        query: Query<'_>,
        to: &Upstream,
        via: Via,
        transport: Transport,
    ) -> Result<Answered, ForwardError> {
        let Inner { dot, doh, .. } = &*self.0;
        match to {
            Upstream::Do53(server) => self.ask_plain(query, *server, via, transport).await,
            Upstream::Dot(resolver) if resolver.encryption == Encryption::Required => dot.ask(query, resolver).await,
            Upstream::Dot(resolver) => match dot.ask_if_offered(query, resolver).await {
                Some(answered) => answered,
                None => self.ask_plain(query, resolver.address, via, transport).await,
            },
            Upstream::Doh(url) => doh.ask(query, url).await,
        }
    }

    async fn ask_plain(
        &self,
        query: Query<'_>,
        server: SocketAddr,
        via: Via,
        transport: Transport,
    ) -> Result<Answered, ForwardError> {
        let Inner { sockets, loop_detector, .. } = &*self.0;
        let _pending = match loop_detector {
            // A query through the tunnel does not end on this host.
            Some(detector) if via == Via::Host => detector.begin(server, query.question, *sockets).await?,
            _ => None,
        };
        plain::ask(*sockets, query, server, via, transport).await
    }

    fn record(&self, upstream: &Upstream, failure: Option<Failure>) {
        let mut failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) if failures.len() < MAX_FAILURES || failures.contains_key(upstream) => {
                failures.insert(upstream.clone(), failure);
            }
            Some(_) => {}
            None => {
                failures.remove(upstream);
            }
        }
    }
}
