//! What happens to DNS queries.

use std::{net::IpAddr, time::Instant};

use dns::{Coverage, Decision, DeviceDecision, Question, StubDecision, Upstream, Via};
use model::{GatewayId, filter::Protocol};

use super::{Event, QueryId, Tunnel};
use crate::access::{Ask, SiteQuery, Target};

impl Tunnel {
    pub(super) fn decide_query(&mut self, id: QueryId, question: &Question, sentinel: IpAddr, now: Instant) {
        match self.device_names.decide(id, question, now) {
            DeviceDecision::NoMatch => {}
            DeviceDecision::Decided(decision) => return self.decided(id, decision),
            DeviceDecision::Pending => return,
            DeviceDecision::AskPortal(resource, name) => return self.look_up_device(resource, &name),
        }
        let (resources, routing) = (&self.resources, &self.routing);
        let coverage =
            |ip| Coverage { cidr: routing.has_network_with(ip), internet: resources.active_internet().is_some() };
        match self.stub.decide(question, sentinel, coverage, now) {
            StubDecision::Local { answer, renew } => {
                if let Some(name) = renew {
                    self.nat.handle_query(&name, now);
                }
                self.decided(id, Decision::Answer(answer));
            }
            StubDecision::Site { resource } => {
                let query = SiteQuery { id, sentinel };
                match self.access.gateway(resource) {
                    Some(gateway) => self.ask_site(query, gateway),
                    None => self.hold_query(resource, query, now),
                }
            }
            StubDecision::Decided(decision) => {
                let decision = if self.is_forbidden(&decision) { Decision::ServFail } else { decision };
                self.decided(id, decision);
            }
        }
    }

    /// The query can be answered by this gateway.
    pub(super) fn ask_site(&mut self, query: SiteQuery, gateway: GatewayId) {
        let decision = match self.peers.gateway(gateway) {
            Some(peer) => self.stub.forward_to_gateway(peer.address(query.sentinel)),
            None => Decision::ServFail,
        };
        self.decided(query.id, decision);
    }

    fn hold_query(&mut self, resource: model::ResourceId, query: SiteQuery, now: Instant) {
        let (ask, oldest) = self.access.pending.hold_query(resource, query, now);
        if let Some(oldest) = oldest {
            self.decided(oldest.id, Decision::ServFail);
        }
        if ask == Ask::Now {
            self.ask_portal(Target::Resource(resource));
        }
    }

    /// Whether a query would have to go through a resource whose filters forbid DNS. It would be refused on its way
    /// only after the asker had waited.
    fn is_forbidden(&self, decision: &Decision) -> bool {
        let Decision::Forward { to: Upstream::Do53(server), via: Via::Tunnel, .. } = decision else { return false };
        let is_refused = |protocol| {
            let route = self.routing.route(&self.resources, self.stub.names(), server.ip(), protocol);
            route.is_some_and(|route| !route.is_permitted)
        };
        is_refused(Protocol::Udp(server.port())) && is_refused(Protocol::Tcp(server.port()))
    }

    /// These queries need not wait any longer.
    pub(super) fn decided_all(&mut self, decided: Vec<(QueryId, Decision)>) {
        for (id, decision) in decided {
            self.decided(id, decision);
        }
    }

    fn decided(&mut self, id: QueryId, decision: Decision) {
        self.events.push_back(Event::Decided { id, decision });
    }
}
