//! Resolvers on this host that would ask us in turn.
//!
//! A forwarder on the loopback interface may itself ask whomever `/etc/resolv.conf` names, and while we are there that is
//! us: each question would come back, and be passed on again. So before a resolver on this host is asked, it is asked for a
//! name that we have just made up. If that question arrives at a sentinel, it leads back to us, and is not asked until it
//! no longer does.
//!
//! Such a resolver may begin to ask us at any time. When the same question is being asked of it several times at once, or
//! it was silent, what is known about it is forgotten.

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

use super::{
    Transport,
    forward::{self, NoAnswer},
    plain,
    sockets::Sockets,
};

/// What made-up names end with. Reserved for what is no real name (RFC 2606 3).
const SUFFIX: &str = ".firezone-loop-check.example";
/// A resolver that passes the question on to us does so at once; one that passes it on to others answers or does not.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is believed that a resolver leads elsewhere, and that it leads back.
const ELSEWHERE: Duration = Duration::from_secs(30);
const BACK: Duration = Duration::from_secs(5);
/// How often the same question may be asked of one resolver at a time before that looks like a circle.
const SAME: usize = 4;
/// How many resolvers are known about.
const KNOWN: usize = 64;

/// What is known about resolvers on this host.
#[derive(Debug, Default)]
pub(super) struct Circle {
    state: Mutex<State>,
    /// One check at a time: whoever comes meanwhile wants to know the same.
    checking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<SocketAddr, Known>,
    /// Names that were made up and not seen again.
    awaited: BTreeSet<String>,
    /// What is being asked, and how many times at once.
    asked: BTreeMap<(SocketAddr, String), usize>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    leads_back: bool,
    until: Instant,
}

/// A question that is being asked of a resolver on this host.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    circle: &'a Circle,
    key: (SocketAddr, String),
}

impl Circle {
    /// Whether nobody but us can have made up this name. It is not passed on.
    pub(super) fn is_made_up(&self, name: &str) -> bool {
        if !name.ends_with(SUFFIX) {
            return false;
        }
        self.state().awaited.remove(name);
        true
    }

    /// To be called before `server` is asked about `question`; what comes back is to be kept until it has answered.
    ///
    /// # Errors
    /// It would ask us.
    pub(super) async fn enter(
        &self,
        server: SocketAddr,
        question: &Query,
        sockets: Sockets,
    ) -> Result<Option<Asked<'_>>, NoAnswer> {
        if !is_on_this_host(server.ip()) {
            return Ok(None);
        }
        let key = (server, question.to_string().to_ascii_lowercase());
        let asked = Asked { circle: self, key: key.clone() };
        let at_once = {
            let mut state = self.state();
            let count = state.asked.entry(key).or_default();
            *count += 1;
            *count
        };
        if at_once > SAME {
            self.doubt(server);
        }
        if self.leads_back(server, sockets).await? { Err(NoAnswer::Circle) } else { Ok(Some(asked)) }
    }

    /// What is known about a resolver may not be true any more.
    pub(super) fn doubt(&self, server: SocketAddr) {
        let mut state = self.state();
        if state.known.get(&server).is_some_and(|known| !known.leads_back) {
            state.known.remove(&server);
        }
    }

    async fn leads_back(&self, server: SocketAddr, sockets: Sockets) -> Result<bool, NoAnswer> {
        if let Some(known) = self.known(server) {
            return Ok(known);
        }
        let _alone = self.checking.lock().await;
        if let Some(known) = self.known(server) {
            return Ok(known);
        }
        let leads_back = self.check(server, sockets).await?;
        let mut state = self.state();
        let lifetime = if leads_back { BACK } else { ELSEWHERE };
        if state.known.len() >= KNOWN {
            state.known.clear();
        }
        state.known.insert(server, Known { leads_back, until: Instant::now() + lifetime });
        drop(state);
        if leads_back {
            tracing::warn!("a resolver on this host asks the tunnel's resolver in turn, so it is not asked");
        }
        Ok(leads_back)
    }

    /// Asks for a name that nobody has, and watches whether the question comes to us.
    async fn check(&self, server: SocketAddr, sockets: Sockets) -> Result<bool, NoAnswer> {
        let Ok(random) = OsRng.try_next_u64() else { return Ok(false) };
        let name = format!("{random:016x}{SUFFIX}");
        let Ok(asked) = Name::from_ascii(format!("{name}.")) else { return Ok(false) };
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        let question = Query::query(asked, RecordType::A);
        message.add_query(question.clone());
        let Ok(bytes) = message.to_vec() else { return Ok(false) };
        self.state().awaited.insert(name.clone());
        let query = forward::Query { bytes: &bytes, question: &question };
        // Its answer does not matter: we would hear of the question before.
        let answer = timeout(PATIENCE, plain::ask(sockets, query, server, Via::Host, Transport::Udp)).await;
        let came_back = !self.state().awaited.remove(&name);
        match answer {
            Ok(Err(NoAnswer::CannotMark)) => Err(NoAnswer::CannotMark),
            _ => Ok(came_back),
        }
    }

    fn known(&self, server: SocketAddr) -> Option<bool> {
        let known = self.state().known.get(&server).copied()?;
        (Instant::now() < known.until).then_some(known.leads_back)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut state = self.circle.state();
        if let Some(count) = state.asked.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.asked.remove(&self.key);
            }
        }
    }
}

/// The kernel lets us use only addresses of this host.
fn is_on_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}
