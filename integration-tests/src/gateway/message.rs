//! Messages between the portal and a gateway.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;
use model::{ClientId, Filter, Filters, IceCredentials, PresharedKey, PublicKey, Relay, RelayId, ResourceId, Secret};
use serde::Deserialize;
use serde_json::Value;

use super::client::What;

/// A message of the portal.
#[derive(Debug)]
pub(super) enum Incoming {
    Init(Init),
    CreateAuthorization(Box<CreateAuthorization>),
    IceCandidates(Candidates),
    InvalidateIceCandidates(Candidates),
    RejectAccess(ClientAndResource),
    ResourceUpdated(Resource),
    RelaysPresence { disconnected: Vec<RelayId>, connected: Vec<Relay> },
}

/// The complete state, sent after each join.
#[derive(Debug)]
pub(super) struct Init {
    pub(super) ipv4: Ipv4Addr,
    pub(super) ipv6: Ipv6Addr,
    pub(super) relays: Vec<Relay>,
    pub(super) authorizations: Vec<Authorization>,
}

/// A grant that is still valid.
#[derive(Debug, Deserialize)]
pub(super) struct Authorization {
    pub(super) client_id: ClientId,
    pub(super) resource_id: ResourceId,
    pub(super) expires_at: Option<u64>,
}

/// A client requests a connection.
#[derive(Debug, Deserialize)]
pub(super) struct CreateAuthorization {
    #[serde(rename = "ref")]
    pub(super) reference: String,
    pub(super) resource: Resource,
    pub(super) client: Peer,
    pub(super) client_ice_credentials: IceCredentials,
    pub(super) gateway_ice_credentials: IceCredentials,
    pub(super) expires_at: Option<u64>,
    #[serde(default)]
    pub(super) use_iceless: bool,
}

/// The fields of a client that a gateway needs.
#[derive(Debug, Deserialize)]
pub(super) struct Peer {
    pub(super) id: ClientId,
    pub(super) public_key: PublicKey,
    pub(super) preshared_key: PresharedKey,
    pub(super) ipv4: Ipv4Addr,
    pub(super) ipv6: Ipv6Addr,
}

#[derive(Debug, Deserialize)]
pub(super) struct Candidates {
    pub(super) client_id: ClientId,
    pub(super) candidates: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ClientAndResource {
    pub(super) client_id: ClientId,
    pub(super) resource_id: ResourceId,
}

/// A resource as gateways see it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "WireResource")]
pub(super) struct Resource {
    pub(super) id: ResourceId,
    pub(super) what: What,
    pub(super) filters: Filters,
}

/// Parses an event. `Ok(None)`: unknown event.
pub(super) fn parse(event: &str, payload: Value) -> Result<Option<Incoming>, serde_json::Error> {
    Ok(Some(match event {
        "init" => {
            let init: WireInit = serde_json::from_value(payload)?;
            Incoming::Init(Init {
                ipv4: init.interface.ipv4,
                ipv6: init.interface.ipv6,
                relays: merge(init.relays),
                authorizations: init.authorizations,
            })
        }
        "create_authorization" => Incoming::CreateAuthorization(serde_json::from_value(payload)?),
        "ice_candidates" => Incoming::IceCandidates(serde_json::from_value(payload)?),
        "invalidate_ice_candidates" => Incoming::InvalidateIceCandidates(serde_json::from_value(payload)?),
        "reject_access" => Incoming::RejectAccess(serde_json::from_value(payload)?),
        "resource_updated" => Incoming::ResourceUpdated(serde_json::from_value(payload)?),
        "relays_presence" => {
            let presence: WirePresence = serde_json::from_value(payload)?;
            Incoming::RelaysPresence { disconnected: presence.disconnected_ids, connected: merge(presence.connected) }
        }
        _ => return Ok(None),
    }))
}

#[derive(Deserialize)]
struct WireInit {
    interface: WireInterface,
    #[serde(default)]
    relays: Vec<WireRelay>,
    #[serde(default)]
    authorizations: Vec<Authorization>,
}

#[derive(Deserialize)]
struct WireInterface {
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
}

#[derive(Deserialize)]
struct WirePresence {
    #[serde(default)]
    disconnected_ids: Vec<RelayId>,
    #[serde(default)]
    connected: Vec<WireRelay>,
}

#[derive(Deserialize)]
struct WireRelay {
    id: RelayId,
    addr: SocketAddr,
    username: String,
    password: Secret,
}

#[derive(Deserialize)]
struct WireResource {
    id: ResourceId,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    filters: Vec<WireFilter>,
}

#[derive(Deserialize)]
struct WireFilter {
    protocol: String,
    #[serde(default)]
    port_range_start: u16,
    #[serde(default = "last_port")]
    port_range_end: u16,
}

impl TryFrom<WireResource> for Resource {
    type Error = String;

    fn try_from(wire: WireResource) -> Result<Self, String> {
        let what = match wire.kind.as_str() {
            "dns" => What::Dns(wire.address),
            "cidr" => What::Cidr(wire.address.parse::<IpNet>().map_err(|error| error.to_string())?.trunc()),
            "internet" => What::Internet,
            other => return Err(format!("a resource of type {other}")),
        };
        let filters = wire.filters.into_iter().map(|filter| {
            let ports = filter.port_range_start..=filter.port_range_end;
            match filter.protocol.as_str() {
                "tcp" => Filter::Tcp(ports),
                "udp" => Filter::Udp(ports),
                "icmp" => Filter::Icmp,
                _ => Filter::Unknown,
            }
        });
        Ok(Self { id: wire.id, what, filters: filters.collect() })
    }
}

/// Entries with the same id are one relay with two addresses.
fn merge(entries: Vec<WireRelay>) -> Vec<Relay> {
    let mut relays = BTreeMap::new();
    for entry in entries {
        let relay = relays.entry(entry.id).or_insert_with(|| Relay {
            id: entry.id,
            v4: None,
            v6: None,
            username: entry.username,
            password: entry.password,
        });
        match entry.addr {
            SocketAddr::V4(address) => relay.v4 = relay.v4.or(Some(address)),
            SocketAddr::V6(address) => relay.v6 = relay.v6.or(Some(address)),
        }
    }
    relays.into_values().collect()
}

fn last_port() -> u16 {
    u16::MAX
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ipv4_and_ipv6_entries_of_a_relay_are_merged() {
        let entry = |addr| {
            json!({"id": "3d1c0a52-0000-4000-8000-000000000001", "type": "turn", "addr": addr,
                                  "username": "1:s", "password": "p", "expires_at": 1})
        };
        let payload = json!({"connected": [entry("192.0.2.53:3478"), entry("[2001:db8::53]:3478")]});

        let Ok(Some(Incoming::RelaysPresence { connected, .. })) = parse("relays_presence", payload) else {
            panic!("not understood")
        };
        assert_eq!(connected.len(), 1);
        assert!(connected[0].v4.is_some() && connected[0].v6.is_some());
    }

    #[test]
    fn filter_without_a_port_range_permits_all_ports() {
        let payload = json!({"id": "3d1c0a52-0000-4000-8000-000000000001", "type": "cidr", "name": "lab",
                             "address": "10.0.0.0/8", "filters": [{"protocol": "tcp"}]});

        let Ok(Some(Incoming::ResourceUpdated(resource))) = parse("resource_updated", payload) else {
            panic!("not understood")
        };
        assert!(resource.filters.permit(model::filter::Protocol::Tcp(u16::MAX)));
        assert!(!resource.filters.permit(model::filter::Protocol::Udp(1)));
    }

    #[test]
    fn unknown_event_is_ignored() {
        assert!(matches!(parse("from_the_future", json!({})), Ok(None)));
    }
}
