//! Handles DNS queries.

use std::{net::IpAddr, time::Instant};

use dns::{Coverage, Decision, DeviceDecision, Question, StubDecision, Upstream, Via};
use model::{GatewayId, PeerId, filter::Protocol};

use super::{Event, Tunnel};
use crate::{
    access::{RequestDecision, SiteQuery, Target},
    query::QueryId,
};

impl Tunnel {
    pub(super) fn decide_query(&mut self, id: QueryId, question: &Question, sentinel: IpAddr, now: Instant) {
        match self.device_names.decide(id, question, now) {
            DeviceDecision::NoMatch => {}
            DeviceDecision::Decided(decision) => return self.emit_decision(id, decision),
            DeviceDecision::Pending => return,
            DeviceDecision::AskPortal(resource, name) => return self.look_up_device(resource, &name),
        }
        let (resources, routing) = (&self.resources, &self.routing);
        let coverage =
            |ip| Coverage { cidr: routing.network_contains(ip), internet: resources.active_internet().is_some() };
        match self.stub.decide(question, sentinel, coverage, now) {
            StubDecision::Local { answer, renew } => {
                if let Some(name) = renew {
                    self.announcements.handle_query(&name, now);
                }
                self.emit_decision(id, Decision::Answer(answer));
            }
            StubDecision::Site { resource } => {
                let query = SiteQuery { id, sentinel };
                match self.access.gateway(resource) {
                    Some(gateway) => self.forward_to_site(query, gateway),
                    None => self.hold_query(resource, query, now),
                }
            }
            StubDecision::Decided(decision) => {
                let decision = if self.is_filtered(&decision) { Decision::ServFail } else { decision };
                self.emit_decision(id, decision);
            }
        }
    }

    /// Forwards a query to a gateway.
    pub(super) fn forward_to_site(&mut self, query: SiteQuery, gateway: GatewayId) {
        let decision = match self.peers.get(PeerId::Gateway(gateway)) {
            Some(peer) => self.stub.forward_to_gateway(peer.address(query.sentinel)),
            None => Decision::ServFail,
        };
        self.emit_decision(query.id, decision);
    }

    fn hold_query(&mut self, resource: model::ResourceId, query: SiteQuery, now: Instant) {
        let (decision, oldest) = self.access.pending.hold_query(resource, query, now);
        if let Some(oldest) = oldest {
            self.emit_decision(oldest.id, Decision::ServFail);
        }
        if decision == RequestDecision::SendNow {
            self.request_access(Target::Resource(resource));
        }
    }

    /// Whether a query would go through a resource whose filters do not permit DNS. Failing it immediately spares the
    /// client a time-out.
    fn is_filtered(&self, decision: &Decision) -> bool {
        let Decision::Forward { to: Upstream::Do53(server), via: Via::Tunnel, .. } = decision else { return false };
        let is_rejected = |protocol| {
            let route = self.routing.route(&self.resources, self.stub.names(), server.ip(), protocol);
            route.is_some_and(|route| !route.is_permitted)
        };
        is_rejected(Protocol::Udp(server.port())) && is_rejected(Protocol::Tcp(server.port()))
    }

    /// Publishes the decisions about queries.
    pub(super) fn emit_decisions(&mut self, decided: Vec<(QueryId, Decision)>) {
        for (id, decision) in decided {
            self.emit_decision(id, decision);
        }
    }

    fn emit_decision(&mut self, id: QueryId, decision: Decision) {
        self.events.push_back(Event::Decided { id, decision });
    }
}
