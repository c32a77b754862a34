//! Detects resolvers on this host that forward queries to us.
//!
//! A forwarder on the loopback interface may use the servers in `/etc/resolv.conf`, and during a session these are ours: each
//! query would return and be forwarded again. So before a resolver on this host is used, it gets a probe: a query for a random
//! name. If the probe arrives at a sentinel, the resolver forwards to us, and is not used until that ends.
//!
//! A resolver may start to forward to us at any time. It is probed again when several identical queries are pending at once,
//! and after a timeout.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use dns::Via;
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use rand::{TryRngCore as _, rngs::OsRng};
use tokio::time::timeout;

use super::{error::ForwardError, plain, query, sockets::Sockets, transport::Transport};

/// The suffix of probe names, below a reserved domain (RFC 2606 3).
const SUFFIX: &str = ".firezone-loop-check.example";
/// Time limit for a probe. A resolver that forwards to us does so at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the result of a probe is valid: no loop, and a loop.
const NO_LOOP_LIFETIME: Duration = Duration::from_secs(30);
const LOOP_LIFETIME: Duration = Duration::from_secs(5);
/// Number of identical pending queries to one resolver beyond which a loop is suspected.
const MAX_IDENTICAL_QUERIES: usize = 4;
/// Number of resolvers whose result is kept.
const MAX_RESULTS: usize = 64;

/// Results of probes, and pending queries to resolvers on this host.
#[derive(Debug, Default)]
pub(super) struct LoopDetector {
    state: Mutex<State>,
    /// One probe at a time: concurrent callers need the same result.
    probing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    results: BTreeMap<SocketAddr, ProbeResult>,
    /// Names of probes that have not arrived at a sentinel.
    pending_probes: BTreeSet<String>,
    /// Number of pending queries by resolver and question.
    pending_queries: BTreeMap<(SocketAddr, String), usize>,
}

#[derive(Clone, Copy, Debug)]
struct ProbeResult {
    is_loop: bool,
    until: Instant,
}

/// A pending query to a resolver on this host.
#[derive(Debug)]
pub(super) struct PendingQuery<'a> {
    detector: &'a LoopDetector,
    key: (SocketAddr, String),
}

impl LoopDetector {
    /// Whether this is the name of a probe. Records its arrival. Such queries are not forwarded.
    pub(super) fn is_probe(&self, name: &str) -> bool {
        if !name.ends_with(SUFFIX) {
            return false;
        }
        self.state().pending_probes.remove(name);
        true
    }

    /// To be called before `question` is sent to `server`; the result must be kept until the response. `None` for a resolver on
    /// another host.
    ///
    /// # Errors
    /// The resolver forwards to us.
    pub(super) async fn begin(
        &self,
        server: SocketAddr,
        question: &Query,
        sockets: Sockets,
    ) -> Result<Option<PendingQuery<'_>>, ForwardError> {
        if !is_on_this_host(server.ip()) {
            return Ok(None);
        }
        let key = (server, question.to_string().to_ascii_lowercase());
        let query = PendingQuery { detector: self, key: key.clone() };
        let pending = {
            let mut state = self.state();
            let count = state.pending_queries.entry(key).or_default();
            *count += 1;
            *count
        };
        if pending > MAX_IDENTICAL_QUERIES {
            self.recheck(server);
        }
        if self.is_loop(server, sockets).await? { Err(ForwardError::Loop) } else { Ok(Some(query)) }
    }

    /// Discards the result for a resolver if it was no loop.
    pub(super) fn recheck(&self, server: SocketAddr) {
        let mut state = self.state();
        if state.results.get(&server).is_some_and(|result| !result.is_loop) {
            state.results.remove(&server);
        }
    }

    async fn is_loop(&self, server: SocketAddr, sockets: Sockets) -> Result<bool, ForwardError> {
        if let Some(is_loop) = self.valid_result(server) {
            return Ok(is_loop);
        }
        let _alone = self.probing.lock().await;
        if let Some(is_loop) = self.valid_result(server) {
            return Ok(is_loop);
        }
        let is_loop = self.probe(server, sockets).await?;
        let mut state = self.state();
        let lifetime = if is_loop { LOOP_LIFETIME } else { NO_LOOP_LIFETIME };
        if state.results.len() >= MAX_RESULTS {
            state.results.clear();
        }
        state.results.insert(server, ProbeResult { is_loop, until: Instant::now() + lifetime });
        drop(state);
        if is_loop {
            tracing::warn!("a resolver on this host forwards to the tunnel's resolver and is not used");
        }
        Ok(is_loop)
    }

    /// Queries a random name, and returns whether the query arrived at a sentinel.
    async fn probe(&self, server: SocketAddr, sockets: Sockets) -> Result<bool, ForwardError> {
        let Ok(random) = OsRng.try_next_u64() else { return Ok(false) };
        let name = format!("{random:016x}{SUFFIX}");
        let Ok(probe) = Name::from_ascii(format!("{name}.")) else { return Ok(false) };
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        let question = Query::query(probe, RecordType::A);
        message.add_query(question.clone());
        let Ok(bytes) = message.to_vec() else { return Ok(false) };
        self.state().pending_probes.insert(name.clone());
        let query = query::Query { bytes: &bytes, question: &question };
        // The response is irrelevant: a probe that loops arrives before it.
        let answer = timeout(PROBE_TIMEOUT, plain::ask(sockets, query, server, Via::Host, Transport::Udp)).await;
        let came_back = !self.state().pending_probes.remove(&name);
        match answer {
            Ok(Err(ForwardError::CannotMark)) => Err(ForwardError::CannotMark),
            _ => Ok(came_back),
        }
    }

    fn valid_result(&self, server: SocketAddr) -> Option<bool> {
        let result = self.state().results.get(&server).copied()?;
        (Instant::now() < result.until).then_some(result.is_loop)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingQuery<'_> {
    fn drop(&mut self) {
        let mut state = self.detector.state();
        if let Some(count) = state.pending_queries.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.pending_queries.remove(&self.key);
            }
        }
    }
}

/// Only addresses of this host can be bound.
fn is_on_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}
