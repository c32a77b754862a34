//! Clients that talk to each other.

use std::net::IpAddr;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    authorize::{INGEST_TOKEN, unix_now},
    config::{DeviceGrant, Resource},
    connection::{Connection, ConnectionId},
    derive::{self, End},
    state::Portal,
    view,
};

/// Whether a request is about a member of a pool and not about a resource behind a gateway.
pub(super) fn is_asked_for(payload: &Value) -> bool {
    payload.get("ipv4").is_some() || payload.get("ipv6").is_some()
}

impl Portal {
    /// Responds to a request for a pool member: the target is notified first, then the initiator.
    pub(super) fn request_device(&mut self, who: ConnectionId, payload: &Value) {
        let address = |key: &str| payload.get(key).filter(|value| !value.is_null()).cloned();
        if let Err(reason) = self.try_request_device(who, payload) {
            self.send(
                who.id,
                "client_device_access_denied",
                &json!({
                    "client_id": self.device_at(payload).ok(),
                    "ipv4": address("ipv4"),
                    "ipv6": address("ipv6"),
                    "reason": reason,
                }),
            );
        }
    }

    fn try_request_device(&mut self, who: ConnectionId, payload: &Value) -> Result<(), &'static str> {
        let pool_id = id_of(payload, "resource_id").ok_or("not_found")?;
        let pool = self.directory.resources.get(&pool_id).filter(|it| it.is_pool()).ok_or("not_found")?.clone();
        let target = self.device_at(payload)?;
        if !pool.devices.contains(&target) || target == who.id {
            return Err("forbidden");
        }
        let devices = [self.device(who.id), self.device(target)];
        let joined = |id: &Uuid| self.clients.get(id).filter(|it| it.joined);
        let (Some(here), Some(there)) = (joined(&who.id), joined(&target)) else { return Err("offline") };
        if !there.agent.can_be_a_target() || !here.agent.works_with_client(&there.agent) {
            return Err("version_mismatch");
        }

        let ends = [End { id: who.id, key: &here.public_key }, End { id: target, key: &there.public_key }];
        let ice = derive::ice_credentials(ends[0], ends[1]);
        let secrets = [&devices[0].base_secret, &devices[1].base_secret];
        let key = derive::preshared_key_of_clients(ends[0], ends[1], secrets);
        let expires_at = unix_now() + self.directory.authorization_seconds;
        let other = |id: Uuid, online: &Connection, index: usize| {
            json!({
                "client_id": id,
                "client_name": online.name,
                "client_public_key": online.public_key,
                "client_ipv4": devices[index].ipv4,
                "client_ipv6": devices[index].ipv6,
                "preshared_key": key,
                "use_iceless": false,
                "flow_logs_ingest_token": INGEST_TOKEN,
            })
        };

        let mut for_target = other(who.id, here, 0);
        for_target["local_ice_credentials"] = ice.receiver.to_json();
        for_target["remote_ice_credentials"] = ice.initiator.to_json();
        for_target["ice_role"] = json!("controlled");
        for_target["resource"] = view::pool(&self.directory, pool_id, &pool);
        for_target["subject"] = json!({"actor_name": here.name});
        for_target["expires_at"] = json!(expires_at);
        let mut for_initiator = other(target, there, 1);
        for_initiator["local_ice_credentials"] = ice.initiator.to_json();
        for_initiator["remote_ice_credentials"] = ice.receiver.to_json();
        for_initiator["ice_role"] = json!("controlling");
        there.outbox.push("client_device_access_authorized", &for_target);
        here.outbox.push("client_device_access_authorized", &for_initiator);

        let grant = DeviceGrant { initiator: who.id, target, pool: pool_id, expires_at };
        self.directory
            .device_grants
            .retain(|it| (it.initiator, it.target, it.pool) != (grant.initiator, grant.target, grant.pool));
        self.directory.device_grants.push(grant);
        self.save();
        Ok(())
    }

    /// The client with the one address that the request names.
    fn device_at(&self, payload: &Value) -> Result<Uuid, &'static str> {
        let named: Vec<&Value> =
            ["ipv4", "ipv6"].iter().filter_map(|key| payload.get(*key)).filter(|value| !value.is_null()).collect();
        let [address] = named[..] else {
            return Err(if named.is_empty() { "missing_address" } else { "ambiguous_address" });
        };
        let address: IpAddr = address.as_str().and_then(|text| text.parse().ok()).ok_or("invalid_address")?;
        let has = |it: &super::config::Device| IpAddr::V4(it.ipv4) == address || IpAddr::V6(it.ipv6) == address;
        self.directory.devices.iter().find(|(_, it)| has(it)).map(|(id, _)| *id).ok_or("not_found")
    }

    /// Who is that name in a dynamic pool? Its first label is the name of a member.
    pub(super) fn resolve_device(&mut self, who: ConnectionId, payload: &Value) {
        let domain = payload["domain"].as_str().unwrap_or_default();
        let pool = id_of(payload, "resource_id").and_then(|id| self.directory.resources.get(&id));
        let mut answer = json!({"resource_id": payload["resource_id"], "domain": domain});
        let label = domain.split('.').next().unwrap_or_default();
        let member = pool.filter(|pool| pool.kind == "dynamic_device_pool").and_then(|pool| {
            let mut members = pool.devices.iter().filter_map(|id| self.directory.devices.get(id));
            members.find(|device| device.name.eq_ignore_ascii_case(label))
        });
        let event = match member {
            Some(device) => {
                answer["ipv4"] = json!(format!("{}/32", device.ipv4));
                answer["ipv6"] = json!(format!("{}/128", device.ipv6));
                "device_pool_domain_resolved"
            }
            None => {
                answer["reason"] = json!("not_found");
                "device_pool_domain_resolution_failed"
            }
        };
        self.send(who.id, event, &answer);
    }

    /// Sends candidates on to another client. Only a withdrawal that cannot be delivered is worth an answer.
    pub(super) fn forward_to_client(&self, who: ConnectionId, event: &str, payload: &Value) {
        let Some(target) = id_of(payload, "client_id") else { return };
        if self.clients.get(&target).is_some_and(|it| it.joined) {
            self.send(target, event, &json!({"client_id": who.id, "candidates": payload["candidates"]}));
        } else if event == "invalidate_client_ice_candidates" {
            self.send(who.id, "client_ice_candidate_error", &json!({"client_id": target, "reason": "offline"}));
        }
    }

    /// A pool is different now, or gone.
    pub(super) fn pool_changed(&mut self, id: Uuid, before: &Resource, after: Option<&Resource>) {
        let is_member = |client: &Uuid| after.is_some_and(|pool| pool.devices.contains(client));
        let left: Vec<Uuid> = before.devices.iter().filter(|client| !is_member(client)).copied().collect();
        let grants = self.revoke_devices(|grant| grant.pool == id && left.contains(&grant.target));
        for grant in grants {
            let is_reached_otherwise = self
                .directory
                .resources
                .iter()
                .any(|(other, pool)| *other != id && pool.is_pool() && pool.devices.contains(&grant.target));
            if let Some(device) = self.directory.devices.get(&grant.target).filter(|_| !is_reached_otherwise) {
                let denial = json!({
                    "client_id": grant.target, "ipv4": device.ipv4, "ipv6": device.ipv6, "reason": "forbidden",
                });
                self.send(grant.initiator, "client_device_access_denied", &denial);
            }
        }
        if let Some(after) = after.filter(|after| after.filters != before.filters) {
            let update = json!({"id": id, "filters": after.filters});
            let targets: std::collections::BTreeSet<Uuid> =
                self.directory.device_grants.iter().filter(|grant| grant.pool == id).map(|it| it.target).collect();
            for target in targets {
                self.send(target, "resource_filters_updated", &update);
            }
        }
    }

    /// Sends the new addresses of a pool member to all clients that see it.
    pub(super) fn pool_member_moved(&self, id: Uuid) {
        for (pool_id, pool) in &self.directory.resources {
            if pool.kind != "static_device_pool" || !pool.devices.contains(&id) {
                continue;
            }
            for client in self.clients.values().filter(|it| it.joined) {
                if let Some(shown) = view::client_resource(&self.directory, *pool_id, pool, &client.agent) {
                    client.outbox.push("resource_created_or_updated", &shown);
                }
            }
        }
    }

    /// Takes grants back and tells their targets; returns them.
    pub(super) fn revoke_devices(&mut self, is_meant: impl Fn(&DeviceGrant) -> bool) -> Vec<DeviceGrant> {
        let (revoked, kept): (Vec<_>, _) =
            std::mem::take(&mut self.directory.device_grants).into_iter().partition(is_meant);
        self.directory.device_grants = kept;
        for grant in &revoked {
            let payload = json!({"client_id": grant.initiator, "resource_id": grant.pool});
            self.send(grant.target, "reject_access", &payload);
        }
        revoked
    }

    fn send(&self, client: Uuid, event: &str, payload: &Value) {
        if let Some(client) = self.clients.get(&client).filter(|it| it.joined) {
            client.outbox.push(event, payload);
        }
    }
}

fn id_of(payload: &Value, key: &str) -> Option<Uuid> {
    payload[key].as_str()?.parse().ok()
}
