//! A relay that knows what official relays do: it wants credentials, lends one address per family, and forwards on channels.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bytecodec::{DecodeExt as _, EncodeExt as _};
use model::{Relay, RelayId};
use stun_codec::{
    Message, MessageClass, MessageDecoder, MessageEncoder, define_attribute_enums,
    rfc5389::{
        attributes::{ErrorCode, MessageIntegrity, Nonce, Realm, Software, Username, XorMappedAddress},
        methods::BINDING,
    },
    rfc5766::{
        attributes::{ChannelNumber, Lifetime, RequestedTransport, XorPeerAddress, XorRelayAddress},
        methods::{ALLOCATE, CHANNEL_BIND, REFRESH},
    },
    rfc8656::attributes::AdditionalAddressFamily,
};

define_attribute_enums!(
    Attribute,
    AttributeDecoder,
    AttributeEncoder,
    [
        AdditionalAddressFamily,
        ChannelNumber,
        ErrorCode,
        Lifetime,
        MessageIntegrity,
        Nonce,
        Realm,
        RequestedTransport,
        Software,
        Username,
        XorMappedAddress,
        XorPeerAddress,
        XorRelayAddress
    ]
);

const PASSWORD: &str = "sekret";

pub struct ToyRelay {
    pub id: RelayId,
    pub addresses: Vec<SocketAddr>,
    pub seen: Vec<&'static str>,
    /// Whether refusals are signed. Official relays do that, coturn does not.
    pub signs_refusals: bool,
    /// Whether a request with integrity but without nonce is a bad request, as for coturn.
    pub insists_on_nonce: bool,
    nonce: u64,
    allocations: BTreeMap<SocketAddr, Allocation>,
    next_port: u16,
}

struct Allocation {
    port: u16,
    expires: Instant,
    channels: BTreeMap<u16, SocketAddr>,
}

/// Something that the relay sends.
pub type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

impl ToyRelay {
    pub fn new(id: u128, addresses: Vec<SocketAddr>) -> Self {
        Self {
            id: RelayId::from_u128(id),
            addresses,
            seen: Vec::new(),
            signs_refusals: true,
            insists_on_nonce: false,
            nonce: 1,
            allocations: BTreeMap::new(),
            next_port: 50_000,
        }
    }

    /// What the portal says about it.
    pub fn entry(&self) -> Relay {
        let v4 = self.addresses.iter().find_map(|it| if let SocketAddr::V4(it) = it { Some(*it) } else { None });
        let v6 = self.addresses.iter().find_map(|it| if let SocketAddr::V6(it) = it { Some(*it) } else { None });
        Relay { id: self.id, v4, v6, username: "1700000000:abcd".into(), password: PASSWORD.into() }
    }

    pub fn owns(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip() == ip)
    }

    /// Forgets everything, like after a crash.
    pub fn reboot(&mut self) {
        self.nonce += 1;
        self.allocations.clear();
    }

    pub fn handle(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8], now: Instant) -> Vec<Datagram> {
        self.allocations.retain(|_, allocation| allocation.expires > now);
        if !self.addresses.contains(&to) {
            return self.forward_to_client(from, to, datagram).into_iter().collect();
        }
        match datagram.first() {
            Some(0x40..=0x4F) => self.forward_to_peer(from, datagram).into_iter().collect(),
            _ => self.request(from, to, datagram, now).map(|answer| (to, from, answer)).into_iter().collect(),
        }
    }

    fn lent(&self, port: u16, v6: bool) -> Option<SocketAddr> {
        self.addresses.iter().find(|it| it.is_ipv6() == v6).map(|it| SocketAddr::new(it.ip(), port))
    }

    fn forward_to_client(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Datagram> {
        let (client, allocation) = self.allocations.iter().find(|(_, it)| it.port == to.port())?;
        let (number, _) = allocation.channels.iter().find(|(_, peer)| **peer == from)?;
        let mut message = number.to_be_bytes().to_vec();
        message.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        message.extend(payload);
        let own = self.addresses.iter().find(|it| it.is_ipv6() == client.is_ipv6())?;
        Some((*own, *client, message))
    }

    fn forward_to_peer(&self, client: SocketAddr, message: &[u8]) -> Option<Datagram> {
        let allocation = self.allocations.get(&client)?;
        let number = u16::from_be_bytes([message[0], message[1]]);
        let length = u16::from_be_bytes([message[2], message[3]]);
        assert_eq!(usize::from(length) + 4, message.len(), "ChannelData has no padding");
        let peer = *allocation.channels.get(&number)?;
        Some((self.lent(allocation.port, peer.is_ipv6())?, peer, message[4..].to_vec()))
    }

    fn request(&mut self, from: SocketAddr, _to: SocketAddr, datagram: &[u8], now: Instant) -> Option<Vec<u8>> {
        let request = MessageDecoder::<Attribute>::new().decode_from_bytes(datagram).ok()?.ok()?;
        if request.class() != MessageClass::Request {
            return None;
        }
        if request.method() == BINDING {
            self.seen.push("binding");
            let mut answer =
                Message::<Attribute>::new(MessageClass::SuccessResponse, BINDING, request.transaction_id());
            answer.add_attribute(XorMappedAddress::new(from));
            return MessageEncoder::new().encode_into_bytes(answer).ok();
        }
        if let Some(code) = self.refusal(&request) {
            let signed = self.signs_refusals && request.get_attribute::<Username>().is_some();
            return Some(self.refuse(&request, code, signed));
        }
        if request.method() == ALLOCATE {
            self.seen.push("allocate");
            if self.allocations.contains_key(&from) {
                return Some(self.refuse(&request, 437, true));
            }
            self.next_port += 1;
            let (port, expires) = (self.next_port, now + Duration::from_secs(600));
            self.allocations.insert(from, Allocation { port, expires, channels: BTreeMap::new() });
            let mut answer =
                Message::<Attribute>::new(MessageClass::SuccessResponse, ALLOCATE, request.transaction_id());
            for address in [self.lent(port, false), self.lent(port, true)].into_iter().flatten() {
                answer.add_attribute(XorRelayAddress::new(address));
            }
            answer.add_attribute(XorMappedAddress::new(from));
            answer.add_attribute(Lifetime::from_u32(600));
            return Some(sign(answer));
        }
        let known = self.allocations.get_mut(&from);
        if request.method() == REFRESH {
            self.seen.push("refresh");
            let Some(allocation) = known else { return Some(self.refuse(&request, 437, true)) };
            let lifetime = request.get_attribute::<Lifetime>().map_or(Duration::from_secs(600), Lifetime::lifetime);
            allocation.expires = now + lifetime;
            let mut answer =
                Message::<Attribute>::new(MessageClass::SuccessResponse, REFRESH, request.transaction_id());
            answer.add_attribute(Lifetime::new(lifetime).unwrap());
            return Some(sign(answer));
        }
        if request.method() == CHANNEL_BIND {
            self.seen.push("channel bind");
            let Some(allocation) = known else { return Some(self.refuse(&request, 437, true)) };
            let number = request.get_attribute::<ChannelNumber>().unwrap().value();
            let peer = request.get_attribute::<XorPeerAddress>().unwrap().address();
            let is_taken = |(n, p): (&u16, &SocketAddr)| (*n == number) != (*p == peer);
            if allocation.channels.iter().any(is_taken) {
                return Some(self.refuse(&request, 400, true));
            }
            allocation.channels.insert(number, peer);
            return Some(sign(Message::new(MessageClass::SuccessResponse, CHANNEL_BIND, request.transaction_id())));
        }
        None
    }

    fn refusal(&self, request: &Message<Attribute>) -> Option<u16> {
        let Some(integrity) = request.get_attribute::<MessageIntegrity>() else { return Some(401) };
        let Some(username) = request.get_attribute::<Username>() else { return Some(401) };
        let Some(nonce) = request.get_attribute::<Nonce>() else {
            return Some(if self.insists_on_nonce { 400 } else { 401 });
        };
        if nonce.value() != self.nonce.to_string() {
            return Some(438);
        }
        let realm = Realm::new("firezone".into()).unwrap();
        integrity.check_long_term_credential(username, &realm, PASSWORD).is_err().then_some(401)
    }

    fn refuse(&self, request: &Message<Attribute>, code: u16, signed: bool) -> Vec<u8> {
        let mut answer =
            Message::<Attribute>::new(MessageClass::ErrorResponse, request.method(), request.transaction_id());
        answer.add_attribute(ErrorCode::new(code, "no".into()).unwrap());
        if matches!(code, 401 | 438) {
            answer.add_attribute(Realm::new("firezone".into()).unwrap());
            answer.add_attribute(Nonce::new(self.nonce.to_string()).unwrap());
        }
        if signed { sign(answer) } else { MessageEncoder::new().encode_into_bytes(answer).unwrap() }
    }
}

fn sign(mut message: Message<Attribute>) -> Vec<u8> {
    let username = Username::new("1700000000:abcd".into()).unwrap();
    let realm = Realm::new("firezone".into()).unwrap();
    let integrity = MessageIntegrity::new_long_term_credential(&message, &username, &realm, PASSWORD).unwrap();
    message.add_attribute(integrity);
    MessageEncoder::new().encode_into_bytes(message).unwrap()
}
