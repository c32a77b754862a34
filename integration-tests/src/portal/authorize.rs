//! Authorization requests of clients.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    config::{Authorization, Resource},
    connection::{ConnectionId, PendingAuthorization},
    derive::{self, End},
    state::{Portal, Shared},
    view,
};

/// Timeout of a gateway's response.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Official programs refuse authorizations without a token for flow logs. This one is never verified.
pub(super) const INGEST_TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJhY2NvdW50X2lkIjoiMDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAxIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ4MDAsInVwbG9hZHNfZW5hYmxlZCI6ZmFsc2UsInJvbGUiOiJpbml0aWF0b3IiLCJpbml0aWF0b3JfZGV2aWNlX2lkIjoiMDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAyIiwicmVzcG9uZGVyX2RldmljZV9pZCI6IjAwMDAwMDAwLTAwMDAtNDAwMC04MDAwLTAwMDAwMDAwMDAwMyIsInBvbGljeV9hdXRob3JpemF0aW9uX2lkIjoiMDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDA0IiwicG9saWN5X2lkIjoiMDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDA1IiwicmVzb3VyY2VfaWQiOiIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDYiLCJyZXNvdXJjZV9uYW1lIjoiZGV2IiwiaW5pdGlhdG9yX2FjdG9yX2lkIjoiMDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDA3IiwiaW5pdGlhdG9yX2FjdG9yX25hbWUiOiJkZXYiLCJhdXRob3JpemVkX2F0IjoiMjAyNi0wMS0wMVQwMDowMDowMFoiLCJhdXRob3JpemF0aW9uX2V4cGlyZXNfYXQiOiIyMDk5LTAxLTAxVDAwOjAwOjAwWiJ9.KAZewp_toWdiButoRxIFh5LCNooson_3VtvXjuBwPOk";

impl Shared {
    /// Answers `request_authorization`: asks a gateway, and gives up on it after a while.
    pub(super) fn request_authorization(&self, who: ConnectionId, payload: &Value) {
        let Some(resource) = payload["resource_id"].as_str().and_then(|id| id.parse::<Uuid>().ok()) else { return };
        let preferred: Vec<Uuid> = payload["connected_gateway_ids"]
            .as_array()
            .map(|ids| ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect())
            .unwrap_or_default();

        let asked = self.lock().ask_gateway(who, resource, &preferred);
        match asked {
            Ok(reference) => {
                let portal = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(TIMEOUT).await;
                    portal.lock().give_up(who, resource, &reference);
                });
            }
            Err(refusal) => self.lock().refuse(who, resource, &refusal),
        }
    }
}

impl Portal {
    /// A gateway has acknowledged: the client may know now.
    pub(super) fn acknowledged(&mut self, gateway: ConnectionId, reference: &str) -> Result<(), &'static str> {
        let key = self
            .pending
            .iter()
            .find(|(_, it)| it.gateway == gateway.id && it.reference == reference)
            .map(|(key, _)| *key)
            .ok_or("invalid_ref")?;
        let Some(pending) = self.pending.remove(&key) else { return Err("invalid_ref") };

        let (client, resource) = key;
        self.directory.authorizations.retain(|it| (it.client, it.resource) != key);
        self.directory.authorizations.push(Authorization {
            client,
            resource,
            gateway: gateway.id,
            expires_at: pending.expires_at,
        });
        if let Some(client) = self.clients.get(&client).filter(|it| it.joined) {
            client.outbox.push("authorization_created", &pending.answer);
        }
        self.save();
        Ok(())
    }

    /// Sends `create_authorization` to a gateway of the site and stores the response for the client.
    fn ask_gateway(&mut self, who: ConnectionId, id: Uuid, preferred: &[Uuid]) -> Result<String, Value> {
        let resource = self.directory.resources.get(&id).cloned().ok_or_else(|| json!({"reason": "not_found"}))?;
        if let Some(refusal) = &resource.refuse {
            return Err(json!({"reason": refusal.reason, "violated_properties": refusal.violated_properties}));
        }
        let gateway = self.choose_gateway(who, &resource, preferred).map_err(|reason| json!({"reason": reason}))?;
        let (client_device, gateway_device) = (self.device(who.id), self.device(gateway));
        let (Some(client), Some(online)) = (self.clients.get(&who.id), self.gateways.get(&gateway)) else {
            return Err(json!({"reason": "offline"}));
        };

        let ends = (End { id: who.id, key: &client.public_key }, End { id: gateway, key: &online.public_key });
        let ice = derive::ice_credentials(ends.0, ends.1);
        let (client_ice, gateway_ice) = (ice.initiator.to_json(), ice.receiver.to_json());
        let key = derive::preshared_key(ends.0, ends.1, [&client_device.base_secret, &gateway_device.base_secret]);
        // Connections always use ICE: the other mode is a feature that an account has to enable.
        let iceless = false;
        let expires_at = unix_now() + self.directory.authorization_seconds;
        let reference = derive::random_text(16);

        online.outbox.push(
            "create_authorization",
            &json!({
                "ref": reference,
                "resource": view::gateway_resource(id, &resource),
                "client": {
                    "id": who.id,
                    "public_key": client.public_key,
                    "preshared_key": key,
                    "ipv4": client_device.ipv4,
                    "ipv6": client_device.ipv6,
                    "version": client.agent.version.to_string(),
                    "device_os_name": null,
                    "device_os_version": null,
                    "device_serial": null,
                    "device_uuid": null,
                    "identifier_for_vendor": null,
                    "firebase_installation_id": null,
                },
                "client_ice_credentials": client_ice,
                "gateway_ice_credentials": gateway_ice,
                "expires_at": expires_at,
                "subject": {"actor_name": client.name},
                "use_iceless": iceless,
                "flow_logs_ingest_token": INGEST_TOKEN,
            }),
        );

        let site = if client.agent.knows_sites() { "site_id" } else { "gateway_group_id" };
        let answer = json!({
            "resource_id": id,
            "gateway_id": gateway,
            "gateway_public_key": online.public_key,
            "gateway_ipv4": gateway_device.ipv4,
            "gateway_ipv6": gateway_device.ipv6,
            site: resource.site,
            "preshared_key": key,
            "client_ice_credentials": client_ice,
            "gateway_ice_credentials": gateway_ice,
            "use_iceless": iceless,
            "flow_logs_ingest_token": INGEST_TOKEN,
        });
        let pending = PendingAuthorization { reference: reference.clone(), gateway, expires_at, answer };
        self.pending.insert((who.id, id), pending);
        Ok(reference)
    }

    /// Gateways of the site that are there and fit; those that the client prefers, if any; the newest of them.
    fn choose_gateway(&self, who: ConnectionId, resource: &Resource, preferred: &[Uuid]) -> Result<Uuid, &'static str> {
        let client = self.clients.get(&who.id).ok_or("offline")?;
        let there: Vec<_> =
            self.gateways.iter().filter(|(_, it)| it.joined && it.site == Some(resource.site)).collect();
        if there.is_empty() {
            return Err("offline");
        }
        let fitting: Vec<_> = there.into_iter().filter(|(_, it)| client.agent.works_with(it.agent.version)).collect();
        if fitting.is_empty() {
            return Err("version_mismatch");
        }

        let wanted: Vec<_> = fitting.iter().copied().filter(|(id, _)| preferred.contains(id)).collect();
        let candidates = if wanted.is_empty() { fitting } else { wanted };
        candidates.into_iter().max_by_key(|(_, it)| it.agent.version).map(|(id, _)| *id).ok_or("offline")
    }

    /// The time is up, unless the gateway answered or the client asked again.
    fn give_up(&mut self, who: ConnectionId, resource: Uuid, reference: &str) {
        if self.pending.get(&(who.id, resource)).is_some_and(|it| it.reference == reference) {
            self.pending.remove(&(who.id, resource));
            self.refuse(who, resource, &json!({"reason": "offline"}));
        }
    }

    fn refuse(&mut self, who: ConnectionId, resource: Uuid, refusal: &Value) {
        let mut payload = json!({"resource_id": resource, "reason": refusal["reason"]});
        if refusal["reason"] == "forbidden" {
            payload["violated_properties"] = refusal["violated_properties"].clone();
        }
        if let Some(client) = self.clients.get(&who.id).filter(|it| it.joined) {
            client.outbox.push("authorization_creation_failed", &payload);
        }
    }
}

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
