//! Replay of a conversation with the frames of the official client: messages of the portal must be parsed without loss,
//! and our messages must be equal to those of the official client.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers may fail the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use model::{FromPortal, PeerId, Resource, ToPortal, message::AuthorizationCreated};
use portal::{Action, Connection, Event, Login, Request, Socket, UserAgent, user_agent::SystemInfo};
use serde_json::{Value, json};

const CONVERSATION: &str = include_str!("data/conversation.jsonl");

#[test]
fn official_client_conversation_is_replayed() {
    let (parsed, sent) = replay(CONVERSATION);

    assert_eq!((parsed, sent), (5, 6));
}

/// Feeds the portal's frames to our client, sends the messages of the official client, and compares. Returns the numbers of
/// parsed messages and of sent frames.
fn replay(lines: &str) -> (usize, usize) {
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_connect = lines.iter().find(|line| line["dir"] == "connect").unwrap();
    let mut client = Client::new(of_connect);
    let mut parsed = 0;
    for line in &lines {
        let message = &line["msg"];
        match line["dir"].as_str().unwrap() {
            "in" if message["event"] == "set_snownet_capabilities" => client.refs_are_one_less = true,
            "in" => client.send(message),
            "out" => parsed += client.receive(message),
            _ => {}
        }
    }
    (parsed, client.sent)
}

/// Our client in the place of the official one.
struct Client {
    connection: Connection,
    socket: Socket,
    now: Instant,
    sent: usize,
    /// The official client has sent its capabilities, which our client does not support, so its `ref`s are ahead by one.
    refs_are_one_less: bool,
}

impl Client {
    fn new(connect: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let query = &connect["query"];
        let system = SystemInfo {
            os: Some("Debian"),
            os_version: Some("12"),
            architecture: Some("x86_64"),
            kernel: Some("6.1.0-30-amd64"),
        };
        let login = Login {
            portal: format!("ws://{}/", text(&connect["headers"]["Host"])).parse().unwrap(),
            token: "a-token".into(),
            external_id: text(&query["external_id"]),
            name: text(&query["name"]),
            user_agent: UserAgent::new(&system, "0.1.0"),
            device_serial: None,
            device_uuid: None,
        };
        #[expect(clippy::disallowed_methods, reason = "the virtual clock needs a start")]
        let now = Instant::now();
        let mut connection = Connection::new(login, text(&query["public_key"]).parse().unwrap(), now, 8123);
        let Some(Action::Dial { socket, request }) = connection.poll_action() else { panic!("no dial action") };
        compare_request(&request, connect);
        connection.handle_open(socket, now);
        Self { connection, socket, now, sent: 0, refs_are_one_less: false }
    }

    /// Sends a message of the official client and compares the frames.
    fn send(&mut self, theirs: &Value) {
        match theirs["event"].as_str().unwrap() {
            "phx_join" => {}
            "heartbeat" => {
                self.now += Duration::from_secs(10);
                self.connection.handle_timeout(self.now);
            }
            _ => self.connection.handle_send(to_portal(theirs)),
        }
        let frame = self.connection.poll_transmit(self.now).unwrap();
        self.connection.handle_written(self.socket, self.now);
        let mut expected = theirs.clone();
        if self.refs_are_one_less {
            expected["ref"] = json!(theirs["ref"].as_u64().unwrap() - 1);
        }
        assert_eq!(serde_json::from_str::<Value>(&frame.text).unwrap(), expected);
        assert_eq!(self.connection.poll_transmit(self.now), None, "nothing else is sent");
        self.sent += 1;
    }

    /// Receives a frame of the portal; returns the number of messages for the tunnel.
    fn receive(&mut self, message: &Value) -> usize {
        let mut message = message.clone();
        if self.refs_are_one_less
            && let Some(number) = message["ref"].as_u64()
        {
            message["ref"] = json!(number - 1);
        }
        self.connection.handle_text(self.socket, &message.to_string(), self.now);
        match self.connection.poll_event() {
            Some(Event::Message(parsed)) => {
                compare(&parsed, &message);
                1
            }
            Some(Event::Joined) => {
                assert_eq!(message["event"], "phx_reply");
                0
            }
            None => {
                assert_eq!(message["topic"], "phoenix", "{}", message["event"]);
                0
            }
            other => panic!("{other:?}"),
        }
    }
}

fn compare_request(request: &Request, connect: &Value) {
    assert_eq!(request.url.path(), connect["path"]);
    assert_eq!(request.host, connect["headers"]["Host"]);
    let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
    assert_eq!(json!(query), connect["query"]);
    let ours: Vec<&str> = request.user_agent.split(' ').collect();
    let theirs: Vec<&str> = connect["headers"]["User-Agent"].as_str().unwrap().split(' ').collect();
    assert_eq!(ours[..2], theirs[..2], "the portal parses these two words");
    assert_eq!(ours[3..], theirs[2..], "our product name is a separate word");
}

fn to_portal(message: &Value) -> ToPortal {
    let payload = &message["payload"];
    let gateway = || PeerId::Gateway(payload["gateway_id"].as_str().unwrap().parse().unwrap());
    match message["event"].as_str().unwrap() {
        "request_authorization" => ToPortal::RequestAuthorization {
            resource: payload["resource_id"].as_str().unwrap().parse().unwrap(),
            connected_gateways: texts(&payload["connected_gateway_ids"]).map(|id| id.parse().unwrap()).collect(),
            device: None,
        },
        "new_gateway_ice_candidates" => ToPortal::NewIceCandidates {
            peer: gateway(),
            candidates: texts(&payload["candidates"]).map(str::to_owned).collect(),
        },
        "invalidate_gateway_ice_candidates" => ToPortal::InvalidateIceCandidates {
            peer: gateway(),
            candidates: texts(&payload["candidates"]).map(str::to_owned).collect(),
        },
        "no_relays" => ToPortal::NoRelays,
        other => panic!("{other}"),
    }
}

/// Asserts that the parsed message is equal to the frame.
fn compare(parsed: &FromPortal, message: &Value) {
    let payload = &message["payload"];
    match parsed {
        FromPortal::Init(init) => {
            let interface = &payload["interface"];
            assert_eq!(json!(init.interface.ipv4), interface["ipv4"]);
            assert_eq!(json!(init.interface.ipv6), interface["ipv6"]);
            assert_eq!(json!(init.interface.search_domain), interface["search_domain"]);
            let do53: Vec<Value> = init.interface.upstream_do53.iter().map(|ip| json!({ "ip": ip })).collect();
            assert_eq!(json!(do53), interface["upstream_do53"]);
            let listed = payload["resources"].as_array().unwrap();
            assert_eq!(init.resources.len(), listed.len());
            init.resources.iter().zip(listed).for_each(|(resource, listed)| compare_resource(resource, listed));
            let relays = payload["relays"].as_array().unwrap();
            let addresses: BTreeSet<String> = init
                .relays
                .iter()
                .flat_map(|relay| {
                    relay.v4.map(|it| it.to_string()).into_iter().chain(relay.v6.map(|it| it.to_string()))
                })
                .collect();
            assert_eq!(addresses, relays.iter().map(|relay| relay["addr"].as_str().unwrap().to_owned()).collect());
            assert!(init.relays.iter().all(|relay| relay.username == relays[0]["username"]));
            assert!(init.relays.iter().all(|relay| relay.password.expose() == relays[0]["password"]));
        }
        FromPortal::AuthorizationCreated(it) => compare_authorization(it, payload),
        FromPortal::IceCandidates { peer: PeerId::Gateway(gateway), candidates } => {
            assert_eq!(json!(gateway), payload["gateway_id"]);
            assert_eq!(json!(candidates), payload["candidates"]);
        }
        other => panic!("{other:?}"),
    }
}

fn compare_resource(resource: &Resource, listed: &Value) {
    assert_eq!(json!(resource.id()), listed["id"]);
    assert_eq!(resource.name(), listed.get("name").and_then(Value::as_str).unwrap_or("Internet Resource"));
    let sites: Vec<Value> = resource.sites().iter().map(|it| json!({ "id": it.id, "name": it.name })).collect();
    assert_eq!(json!(sites), listed["sites"]);
    match resource {
        Resource::Dns(it) => {
            assert_eq!((&json!("dns"), &json!(it.address)), (&listed["type"], &listed["address"]));
            assert_eq!(it.ip_stack.has_ipv6(), listed["ip_stack"] != "ipv4_only");
            assert_eq!(it.filters == model::Filters::default(), listed["filters"] == json!([]));
        }
        Resource::Cidr(it) => {
            assert_eq!((&json!("cidr"), &json!(it.address.to_string())), (&listed["type"], &listed["address"]));
        }
        Resource::Internet(_) => assert_eq!(listed["type"], "internet"),
        other => panic!("{other:?}"),
    }
}

fn compare_authorization(it: &AuthorizationCreated, payload: &Value) {
    assert_eq!(json!(it.resource_id), payload["resource_id"]);
    assert_eq!(json!(it.gateway_id), payload["gateway_id"]);
    assert_eq!(json!(it.site_id), payload["site_id"]);
    assert_eq!(json!(it.gateway_ipv4), payload["gateway_ipv4"]);
    assert_eq!(json!(it.gateway_ipv6), payload["gateway_ipv6"]);
    assert_eq!(it.gateway_public_key.to_string(), payload["gateway_public_key"]);
    assert_eq!(it.preshared_key, payload["preshared_key"].as_str().unwrap().parse().unwrap());
    let ice = [
        (&it.client_ice_credentials, &payload["client_ice_credentials"]),
        (&it.gateway_ice_credentials, &payload["gateway_ice_credentials"]),
    ];
    for (parsed, sent) in ice {
        assert_eq!(parsed.username, sent["username"]);
        assert_eq!(parsed.password.expose(), sent["password"]);
    }
    assert_eq!(json!(it.use_iceless), payload["use_iceless"]);
    assert!(!format!("{it:?}").contains("eyJ"), "the flow log token is not kept");
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap())
}
