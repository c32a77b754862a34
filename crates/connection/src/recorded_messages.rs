//! Messages recorded between the official client, gateway and relay, compared with ours. All other tests of this crate
//! check our own understanding of the protocols.

use std::net::SocketAddr;

use model::{IceCredentials, Secret, message::IceRole};
use stun_codec::TransactionId;

use crate::{
    ice::{Agent, Check, LocalCandidate, Message, Profile},
    relay::{
        credentials::Credentials,
        stun::{RelayQuirks, Request, Response},
    },
    testing::epoch,
};

const HOST_V4: &str = "203.0.113.18:52625";
const HOST_V6: &str = "[2001:db8:10::2]:52625";
const GATEWAY_V4: &str = "203.0.113.34:52625";

const RELAY_BINDING_V4: &str = "010100282112a4423b1b4b889119a298692ea7c980220018666972657a6f6e652d72656c61793b207265763d7878\
     7878002000080001ec83ea12d550";
const RELAY_BINDING_V6: &str = "010100342112a442172ff1420027dcd1de3c0a6e80220018666972657a6f6e652d72656c61793b207265763d7878\
     7878002000140002ec830113a9fa173ff1420027dcd1de3c0a6c";
const ALLOCATE: &str = "0003007c2112a442e90bf1a22a46d215471f0f000019000411000000800000040200000080220007736e6f776e6574000006\
     0036313739353337373639343a31327875704d39556467696e4862325767597435494258626e567947337865373839354e31444a54634e630000\
     00140008666972657a6f6e65000800145d68ea3b468035aed083f6dac99bc5d57ba8ef11";
const ALLOCATE_REFUSED: &str = "0113007c2112a442e90bf1a22a46d215471f0f0080220018666972657a6f6e652d72656c61793b207265763d7878\
     78780009001000000401556e617574686f72697a656400140008666972657a6f6e650015002435633634343830392d376535322d326637312d64\
     3965362d3134343661316231396531350008001476f68b1cb023dbd4db418cde9a24180b26f662a4";
const ALLOCATE_AGAIN: &str = "000300a42112a44211ef2e79db7769a982cf59930019000411000000800000040200000080220007736e6f776e6574\
     0000060036313739353337373639343a31327875704d39556467696e4862325767597435494258626e567947337865373839354e31444a54634e\
     63000000140008666972657a6f6e650015002435633634343830392d376535322d326637312d643965362d3134343661316231396531350008\
     0014e4af610bbbb9b5d0932134ea0af50145346d663a";
const ALLOCATED: &str = "0103006c2112a44211ef2e79db7769a982cf599380220018666972657a6f6e652d72656c61793b207265763d787878780016\
     00080001e810ea12d570001600140002e8100113a9fa11df2e79db7769a982cf5991002000080001ec83ea12d550000d00040000025800080014\
     2db2b16e35c0778d4da8c446a8443a64e0cbdaf0";
const CHANNEL_BIND: &str = "000900b42112a442e50ee6f48dc297aa91720859001200140002c37d0113a9fae53ee6f48dc297aa9172085b000c0004\
     4001000080220007736e6f776e65740000060036313739353337373639343a31327875704d39556467696e4862325767597435494258626e5679\
     47337865373839354e31444a54634e63000000140008666972657a6f6e650015002435633634343830392d376535322d326637312d64396536\
     2d31343436613162313965313500080014098e2866696a122b0ca2c4a5031d49065cde2f6f";
const CHANNEL_BOUND: &str = "010900342112a442e50ee6f48dc297aa9172085980220018666972657a6f6e652d72656c61793b207265763d78787878\
     00080014828492681bd0205b07d38768dfc5c50ac2931061";

const CLIENT_CHECK: &str = "000100442112a4421e7438c0c96136da2b64758c00060009653835643a34313232000000802a0008806f04d9ef3baa32\
     002400046efffeff0008001467a6041e54f58ab7235cc78817ec7f0b4f75af1c8028000428aba885";
const GATEWAY_CHECK: &str = "000100442112a4420ad56d27b9e8d55080cda55100060009343132323a653835640000008029000823ba32f50750bbf1\
     002400046efffeff000800146261dc9152bd31a4b7f102c90f30eca3eb6f11b680280004e891a04e";
const CLIENT_ANSWER: &str = "0101002c2112a4420ad56d27b9e8d55080cda551002000080001ec83ea12d560000800146c4fc0a599b5e73fab2d4c51\
     3a7fc1fae5ad256480280004c3b996e3";

const TIE_BREAKER: u64 = 0x806f_04d9_ef3b_aa32;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn relay_credentials() -> Credentials {
    let password = Secret::from("pojBvThQvV3W75NML2PvSd8bUO/cBFIB6ZWRCnuXgVk");
    Credentials::new("1795377694:12xupM9UdginHb2WgYt5IBXbnVyG3xe7895N1DJTcNc".to_owned(), password)
}

fn with_nonce() -> Credentials {
    let mut credentials = relay_credentials();
    credentials.set_nonce("5c644809-7e52-2f71-d9e6-1446a1b19e15".to_owned());
    credentials
}

fn answer(hex: &str) -> Response {
    Response::parse(&bytes(hex)).unwrap()
}

/// The request with the transaction id of a recorded one.
fn request_like(recorded: &str, request: Request, credentials: &Credentials) -> Vec<u8> {
    let id = bytes(recorded)[8..20].try_into().unwrap();
    request.encode(TransactionId::new(id), "snownet", RelayQuirks::DEFAULT, credentials).unwrap()
}

fn client() -> Agent {
    let credentials = |username: &str, password: &str| IceCredentials {
        username: username.to_owned(),
        password: Secret::from(password),
    };
    let local = credentials("4122", "cebee9d14eea814321eb76");
    let remote = credentials("e85d", "7567f6ab9202f603569432");
    Agent::new(&local, &remote, IceRole::Controlling, TIE_BREAKER, Profile::CLIENT.active, epoch())
}

fn checks(agent: &mut Agent) -> Vec<Check> {
    agent.handle_timeout(epoch());
    std::iter::from_fn(|| agent.poll_transmit()).collect()
}

#[test]
fn recorded_binding_response_contains_our_address() {
    for (recorded, mapped) in [(RELAY_BINDING_V4, HOST_V4), (RELAY_BINDING_V6, HOST_V6)] {
        let answer = answer(recorded);
        assert!(answer.is_for(Request::Binding));
        assert_eq!((answer.error(), answer.mapped()), (None, Some(at(mapped))));
    }
}

#[test]
fn recorded_challenge_is_authentic() {
    let answer = answer(ALLOCATE_REFUSED);
    assert!(answer.is_for(Request::Allocate) && answer.is_authentic(&relay_credentials()));
    assert_eq!(answer.error(), Some(401));
    assert_eq!((answer.realm(), answer.nonce()), (Some("firezone"), with_nonce().nonce()));
}

#[test]
fn recorded_allocation_contains_both_families() {
    let answer = answer(ALLOCATED);
    assert!(answer.is_for(Request::Allocate) && answer.is_authentic(&relay_credentials()));
    assert_eq!(answer.relayed().collect::<Vec<_>>(), [at("203.0.113.50:51458"), at("[2001:db8:30::2]:51458")]);
    assert_eq!((answer.error(), answer.lifetime().map(|it| it.as_secs())), (None, Some(600)));
}

#[test]
fn recorded_channel_confirmation_is_authentic() {
    let answer = answer(CHANNEL_BOUND);
    let request = Request::ChannelBind { number: 0x4001, peer: at("[2001:db8:30::2]:57967") };
    assert!(answer.is_for(request) && answer.is_authentic(&relay_credentials()));
    assert_eq!(answer.error(), None);
}

#[test]
fn requests_equal_those_of_the_official_client() {
    let peer = at("[2001:db8:30::2]:57967");
    for (recorded, request, credentials) in [
        (ALLOCATE, Request::Allocate, relay_credentials()),
        (ALLOCATE_AGAIN, Request::Allocate, with_nonce()),
        (CHANNEL_BIND, Request::ChannelBind { number: 0x4001, peer }, with_nonce()),
    ] {
        assert_eq!(request_like(recorded, request, &credentials), bytes(recorded), "{request:?}");
    }
}

#[test]
fn checks_equal_those_of_the_official_client() {
    /// Transaction id, and from the integrity on: what follows from the id.
    const VARYING: [std::ops::Range<usize>; 2] = [8..20, 56..88];
    let mut agent = client();
    agent.add_local(LocalCandidate::Host(at(HOST_V4)));
    agent.add_remote("candidate:fffeff7e8867ebed4273476d 1 udp 2130706175 203.0.113.34 52625 typ host ufrag e85d");
    let check = checks(&mut agent).remove(0);
    assert_eq!((check.local, check.remote), (at(HOST_V4), at(GATEWAY_V4)));
    let blank = |mut message: Vec<u8>| {
        VARYING.into_iter().for_each(|range| message[range].fill(0));
        message
    };
    assert_eq!(blank(check.payload), blank(bytes(CLIENT_CHECK)));
}

#[test]
fn response_to_a_recorded_check_equals_the_recorded_response() {
    let mut agent = client();
    agent.add_local(LocalCandidate::Host(at(HOST_V4)));
    let check = bytes(GATEWAY_CHECK);
    let message = Message::parse(&check).unwrap();
    assert!(agent.accepts(&message));
    agent.handle_message(at(HOST_V4), at(GATEWAY_V4), message, epoch());
    let answer = checks(&mut agent).into_iter().find(|check| check.payload[0] == 1).unwrap();
    assert_eq!((answer.local, answer.remote), (at(HOST_V4), at(GATEWAY_V4)));
    assert_eq!(answer.payload, bytes(CLIENT_ANSWER));
}

#[test]
fn candidate_texts_equal_those_of_the_official_client() {
    let mut agent = client();
    let relayed = |address| LocalCandidate::Relayed { address: at(address), local: at(HOST_V4) };
    let announced: Vec<_> = [
        LocalCandidate::Host(at(HOST_V6)),
        LocalCandidate::Host(at(HOST_V4)),
        relayed("203.0.113.50:51458"),
        relayed("[2001:db8:30::2]:51458"),
    ]
    .into_iter()
    .filter_map(|candidate| agent.add_local(candidate))
    .map(|announcement| announcement.text.split_once(' ').unwrap().1.to_owned())
    .collect();
    assert_eq!(
        announced,
        [
            "1 udp 2130706431 2001:db8:10::2 52625 typ host ufrag 4122",
            "1 udp 2130706175 203.0.113.18 52625 typ host ufrag 4122",
            "1 udp 37748479 203.0.113.50 51458 typ relay raddr 0.0.0.0 rport 0 ufrag 4122",
            "1 udp 37492735 2001:db8:30::2 51458 typ relay raddr :: rport 0 ufrag 4122",
        ]
    );
    let mapped = LocalCandidate::ServerReflexive { address: at(HOST_V4), base: at(HOST_V4) };
    assert!(agent.add_local(mapped).is_none(), "no NAT, nothing new");
}

#[test]
fn withdrawn_candidate_is_matched_by_address_and_type() {
    let mut agent = client();
    agent.add_local(LocalCandidate::Host(at(HOST_V4)));
    agent.add_remote(
        "candidate:fffe3f02857293c595445fc0 1 udp 37748479 203.0.113.50 57967 typ relay raddr 0.0.0.0 rport 0 \
                      ufrag e85d",
    );
    assert!(agent.is_on_relay(at("203.0.113.50:57967")));
    let withdrawn =
        "candidate:fffe3f02857293c595445fc0 1 udp 50331391 203.0.113.50 57967 typ relay raddr 0.0.0.0 rport 0";
    agent.remove_remote(withdrawn, epoch());
    assert!(!agent.is_on_relay(at("203.0.113.50:57967")));
}
