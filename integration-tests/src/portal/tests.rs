//! What clients and gateways rely on when they talk to a portal, said about ours.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::{Uuid, uuid};

use super::{
    config::{ClientToken, Directory, DnsSettings, GatewayToken, Resource},
    connection::{ConnectionId, Outbox, Outgoing},
    problem::Problem,
    state::Shared,
    upgrade::{Agent, Hello, Role},
};

const BERLIN: Uuid = uuid!("5170e000-0000-4000-8000-000000000001");
const PARIS: Uuid = uuid!("5170e000-0000-4000-8000-000000000002");
const LAB: Uuid = uuid!("c1d20000-0000-4000-8000-000000000001");
const POOL: Uuid = uuid!("9001e000-0000-4000-8000-000000000001");

const NEW: &str = "Debian/12.0.0 headless-client/1.5.12";
const OLD: &str = "Debian/12.0.0 headless-client/1.5.4";

/// One end of a socket.
struct One {
    who: ConnectionId,
    inbox: UnboundedReceiver<Outgoing>,
}

impl One {
    /// Messages since the last call: events and payloads.
    fn heard(&mut self) -> Vec<(String, Value)> {
        let mut heard = Vec::new();
        while let Ok(Outgoing::Text(text)) = self.inbox.try_recv() {
            let frame: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(frame["ref"], Value::Null);
            heard.push((frame["event"].as_str().unwrap().to_owned(), frame["payload"].clone()));
        }
        heard
    }

    fn events(&mut self) -> Vec<String> {
        self.heard().into_iter().map(|(event, _)| event).collect()
    }

    fn only(&mut self, event: &str) -> Value {
        let mut heard = self.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0].0, event);
        heard.remove(0).1
    }
}

fn portal() -> Shared {
    let token = |name: &str| ClientToken { token: format!(".{name}"), actor: name.to_owned() };
    let site = |name: &str, site| GatewayToken { token: format!(".{name}"), site };
    let directory = Directory {
        account_slug: "example".to_owned(),
        client_tokens: ["anna", "ben", "kim"].map(token).to_vec(),
        gateway_tokens: vec![site("berlin", BERLIN), site("paris", PARIS)],
        relay_tokens: vec![".relay".to_owned()],
        sites: [(BERLIN, "Berlin".to_owned()), (PARIS, "Paris".to_owned())].into(),
        resources: [(LAB, resource("cidr", "10.1.0.0/16"))].into(),
        authorization_seconds: 3600,
        ..Directory::default()
    };
    Shared::open(directory, None).unwrap()
}

fn resource(kind: &str, address: &str) -> Resource {
    serde_json::from_value(json!({"type": kind, "site": BERLIN, "name": "Lab", "address": address})).unwrap()
}

/// Each attempt comes from another address, because there may be only one a second from the same.
fn knock(portal: &Shared, role: Role, name: &str, agent: &str) -> Result<One, Problem> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let from = Ipv4Addr::from_bits(0x0a00_0000 + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let (outbox, inbox) = Outbox::new(role);
    let hello = Hello {
        role,
        token: format!(".{name}"),
        external_id: "box".to_owned(),
        name: format!("{name}s-box"),
        public_key: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
        agent: Agent::parse(agent).unwrap(),
        relay: [Some("203.0.113.9:3478".parse().unwrap()), None],
    };
    portal.lock().admit(hello, IpAddr::V4(from), outbox).map(|who| One { who, inbox })
}

fn join(portal: &Shared, role: Role, name: &str, agent: &str) -> One {
    let mut one = knock(portal, role, name, agent).unwrap();
    portal.lock().joined(one.who);
    one.only("init");
    one
}

fn client(portal: &Shared, name: &str) -> One {
    join(portal, Role::Client, name, NEW)
}

fn relay(portal: &Shared, secret: &str) -> One {
    let mut one = knock(portal, Role::Relay, "relay", "Linux/6 relay/1.0.0").unwrap();
    portal.relay_joined(one.who.socket, &json!({"stamp_secret": secret}));
    one.only("init");
    one
}

fn leave(portal: &Shared, one: One) {
    portal.lock().left(one.who);
    if one.who.role == Role::Relay {
        portal.schedule_relay_announcement();
    }
}

/// Time passes, and everything that was due has happened.
async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn second_connection_evicts_a_client_and_is_refused_for_a_gateway() {
    let portal = portal();
    let mut first = client(&portal, "anna");
    let mut second = client(&portal, "anna");
    assert_eq!(first.heard()[0], ("disconnect".to_owned(), json!({"reason": "token_expired"})));
    portal.lock().left(first.who);
    portal.lock().dns_changed();
    assert_eq!(second.events(), ["config_changed"], "the end of the first does not touch the second");

    let mut gateway = join(&portal, Role::Gateway, "berlin", "Linux/6 gateway/1.6.1");
    let refused = knock(&portal, Role::Gateway, "berlin", "Linux/6 gateway/1.6.1").err().unwrap();
    assert_eq!((refused.status, refused.code.as_deref()), (409, Some("gateway_already_connected")));
    assert_eq!(gateway.events(), [""; 0]);
}

#[test]
fn second_attempt_within_a_second_is_rate_limited() {
    let portal = portal();
    let hello = || {
        let (outbox, _) = Outbox::new(Role::Client);
        let (token, external_id, name) = (".anna".to_owned(), "box".to_owned(), "box".to_owned());
        let hello = Hello {
            role: Role::Client,
            token,
            external_id,
            name,
            public_key: String::new(),
            agent: Agent::parse(NEW).unwrap(),
            relay: [None; 2],
        };
        portal.lock().admit(hello, IpAddr::V4(Ipv4Addr::LOCALHOST), outbox)
    };
    assert!(hello().is_ok());
    let refused = hello().unwrap_err();
    assert_eq!((refused.status, refused.code.as_deref(), refused.retry_after), (503, Some("rate_limit"), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn late_response_of_a_gateway_is_ignored_after_the_timeout() {
    let portal = portal();
    let (mut anna, mut gateway) =
        (client(&portal, "anna"), join(&portal, Role::Gateway, "berlin", "Linux/6 gateway/1.6.1"));
    portal.request_authorization(anna.who, &json!({"resource_id": LAB, "connected_gateway_ids": []}));
    let reference = gateway.only("create_authorization")["ref"].as_str().unwrap().to_owned();
    pass(Duration::from_secs(14)).await;
    assert_eq!(anna.events(), [""; 0]);
    pass(Duration::from_secs(1)).await;
    assert_eq!(anna.only("authorization_creation_failed"), json!({"resource_id": LAB, "reason": "offline"}));
    assert_eq!(portal.lock().acknowledged(gateway.who, &reference), Err("invalid_ref"));
    assert_eq!(anna.events(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn second_request_restarts_the_timeout() {
    let portal = portal();
    let (mut anna, mut gateway) =
        (client(&portal, "anna"), join(&portal, Role::Gateway, "berlin", "Linux/6 gateway/1.6.1"));
    for _ in 0..2 {
        portal.request_authorization(anna.who, &json!({"resource_id": LAB, "connected_gateway_ids": []}));
        pass(Duration::from_secs(10)).await;
        assert_eq!(anna.events(), [""; 0]);
    }
    let references: Vec<_> = gateway.heard().iter().map(|it| it.1["ref"].as_str().unwrap().to_owned()).collect();
    assert_eq!(portal.lock().acknowledged(gateway.who, &references[1]), Ok(()));
    assert_eq!(anna.events(), ["authorization_created"]);
    pass(Duration::from_secs(60)).await;
    assert_eq!(anna.events(), [""; 0], "and the first time-out means nothing any more");
}

#[test]
fn deleted_token_ends_its_sessions() {
    let portal = portal();
    let (mut anna, mut ben) = (client(&portal, "anna"), client(&portal, "ben"));
    portal.lock().expire(".anna");
    assert_eq!(anna.heard()[0], ("disconnect".to_owned(), json!({"reason": "token_expired"})));
    assert_eq!(ben.events(), [""; 0]);
    let refused = knock(&portal, Role::Client, "anna", NEW).err().unwrap();
    assert_eq!((refused.status, refused.code.as_deref()), (401, Some("invalid_token")));
}

#[test]
fn dns_settings_are_pushed_and_new_addresses_cause_a_new_init() {
    let portal = portal();
    let mut anna = client(&portal, "anna");
    {
        let mut portal = portal.lock();
        portal.directory.dns = DnsSettings { search_domain: Some("corp.example".to_owned()), ..DnsSettings::default() };
        portal.dns_changed();
    }
    assert_eq!(anna.only("config_changed")["interface"]["search_domain"], "corp.example");
    assert!(
        portal.lock().move_device(anna.who.id, ("100.64.9.9".parse().unwrap(), "fd00:2021:1111::99".parse().unwrap()))
    );
    let init = anna.only("init");
    assert_eq!(init["interface"]["ipv4"], "100.64.9.9");
    assert_eq!(init["resources"].as_array().unwrap().len(), 1);
}

#[test]
fn site_change_is_one_message_for_new_clients_and_two_for_old_ones() {
    let portal = portal();
    let (mut new, mut old) = (client(&portal, "anna"), join(&portal, Role::Client, "ben", OLD));
    portal.lock().put_resource(LAB, Resource { site: PARIS, ..resource("cidr", "10.1.0.0/16") });
    assert_eq!(new.only("resource_created_or_updated")["sites"][0]["name"], "Paris");
    let heard = old.heard();
    assert_eq!(heard[0], ("resource_deleted".to_owned(), json!(LAB)));
    assert_eq!(heard[1].0, "resource_created_or_updated");
    assert_eq!(heard[1].1["gateway_groups"][0]["name"], "Paris", "older clients call sites like that");
    portal
        .lock()
        .put_resource(LAB, Resource { site: PARIS, name: Some("X".to_owned()), ..resource("cidr", "10.1.0.0/16") });
    assert_eq!(old.events(), ["resource_created_or_updated"]);
}

#[tokio::test(start_paused = true)]
async fn relay_changes_are_batched_and_a_short_outage_is_not_announced() {
    let portal = portal();
    let mut anna = client(&portal, "anna");
    let first = relay(&portal, "one");
    let second = relay(&portal, "two");
    pass(Duration::from_secs(2)).await;
    let presence = anna.only("relays_presence");
    assert_eq!((presence["connected"].as_array().unwrap().len(), &presence["disconnected_ids"]), (2, &json!([])));

    leave(&portal, first);
    let again = relay(&portal, "one");
    pass(Duration::from_secs(2)).await;
    assert_eq!(anna.events(), [""; 0]);

    leave(&portal, again);
    leave(&portal, second);
    pass(Duration::from_secs(2)).await;
    let presence = anna.only("relays_presence");
    assert_eq!((presence["disconnected_ids"].as_array().unwrap().len(), &presence["connected"]), (2, &json!([])));
}

#[tokio::test(start_paused = true)]
async fn relay_credentials_survive_a_reconnect() {
    let portal = portal();
    let _relay = relay(&portal, &"00112233445566778899aabbccddeeff".repeat(2));
    let offered = || {
        let mut one = knock(&portal, Role::Client, "anna", NEW).unwrap();
        portal.lock().joined(one.who);
        one.only("init")["relays"].clone()
    };
    let before = offered();
    assert_eq!(before[0]["id"], "2a8abfa8-cb99-4629-8437-854193ca6bca");
    assert_eq!(before[0]["addr"], "203.0.113.9:3478");
    assert_eq!(before, offered());
    let refused = knock(&portal, Role::Relay, "anna", "Linux/6 relay/1.0.0").err().unwrap();
    assert_eq!(refused.status, 401, "a client's token is none for a relay");
}

/// Anna may reach Ben.
fn pool(portal: &Shared, members: &[&One]) -> Resource {
    let devices: Vec<Uuid> = members.iter().map(|one| one.who.id).collect();
    let pool = json!({"type": "static_device_pool", "name": "Laptops", "devices": devices});
    let pool: Resource = serde_json::from_value(pool).unwrap();
    portal.lock().put_resource(POOL, pool.clone());
    pool
}

fn address(portal: &Shared, one: &One) -> String {
    portal.lock().device(one.who.id).ipv4.to_string()
}

#[test]
fn target_device_is_notified_before_the_initiator() {
    let portal = portal();
    let (mut anna, mut ben) = (client(&portal, "anna"), client(&portal, "ben"));
    pool(&portal, &[&ben]);
    let shown = anna.only("resource_created_or_updated");
    let bens = address(&portal, &ben);
    assert_eq!(shown["devices"][0]["ipv4"], format!("{bens}/32"));
    ben.events();

    portal.lock().request_device(anna.who, &json!({"resource_id": POOL, "connected_gateway_ids": [], "ipv4": bens}));
    let (target, initiator) =
        (ben.only("client_device_access_authorized"), anna.only("client_device_access_authorized"));
    assert_eq!((&target["ice_role"], &initiator["ice_role"]), (&json!("controlled"), &json!("controlling")));
    assert_eq!(target["preshared_key"], initiator["preshared_key"]);
    assert_eq!(target["local_ice_credentials"], initiator["remote_ice_credentials"]);
    assert_eq!(target["remote_ice_credentials"], initiator["local_ice_credentials"]);
    assert_eq!((&target["client_name"], &initiator["client_name"]), (&json!("annas-box"), &json!("bens-box")));
    assert_eq!(target["resource"]["id"], json!(POOL));
    for only_for_the_target in ["resource", "subject", "expires_at"] {
        assert!(initiator.get(only_for_the_target).is_none());
    }

    let candidates = json!({"client_id": ben.who.id, "candidates": ["candidate:1 1 udp 1 192.0.2.1 1 typ host"]});
    portal.lock().forward_to_client(anna.who, "client_ice_candidates", &candidates);
    assert_eq!(ben.only("client_ice_candidates")["client_id"], json!(anna.who.id));

    let mut ben = client(&portal, "ben");
    portal.lock().send_init(Role::Client, ben.who.id);
    let grant = ben.only("init")["authorizations"][0].clone();
    assert_eq!((&grant["client_id"], &grant["resource_id"]), (&json!(anna.who.id), &json!(POOL)));
}

#[test]
fn request_for_an_unreachable_device_is_denied_with_a_reason() {
    let portal = portal();
    let (mut anna, ben) = (client(&portal, "anna"), client(&portal, "ben"));
    let kim = join(&portal, Role::Client, "kim", OLD);
    let bens = address(&portal, &ben);
    pool(&portal, &[&ben, &kim]);
    anna.events();
    let annas = address(&portal, &anna);
    let mut ask = |more: Value| {
        let mut payload = json!({"resource_id": POOL, "connected_gateway_ids": []});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        portal.lock().request_device(anna.who, &payload);
        anna.only("client_device_access_denied")["reason"].clone()
    };
    assert_eq!(ask(json!({"ipv4": address(&portal, &kim)})), "version_mismatch");
    assert_eq!(ask(json!({"ipv4": annas})), "forbidden");
    assert_eq!(ask(json!({"ipv4": "100.64.200.1"})), "not_found");
    assert_eq!(ask(json!({"ipv4": bens, "ipv6": "fd00:2021:1111::1"})), "ambiguous_address");
    assert_eq!(ask(json!({"ipv4": null})), "missing_address");
    assert_eq!(ask(json!({"ipv4": "here"})), "invalid_address");
    assert_eq!(ask(json!({"ipv4": bens, "resource_id": LAB})), "not_found");
    let id = ben.who.id;
    leave(&portal, ben);
    assert_eq!(ask(json!({"ipv4": bens})), "offline");

    let candidates = json!({"client_id": id, "candidates": []});
    portal.lock().forward_to_client(anna.who, "client_ice_candidates", &candidates);
    assert_eq!(anna.events(), [""; 0], "news are lost in silence");
    portal.lock().forward_to_client(anna.who, "invalidate_client_ice_candidates", &candidates);
    assert_eq!(anna.only("client_ice_candidate_error"), json!({"client_id": id, "reason": "offline"}));
}

#[test]
fn removed_pool_grant_is_revoked_on_both_devices() {
    let portal = portal();
    let (mut anna, mut ben) = (client(&portal, "anna"), client(&portal, "ben"));
    let before = pool(&portal, &[&ben]);
    let bens = address(&portal, &ben);
    portal.lock().request_device(anna.who, &json!({"resource_id": POOL, "ipv4": bens}));
    anna.events();
    ben.events();

    let filters = vec![json!({"protocol": "icmp"})];
    portal.lock().put_resource(POOL, Resource { filters: filters.clone(), ..before.clone() });
    assert_eq!(ben.heard()[0], ("resource_filters_updated".to_owned(), json!({"id": POOL, "filters": filters})));
    anna.events();

    portal.lock().put_resource(POOL, Resource { devices: vec![], filters, ..before });
    assert_eq!(ben.heard()[0], ("reject_access".to_owned(), json!({"client_id": anna.who.id, "resource_id": POOL})));
    let heard = anna.heard();
    assert_eq!((heard[0].0.as_str(), &heard[0].1["reason"]), ("client_device_access_denied", &json!("forbidden")));
    assert!(heard[0].1["ipv4"].is_string() && heard[0].1["ipv6"].is_string());
    assert_eq!(heard[1].1["devices"], json!([]));
}

#[test]
fn dynamic_pool_lists_the_names_of_its_members() {
    let portal = portal();
    let (mut anna, ben) = (client(&portal, "anna"), client(&portal, "ben"));
    let pool = json!({"type": "dynamic_device_pool", "name": "Laptops", "address": "*.laptops.example.net",
                      "devices": [ben.who.id]});
    portal.lock().put_resource(POOL, serde_json::from_value(pool).unwrap());
    let shown = anna.only("resource_created_or_updated");
    assert_eq!((&shown["address"], shown.get("devices")), (&json!("*.laptops.example.net"), None));
    let mut resolve = |domain: &str| {
        portal.lock().resolve_device(anna.who, &json!({"resource_id": POOL, "domain": domain}));
        anna.heard().remove(0)
    };
    let (event, answer) = resolve("Bens-Box.laptops.example.net");
    assert_eq!(
        (event.as_str(), &answer["domain"]),
        ("device_pool_domain_resolved", &json!("Bens-Box.laptops.example.net"))
    );
    assert_eq!(
        answer["ipv4"],
        format!("{}/32", address(&portal, &ben)),
        "with its prefix, as the newest portals say it"
    );
    assert_eq!(resolve("kim.laptops.example.net").1["reason"], "not_found");
}

#[test]
fn old_clients_receive_no_pools() {
    let portal = portal();
    let (mut new, mut old) =
        (client(&portal, "anna"), join(&portal, Role::Client, "ben", "Debian/12 headless-client/1.5.8"));
    pool(&portal, &[]);
    assert_eq!((new.events().len(), old.events().len()), (1, 0));
}
