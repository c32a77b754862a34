use std::net::SocketAddr;

use is::{CandidateKind, DefaultSha1HmacProvider, Sha1HmacProvider as _, stun::StunMessage};
use model::{IceCredentials, message::IceRole};

use super::*;
use crate::{
    limits::{MAX_CANDIDATE_PAIRS, MAX_REMOTE_CANDIDATES},
    testing::epoch,
};

/// A check with USERNAME `lesk:orrr`, made by another implementation.
const REQUEST: &str = "000100482112a442000102030405060708090a0b000600096c65736b3a6f727272000000802a0008010203040506
                       070800240004 6efffeff00250000000800148d8281f7cad56a7f5aa3ea56dcbd104b240c0b4a80280004087b9672";
/// The response to it if it came from 198.51.100.7:52625.
const ANSWER: &str = "0101002c2112a442000102030405060708090a0b002000080001ec83e721c045000800142295132617f4f92376e4
                      05ae4de54ef2dbb6795e80280004396b6c5c";
const PASSWORD: &str = "godgdj6fi43sgkt4opprka";

fn bytes(hex: &str) -> Vec<u8> {
    let hex: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn side(username: &str, password: &str) -> IceCredentials {
    IceCredentials { username: username.to_owned(), password: password.into() }
}

fn agent(role: IceRole) -> Agent {
    let local = side("lesk", PASSWORD);
    let remote = side("orrr", "m7f6ubh7brdjs2pxkrszfo");
    Agent::new(&local, &remote, role, 1, Profile::CLIENT.active, epoch())
}

#[test]
fn check_matches_recorded_bytes() {
    let request = bytes(REQUEST);
    let message = StunMessage::parse(&request).unwrap();
    let hmac = |key: &[u8], parts: &[&[u8]]| DefaultSha1HmacProvider.sha1_hmac(key, parts);
    assert!(message.verify(PASSWORD.as_bytes(), hmac));
    let mut encoded = vec![0; 200];
    let length = message.to_bytes(Some(PASSWORD.as_bytes()), &mut encoded, hmac).unwrap();
    assert_eq!(encoded[..length], request);
}

#[test]
fn response_to_a_check_matches_recorded_bytes() {
    let mut agent = agent(IceRole::Controlled);
    agent.add_local(LocalCandidate::Host(at("192.0.2.20:52625"))).unwrap();
    let request = bytes(REQUEST);
    let message = Message::parse(&request).unwrap();
    assert!(agent.accepts(&message));
    agent.handle_message(at("192.0.2.20:52625"), at("198.51.100.7:52625"), message, epoch());
    let answer = agent.poll_transmit().unwrap();
    assert_eq!(answer.payload, bytes(ANSWER));
    assert_eq!((answer.local, answer.remote), (at("192.0.2.20:52625"), at("198.51.100.7:52625")));
}

#[test]
fn check_to_a_foreign_address_is_ignored() {
    let mut agent = agent(IceRole::Controlled);
    agent.add_local(LocalCandidate::Host(at("192.0.2.20:52625"))).unwrap();
    let request = bytes(REQUEST);
    let message = Message::parse(&request).unwrap();
    agent.handle_message(at("192.0.2.21:52625"), at("198.51.100.7:52625"), message, epoch());
    assert!(agent.poll_transmit().is_none());
}

#[test]
fn changed_or_truncated_check_is_rejected() {
    /// The value of FINGERPRINT is not verified, unlike the integrity before it.
    const FINGERPRINT: usize = 8;
    let (agent, request) = (agent(IceRole::Controlled), bytes(REQUEST));
    let is_accepted = |datagram: &[u8]| Message::parse(datagram).is_some_and(|message| agent.accepts(&message));
    assert!(is_accepted(&request));
    for length in 0..request.len() {
        assert!(!is_accepted(&request[..length]), "cut at {length}");
    }
    for bit in 0..(request.len() - FINGERPRINT) * 8 {
        let mut changed = request.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // The upper two bits of the first byte are not part of the type.
        assert!(bit == 6 || bit == 7 || !is_accepted(&changed), "bit {bit}");
    }
}

#[test]
fn errors_and_indications_are_not_checks() {
    let mut error = bytes(ANSWER);
    (error[0], error[1]) = (0x01, 0x11);
    assert!(Message::parse(&error).is_none());
    let mut indication = bytes(REQUEST);
    (indication[0], indication[1]) = (0x00, 0x11);
    assert!(Message::parse(&indication).is_none());
}

#[test]
fn candidates_have_the_specified_priorities_and_text() {
    let (v4, v6) = (at("192.0.2.10:52625"), at("[2001:db8::10]:52625"));
    let reflexive = |address: &str, base| LocalCandidate::ServerReflexive { address: at(address), base };
    let relayed = |address: &str, local| LocalCandidate::Relayed { address: at(address), local };
    for (candidate, priority) in [
        (LocalCandidate::Host(v4), 2_130_706_175),
        (LocalCandidate::Host(v6), 2_130_706_431),
        (reflexive("198.51.100.7:61000", v4), 1_686_109_951),
        (reflexive("[2001:db8::7]:61000", v6), 1_686_110_207),
        (relayed("203.0.113.9:51234", v4), 37_748_479),
        (relayed("[2001:db8::9]:51234", v6), 37_748_735),
        (relayed("[2001:db8::9]:51234", v4), 37_492_735),
        (relayed("203.0.113.9:51234", v6), 37_492_479),
    ] {
        assert_eq!(agent(IceRole::Controlling).add_local(candidate).unwrap().priority, priority, "{candidate:?}");
    }
    let text = agent(IceRole::Controlling).add_local(relayed("203.0.113.9:51234", v4)).unwrap().text;
    let (foundation, rest) = text.split_once(' ').unwrap();
    assert!((11 + 1..=11 - 1 + 32).contains(&foundation.len()), "{foundation}");
    assert_eq!(rest, "1 udp 37748479 203.0.113.9 51234 typ relay raddr 0.0.0.0 rport 0 ufrag lesk");
}

#[test]
fn checks_carry_the_specified_priority() {
    for (local, priority) in [
        (LocalCandidate::Host(at("192.0.2.10:52625")), 1_862_270_719),
        (LocalCandidate::Host(at("[2001:db8::10]:52625")), 1_862_270_975),
        (LocalCandidate::Relayed { address: at("203.0.113.9:51234"), local: at("192.0.2.10:1") }, 1_849_687_807),
    ] {
        let mut agent = agent(IceRole::Controlling);
        agent.add_local(local).unwrap();
        agent.add_remote("candidate:1 1 udp 1686109951 198.51.100.20 4000 typ host").unwrap();
        agent.add_remote("candidate:1 1 udp 1686109951 2001:db8::20 4000 typ host").unwrap();
        agent.handle_timeout(epoch());
        let check = agent.poll_transmit().unwrap();
        assert_eq!(StunMessage::parse(&check.payload).unwrap().prio(), Some(priority));
    }
}

#[test]
fn address_without_nat_is_announced_once() {
    let mut agent = agent(IceRole::Controlling);
    let host = at("192.0.2.10:52625");
    assert!(agent.add_local(LocalCandidate::Host(host)).is_some());
    assert!(agent.add_local(LocalCandidate::Host(host)).is_none());
    assert!(agent.add_local(LocalCandidate::ServerReflexive { address: host, base: host }).is_none());
}

#[test]
fn withdrawal_matches_the_announcement_and_the_candidate_can_return() {
    let mut agent = agent(IceRole::Controlling);
    let relayed = LocalCandidate::Relayed { address: at("203.0.113.9:51234"), local: at("192.0.2.10:52625") };
    let announced = agent.add_local(relayed).unwrap();
    let withdrawn = agent.remove_local(relayed, epoch()).unwrap();
    assert!(withdrawn.text.contains("203.0.113.9 51234 typ relay raddr 0.0.0.0 rport 0"));
    assert_eq!(announced.text.split(" typ ").nth(1), withdrawn.text.split(" typ ").nth(1));
    assert!(agent.remove_local(relayed, epoch()).is_none(), "only once");
    assert!(agent.add_local(relayed).is_some());
}

#[test]
fn candidates_with_another_ufrag_are_rejected() {
    let mut agent = agent(IceRole::Controlling);
    assert!(agent.add_remote("candidate:1 1 udp 1 198.51.100.20 4000 typ host ufrag else").is_none());
    assert!(agent.add_remote("candidate:1 1 udp 1 198.51.100.20 4000 typ host ufrag orrr").is_some());
    assert!(agent.add_remote("candidate:1 1 udp 1 198.51.100.21 4000 typ host generation 0").is_some());
}

#[test]
fn peer_cannot_remove_our_candidates() {
    let mut agent = agent(IceRole::Controlling);
    agent.add_local(LocalCandidate::Host(at("192.0.2.10:52625"))).unwrap();
    agent.remove_remote("candidate:1 1 udp 1 192.0.2.10 52625 typ host", epoch());
    assert_eq!(agent.announcements().count(), 1);
}

#[test]
fn number_of_remote_candidates_is_bounded() {
    let mut agent = agent(IceRole::Controlling);
    agent.add_local(LocalCandidate::Host(at("192.0.2.10:52625"))).unwrap();
    let accepted = (1..60_000)
        .step_by(20)
        .filter(|port| {
            let text = format!("candidate:1 1 udp {port} 198.51.100.20 {port} typ host");
            agent.add_remote(&text).is_some()
        })
        .count();
    assert_eq!(accepted, MAX_REMOTE_CANDIDATES);
    agent.handle_timeout(epoch());
    let checks = std::iter::from_fn(|| agent.poll_transmit()).count();
    assert!(checks <= MAX_CANDIDATE_PAIRS, "{checks}");
}

#[test]
fn agent_without_pairs_has_no_deadline() {
    let mut agent = agent(IceRole::Controlling);
    agent.add_local(LocalCandidate::Host(at("192.0.2.10:52625"))).unwrap();
    agent.add_remote("candidate:1 1 udp 1 2001:db8::20 4000 typ host").unwrap();
    agent.handle_timeout(epoch());
    assert!(agent.poll_transmit().is_none());
    assert_eq!(agent.poll_timeout(), None);
    agent.add_remote("candidate:1 1 udp 1 198.51.100.20 4000 typ host").unwrap();
    agent.handle_timeout(epoch());
    assert!(agent.poll_transmit().is_some());
    assert!(agent.poll_timeout().is_some());
}

#[test]
fn address_discovered_before_its_announcement_is_checked_once() {
    let mut agent = agent(IceRole::Controlled);
    agent.add_local(LocalCandidate::Host(at("192.0.2.20:52625"))).unwrap();
    let request = bytes(REQUEST);
    let message = Message::parse(&request).unwrap();
    agent.handle_message(at("192.0.2.20:52625"), at("198.51.100.7:52625"), message, epoch());
    let kinds = |agent: &Agent| agent.agent.remote_candidates().map(|it| it.kind()).collect::<Vec<_>>();
    assert_eq!(kinds(&agent), [CandidateKind::PeerReflexive]);
    assert_eq!(std::iter::from_fn(|| agent.poll_transmit()).count(), 2, "an answer, and a check in return");

    agent.add_remote("candidate:1 1 udp 1686109951 198.51.100.7 52625 typ srflx raddr 0.0.0.0 rport 0").unwrap();
    assert_eq!(kinds(&agent), [CandidateKind::ServerReflexive]);
    agent.handle_timeout(epoch());
    assert!(agent.poll_transmit().is_none(), "a new pair would be checked at once");
}
