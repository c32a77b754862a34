//! Handles messages of the portal.

use std::time::Instant;

use dns::{Device, LookupError};
use model::{
    FromPortal, Interface, Refusal, Relay, RelayId, Resource, ResourceId,
    message::{AuthorizationCreationFailed, FailureReason, Init},
};

use super::{Event, Tunnel, UserNotice};
use crate::{
    access::{PendingRequest, SiteQuery, Target},
    counters::DropReason,
    resources::Change,
};

/// Maximum number of violated conditions per refusal.
const MAX_VIOLATED_CONDITIONS: usize = 16;

impl Tunnel {
    pub(super) fn handle_portal_message(&mut self, message: FromPortal, now: Instant) {
        match message {
            FromPortal::Init(init) => self.apply_snapshot(*init, now),
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
                tracing::debug!("ignoring an authorization for the previous key");
            }
            FromPortal::AuthorizationCreated(authorization) => self.accept_authorization(*authorization, now),
            FromPortal::AuthorizationCreationFailed(failure) => self.handle_authorization_failure(&failure, now),
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
                tracing::debug!("ignoring a client connection for the previous key");
            }
            FromPortal::ClientDeviceAccessAuthorized(access) => self.accept_client(*access, now),
            FromPortal::ClientDeviceAccessDenied { ipv4, ipv6, reason } => self.deny_device(ipv4, ipv6, reason, now),
            FromPortal::ClientIceCandidateError { client, reason } => self.handle_candidate_error(client, reason, now),
            FromPortal::DevicePoolDomainResolved { resource, domain, ipv4, ipv6 } => {
                let device = Device { ipv4, ipv6 };
                let decided = self.device_names.handle_resolved(resource, &domain.as_str().into(), device);
                self.emit_decisions(decided);
            }
            FromPortal::DevicePoolDomainResolutionFailed { resource, domain, reason } => {
                let why =
                    if reason == FailureReason::NotFound { LookupError::NotFound } else { LookupError::Unavailable };
                let decided = self.device_names.handle_failed(resource, &domain.as_str().into(), why);
                self.emit_decisions(decided);
            }
            FromPortal::ResourceFiltersUpdated { resource, filters } => self.peers.set_filters(resource, &filters),
            FromPortal::RejectAccess { client, resource } => {
                if let Some(client) = self.peers.client_mut(client) {
                    client.grants.remove(resource);
                }
            }
        }
    }

    /// Chooses the resolvers again, once the portal's configuration is known.
    pub(super) fn choose_resolvers(&mut self) {
        let Some(interface) = &self.interface else { return };
        let resolvers = dns::Resolvers::choose(&interface.upstream_do53, &interface.upstream_doh, &self.host_resolvers);
        if resolvers.as_slice().is_empty() {
            tracing::warn!("no resolver is available, so names of resources do not resolve either");
        }
        self.stub.set_resolvers(resolvers);
        self.published_interface.mark_stale();
    }

    /// Drops the packets of a failed request and answers its queries with SERVFAIL.
    pub(super) fn drop_request(&mut self, request: PendingRequest) {
        self.counters.add(DropReason::Expired, request.packets.dropped() + request.packets.len() as u64);
        for SiteQuery { id, .. } in request.queries {
            self.events.push_back(Event::Decided { id, decision: dns::Decision::ServFail });
        }
    }

    /// Drops the pending request for a resource.
    pub(super) fn drop_pending(&mut self, resource: ResourceId) {
        if let Some(request) = self.access.pending.take(Target::Resource(resource)) {
            self.drop_request(request);
        }
    }

    /// Applies the portal's complete state: interface, resources, relays, grants.
    fn apply_snapshot(&mut self, init: Init, now: Instant) {
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
        let Self { peers, wall_clock, .. } = self;
        peers.resync_grants(&init.authorizations, |unix| wall_clock.instant(unix));
        for target in self.access.pending.handle_reconnect(now) {
            self.request_access(target);
        }
        self.repeat_device_lookups();
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
            _ if change == Change::DisplayOnly => {}
            Resource::Dns(it) => {
                self.routing.insert_names(it);
                warn_if_invalid(it.id, self.stub.upsert(it));
            }
            Resource::DynamicDevicePool(it) => warn_if_invalid(it.id, self.device_names.insert(it.id, &it.members)),
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
                self.emit_decisions(decided);
            }
            Resource::Internet(_) => {}
        }
        self.withdraw(id, now);
    }

    fn handle_authorization_failure(&mut self, failure: &AuthorizationCreationFailed, now: Instant) {
        let id = failure.resource_id;
        tracing::debug!(resource = %id, reason = ?failure.reason, violated = ?failure.violated_properties, "access is denied");
        let refusal = (failure.reason != FailureReason::Offline).then(|| Refusal {
            reason: failure.reason,
            violated: failure.violated_properties.iter().take(MAX_VIOLATED_CONDITIONS).cloned().collect(),
        });
        if self.resources.set_refusal(id, refusal) {
            self.published_resources.mark_stale();
        }
        match failure.reason {
            FailureReason::Offline => self.mark_offline(id, now),
            FailureReason::VersionMismatch => {
                self.fail_pending_queries(id);
                self.notify_once(UserNotice::VersionMismatch(id));
            }
            // Packets keep waiting: the next one repeats the request.
            FailureReason::NotFound | FailureReason::Forbidden | FailureReason::Other => self.fail_pending_queries(id),
        }
    }

    /// No gateway of the resource is online. Other resources of the gateway that served it are not affected.
    fn mark_offline(&mut self, id: ResourceId, now: Instant) {
        let Some(resource) = self.resources.resource(id) else { return };
        let sites: Vec<_> = resource.sites().iter().map(|site| site.id).collect();
        self.drop_pending(id);
        self.revoke_access(id, now);
        for site in sites {
            if !self.peers.connected_gateways().any(|gateway| self.access.site(gateway) == Some(site)) {
                self.sites.set_offline(site, now);
            }
        }
        self.published_resources.mark_stale();
        self.notify_once(UserNotice::Offline(id));
    }

    fn fail_pending_queries(&mut self, resource: ResourceId) {
        for SiteQuery { id, .. } in self.access.pending.take_queries(resource) {
            self.events.push_back(Event::Decided { id, decision: dns::Decision::ServFail });
        }
    }

    fn update_relays(&mut self, disconnected: &[RelayId], connected: &[Relay], now: Instant) {
        self.node.update_relays(disconnected, connected, now);
        if connected.is_empty() {
            return;
        }
        self.relay_requests.handle_relay_available();
        for target in self.access.pending.handle_relay_available(now) {
            self.request_access(target);
        }
    }
}

/// Logs an invalid pattern; its resource stays listed.
fn warn_if_invalid(resource: ResourceId, outcome: Result<(), dns::InvalidPattern>) {
    if let Err(error) = outcome {
        tracing::warn!(%resource, "no name will match this resource: its pattern is invalid");
        tracing::debug!(%resource, %error, "invalid pattern");
    }
}
