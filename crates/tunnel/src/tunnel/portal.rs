//! What the portal says, carried out.

use std::time::Instant;

use dns::{Device, LookupError};
use model::{
    FromPortal, Interface, Refusal, Relay, RelayId, Resource, ResourceId,
    message::{AuthorizationCreationFailed, FailReason, Init},
};

use super::{Event, Notice, Tunnel};
use crate::{
    access::{SiteQuery, Target, Waiting},
    counters::Reason,
    resources::Change,
};

/// How many violated conditions people are told of; the portal knows of a handful.
const VIOLATED: usize = 16;

impl Tunnel {
    pub(super) fn follow_portal(&mut self, message: FromPortal, now: Instant) {
        match message {
            FromPortal::Init(init) => self.start_over(*init, now),
            FromPortal::ConfigChanged(interface) => self.configure(interface),
            FromPortal::ResourceCreatedOrUpdated(resource) => {
                self.upsert_resource(resource, now);
                self.resources_changed();
            }
            FromPortal::ResourceDeleted(resource) => {
                self.remove_resource(resource, now);
                self.resources_changed();
            }
            FromPortal::AuthorizationCreated(_) if self.awaits_snapshot => {
                tracing::debug!("a permission for a key that we no longer have");
            }
            FromPortal::AuthorizationCreated(authorization) => self.accept(*authorization, now),
            FromPortal::AuthorizationCreationFailed(failure) => self.refuse(&failure, now),
            FromPortal::RelaysPresence { disconnected, connected } => {
                self.update_relays(&disconnected, &connected, now);
            }
            FromPortal::IceCandidates { peer, candidates } => {
                self.node.add_remote_candidates(peer, &candidates, now);
            }
            FromPortal::InvalidateIceCandidates { peer, candidates } => {
                self.node.remove_remote_candidates(peer, &candidates, now);
            }
            FromPortal::ClientDeviceAccessAuthorized(_) if self.awaits_snapshot => {
                tracing::debug!("a connection with a client for a key that we no longer have");
            }
            FromPortal::ClientDeviceAccessAuthorized(access) => self.accept_client(*access, now),
            FromPortal::ClientDeviceAccessDenied { ipv4, ipv6, reason } => self.deny_device(ipv4, ipv6, reason, now),
            FromPortal::ClientIceCandidateError { client, reason } => self.lose_candidate(client, reason, now),
            FromPortal::DevicePoolDomainResolved { resource, domain, ipv4, ipv6 } => {
                let device = Device { ipv4, ipv6 };
                let decided = self.device_names.handle_resolved(resource, &domain.as_str().into(), device);
                self.decided_all(decided);
            }
            FromPortal::DevicePoolDomainResolutionFailed { resource, domain, reason } => {
                let why = if reason == FailReason::NotFound { LookupError::NotFound } else { LookupError::Unavailable };
                let decided = self.device_names.handle_failed(resource, &domain.as_str().into(), why);
                self.decided_all(decided);
            }
            FromPortal::ResourceFiltersUpdated { resource, filters } => self.clients.set_filters(resource, &filters),
            FromPortal::RejectAccess { client, resource } => {
                if let Some(peer) = self.clients.client_mut(client) {
                    peer.grants.remove(resource);
                }
            }
        }
    }

    /// Chooses the resolvers anew, once it is known what the portal wants; told only if that changes anything.
    pub(super) fn choose_resolvers(&mut self) {
        let Some(interface) = &self.interface else { return };
        let resolvers = dns::Resolvers::choose(&interface.upstream_do53, &interface.upstream_doh, &self.host_resolvers);
        if resolvers.as_slice().is_empty() {
            tracing::warn!("there is no resolver to pass queries on to, so names of resources do not work either");
        }
        self.stub.set_resolvers(resolvers);
        self.told_interface.mark_stale();
    }

    /// What waited for a resource waited in vain.
    pub(super) fn give_up(&mut self, waiting: Waiting) {
        self.counters.count(Reason::Expired, waiting.packets.dropped() + waiting.packets.len() as u64);
        for SiteQuery { id, .. } in waiting.queries {
            self.events.push_back(Event::Decided { id, decision: dns::Decision::ServFail });
        }
    }

    /// The portal's answer cannot be used.
    pub(super) fn deny(&mut self, resource: ResourceId) {
        if let Some(waiting) = self.access.pending.take(Target::Resource(resource)) {
            self.give_up(waiting);
        }
    }

    /// The whole truth, in its order: ourselves, the resources, the relays.
    fn start_over(&mut self, init: Init, now: Instant) {
        self.awaits_snapshot = false;
        self.configure(init.interface);
        for gone in self.resources.missing_from(&init.resources) {
            self.remove_resource(gone, now);
        }
        for resource in init.resources {
            self.upsert_resource(resource, now);
        }
        self.resources_changed();
        self.update_relays(&[], &init.relays, now);
        let Self { clients, epoch, .. } = self;
        clients.resync(&init.authorizations, |unix| epoch.instant(unix));
        // Answers to what we asked on an earlier connection will not come.
        for target in self.access.pending.handle_portal(now) {
            self.ask_portal(target);
        }
        self.look_up_devices_again();
    }

    fn configure(&mut self, interface: Interface) {
        self.interface = Some(interface);
        self.choose_resolvers();
    }

    fn upsert_resource(&mut self, resource: Resource, now: Instant) {
        let change = self.resources.compare(&resource);
        if change == Change::Replaced {
            self.remove_resource(resource.id(), now);
        }
        match &resource {
            Resource::StaticDevicePool(it) => self.update_pool(it),
            _ if change == Change::Cosmetic => {}
            Resource::Dns(it) => {
                self.routing.insert_names(it);
                told_if_invalid(it.id, self.stub.upsert(it));
            }
            Resource::DynamicDevicePool(it) => told_if_invalid(it.id, self.device_names.insert(it.id, &it.members)),
            Resource::Cidr(it) => self.routing.insert(it),
            Resource::Internet(_) => {}
        }
        self.resources.insert(resource);
    }

    fn remove_resource(&mut self, id: ResourceId, now: Instant) {
        let Some(resource) = self.resources.remove(id) else { return };
        match &resource {
            Resource::Dns(it) => {
                self.stub.remove(it.id);
                self.routing.remove_names(it.id);
            }
            Resource::Cidr(it) => self.routing.remove(it),
            Resource::StaticDevicePool(it) => self.remove_pool(it.id),
            Resource::DynamicDevicePool(it) => {
                let decided = self.device_names.remove(it.id);
                self.decided_all(decided);
            }
            Resource::Internet(_) => {}
        }
        self.withdraw(id, now);
    }

    fn refuse(&mut self, failure: &AuthorizationCreationFailed, now: Instant) {
        let id = failure.resource_id;
        tracing::debug!(resource = %id, reason = ?failure.reason, violated = ?failure.violated_properties, "not permitted");
        let refusal = (failure.reason != FailReason::Offline).then(|| Refusal {
            reason: failure.reason,
            violated: failure.violated_properties.iter().take(VIOLATED).cloned().collect(),
        });
        if self.resources.refused(id, refusal) {
            self.told_resources.mark_stale();
        }
        match failure.reason {
            FailReason::Offline => self.mark_offline(id, now),
            FailReason::VersionMismatch => {
                self.answer_waiting_queries(id);
                self.notify_once(Notice::VersionMismatch(id));
            }
            // Packets go on waiting: the portal is asked again when the next one comes.
            FailReason::NotFound | FailReason::Forbidden | FailReason::Other => self.answer_waiting_queries(id),
        }
    }

    /// No gateway of the resource is there. Whatever else the gateway that had it is used for goes on.
    fn mark_offline(&mut self, id: ResourceId, now: Instant) {
        let Some(resource) = self.resources.resource(id) else { return };
        let sites: Vec<_> = resource.sites().iter().map(|site| site.id).collect();
        self.deny(id);
        self.withdraw_grant(id, now);
        for site in sites {
            if !self.peers.connected().any(|gateway| self.access.site(gateway) == Some(site)) {
                self.sites.offline(site, now);
            }
        }
        self.told_resources.mark_stale();
        self.notify_once(Notice::Offline(id));
    }

    fn answer_waiting_queries(&mut self, resource: ResourceId) {
        for SiteQuery { id, .. } in self.access.pending.take_queries(resource) {
            self.events.push_back(Event::Decided { id, decision: dns::Decision::ServFail });
        }
    }

    fn update_relays(&mut self, disconnected: &[RelayId], connected: &[Relay], now: Instant) {
        self.node.update_relays(disconnected, connected, now);
        if connected.is_empty() {
            return;
        }
        self.relay_plea.handle_relay();
        for target in self.access.pending.handle_relay(now) {
            self.ask_portal(target);
        }
    }
}

/// A resource whose pattern is none stays listed.
fn told_if_invalid(resource: ResourceId, outcome: Result<(), dns::InvalidPattern>) {
    if let Err(error) = outcome {
        tracing::warn!(%resource, "no name will match this resource: its pattern is invalid");
        tracing::debug!(%resource, %error, "invalid pattern");
    }
}
