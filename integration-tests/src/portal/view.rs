//! The JSON that clients and gateways are shown.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    config::{Device, Directory, Relay, Resource},
    upgrade::{Agent, Role},
};

/// The end of session that is written into relay credentials of gateways; it has no meaning for static credentials.
pub(super) const FAR_FUTURE: u64 = 2_145_916_800;

/// A client's own end of the tunnel.
#[must_use]
pub fn interface(directory: &Directory, device: &Device) -> Value {
    let do53: Vec<Value> = directory.dns.upstream_do53.iter().map(|ip| json!({"ip": ip})).collect();
    let doh: Vec<Value> = directory.dns.upstream_doh.iter().map(|url| json!({"url": url})).collect();
    let legacy: Vec<Value> = directory
        .dns
        .upstream_do53
        .iter()
        .map(|ip| json!({"protocol": "ip_port", "address": std::net::SocketAddr::new(*ip, 53).to_string()}))
        .collect();

    json!({
        "ipv4": device.ipv4,
        "ipv6": device.ipv6,
        "upstream_do53": do53,
        "upstream_doh": doh,
        "upstream_dns": legacy,
        "search_domain": directory.dns.search_domain,
    })
}

/// A client's first message.
#[must_use]
pub fn client_init(directory: &Directory, id: Uuid, device: &Device, agent: &Agent, relays: &[Value]) -> Value {
    let resources: Vec<Value> = directory
        .resources
        .iter()
        .filter_map(|(id, resource)| client_resource(directory, *id, resource, agent))
        .collect();
    let authorizations: Vec<Value> = directory
        .device_grants
        .iter()
        .filter(|grant| grant.target == id)
        .map(|grant| json!({"client_id": grant.initiator, "resource_id": grant.pool, "expires_at": grant.expires_at}))
        .collect();

    json!({
        "interface": interface(directory, device),
        "resources": resources,
        "relays": relays,
        "authorizations": authorizations,
        "flow_logs": flow_logs(),
    })
}

/// A gateway's first message.
#[must_use]
pub fn gateway_init(directory: &Directory, id: Uuid, device: &Device, relays: &[Value]) -> Value {
    let authorizations: Vec<Value> = directory
        .authorizations
        .iter()
        .filter(|grant| grant.gateway == id)
        .map(|grant| json!({"client_id": grant.client, "resource_id": grant.resource, "expires_at": grant.expires_at}))
        .collect();

    json!({
        "interface": {"ipv4": device.ipv4, "ipv6": device.ipv6},
        "config": {"ipv4_masquerade_enabled": true, "ipv6_masquerade_enabled": true},
        "relays": relays,
        "account_slug": directory.account_slug,
        "authorizations": authorizations,
        "flow_logs": flow_logs(),
    })
}

/// A resource as clients see it; `None` if they do not, because they are too old.
#[must_use]
pub fn client_resource(directory: &Directory, id: Uuid, resource: &Resource, agent: &Agent) -> Option<Value> {
    if resource.is_pool() {
        return agent.knows_pools().then(|| pool(directory, id, resource));
    }
    let site = json!([{"id": resource.site, "name": directory.sites.get(&resource.site)}]);
    let mut object = Map::new();
    object.insert("id".into(), json!(id));
    object.insert("type".into(), json!(resource.kind));
    object.insert(if agent.knows_sites() { "sites" } else { "gateway_groups" }.into(), site);

    if resource.kind == "internet" {
        object.insert("can_be_disabled".into(), json!(true));
        return Some(Value::Object(object));
    }
    object.insert("name".into(), json!(resource.name));
    object.insert("address".into(), json!(resource.address));
    object.insert("address_description".into(), json!(resource.address_description));
    object.insert("filters".into(), json!(resource.filters));
    if resource.kind == "dns" {
        object.insert("ip_stack".into(), json!(resource.ip_stack.as_deref().unwrap_or("dual")));
    }
    Some(Value::Object(object))
}

/// A pool as clients see it. Addresses come as networks of one.
#[must_use]
pub fn pool(directory: &Directory, id: Uuid, pool: &Resource) -> Value {
    let mut object = json!({"id": id, "type": pool.kind, "name": pool.name, "filters": pool.filters});
    if pool.kind == "dynamic_device_pool" {
        object["address"] = json!(pool.address);
        return object;
    }
    let devices = pool.devices.iter().filter_map(|id| {
        let device = directory.devices.get(id)?;
        Some(json!({
            "client_id": id,
            "ipv4": format!("{}/32", device.ipv4),
            "ipv6": format!("{}/128", device.ipv6),
        }))
    });
    object["devices"] = devices.collect();
    object
}

/// A resource as gateways see it.
#[must_use]
pub fn gateway_resource(id: Uuid, resource: &Resource) -> Value {
    if resource.kind == "internet" {
        return json!({"id": id, "type": "internet"});
    }
    json!({
        "id": id,
        "type": resource.kind,
        "name": resource.name,
        "address": resource.address,
        "filters": resource.filters,
    })
}

/// The entries of one relay.
#[must_use]
pub fn relay(relay: &Relay, role: Role) -> Vec<Value> {
    let login = match role {
        Role::Client | Role::Relay => &relay.client,
        Role::Gateway => &relay.gateway,
    };
    let addresses = relay.v4.map(|it| it.to_string()).into_iter().chain(relay.v6.map(|it| it.to_string()));

    addresses
        .map(|address| {
            json!({
                "id": relay.id,
                "type": "turn",
                "addr": address,
                "username": login.username,
                "password": login.password,
                "expires_at": FAR_FUTURE,
            })
        })
        .collect()
}

fn flow_logs() -> Value {
    json!({"api_url": "http://127.0.0.1:9/", "upload_interval_secs": 0, "upload_batch_size": 1000})
}
