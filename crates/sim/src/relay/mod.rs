//! A STUN/TURN server that behaves as official relays do, seen from outside.
//!
//! It wants long-term credentials from the first request on, hands out nonces that are tied to the client's address and wear
//! out, lends the same port on both families, keeps one allocation per user name, and forwards on channels only.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use model::{PublicKey, RelayId};
use sha2::{Digest as _, Sha256};

mod allocation;
mod stun;

use self::{
    allocation::Allocation,
    stun::{Answer, Request},
};

const REALM_TEXT: &str = "firezone";
/// Lifetime that is granted when none is asked for, and the longest one.
const LIFETIMES: [u32; 2] = [600, 3600];
/// Numbers that a client may bind.
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4FFF;
/// How often a nonce may be used.
const NONCE_USES: u32 = 10_000;
/// How long an unused nonce is remembered.
const NONCE_LIFETIME: Duration = Duration::from_secs(3_600);

/// One relay.
#[derive(Debug)]
pub struct Relay {
    /// Changes when it is restarted.
    pub id: RelayId,
    /// Where it listens, one address per family.
    pub addresses: Vec<SocketAddr>,
    /// In which ways it differs from official relays.
    pub habits: Habits,
    /// How many addresses it lends at a time.
    pub capacity: usize,
    /// Whether it answers at all.
    pub is_up: bool,
    /// When credentials that it is asked for from now on expire.
    pub credentials_expire: Option<Instant>,
    /// What it was asked, and how it answered.
    pub asked: Asked,
    secret: u64,
    nonces: BTreeMap<SocketAddr, Nonce>,
    nonce_count: u64,
    nonce_uses: u32,
    /// By the client's address.
    allocations: BTreeMap<SocketAddr, Allocation>,
    next_port: u16,
    start: Instant,
}

/// Differences between relays that a client has to live with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Habits {
    /// Whether refusals carry an integrity.
    pub signs_refusals: bool,
    /// Whether an integrity without a nonce is a bad request.
    pub insists_on_nonce: bool,
}

/// Requests by name and answer: 0 for success, else the error.
pub type Asked = BTreeMap<(&'static str, u16), usize>;

/// Something that the relay sends: from, to, payload.
pub type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

#[derive(Debug)]
struct Nonce {
    text: String,
    uses: u32,
    since: Instant,
}

/// What went wrong with a request.
struct Refusal(u16);

impl Habits {
    /// As official relays.
    pub const OFFICIAL: Self = Self { signs_refusals: true, insists_on_nonce: false };
    /// As coturn.
    pub const COTURN: Self = Self { signs_refusals: false, insists_on_nonce: true };
}

impl Relay {
    /// A relay that was just started.
    #[must_use]
    pub fn new(id: u128, addresses: Vec<SocketAddr>, start: Instant) -> Self {
        Self {
            id: RelayId::from_u128(id),
            addresses,
            habits: Habits::OFFICIAL,
            capacity: 1_000,
            is_up: true,
            credentials_expire: None,
            asked: BTreeMap::new(),
            secret: 1,
            nonces: BTreeMap::new(),
            nonce_count: 0,
            nonce_uses: NONCE_USES,
            allocations: BTreeMap::new(),
            next_port: 50_000,
            start,
        }
    }

    /// What the portal says about it to the client with this key.
    #[must_use]
    pub fn entry(&self, key: PublicKey) -> model::Relay {
        let v4 = self.addresses.iter().find_map(|it| if let SocketAddr::V4(it) = it { Some(*it) } else { None });
        let v6 = self.addresses.iter().find_map(|it| if let SocketAddr::V6(it) = it { Some(*it) } else { None });
        let lifetime = self.credentials_expire.map(|at| at.duration_since(self.start).as_secs());
        let salt = STANDARD_NO_PAD.encode(Sha256::digest(key.0));
        let username = format!("{}:{salt}", lifetime.unwrap_or(u64::from(u32::MAX)));
        let password = self.password(&username).expect("made just now");
        model::Relay { id: self.id, v4, v6, username, password: password.as_str().into() }
    }

    /// Forgets everybody, and is the same as before: what a network that was cut off for long looks like.
    pub fn forget_clients(&mut self) {
        self.nonces.clear();
        self.allocations.clear();
    }

    /// Starts again as another one in the same place. Former credentials are void.
    pub fn restart(&mut self, id: u128) {
        self.forget_clients();
        self.id = RelayId::from_u128(id);
        self.secret += 1;
    }

    /// All nonces are worn out.
    pub fn change_nonces(&mut self) {
        self.nonces.clear();
    }

    /// Nonces wear out after so many uses.
    pub fn limit_nonces(&mut self, uses: u32) {
        self.nonce_uses = uses;
    }

    /// How many clients it lends something to.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.allocations.len()
    }

    /// How often it was asked for `what`.
    #[must_use]
    pub fn count(&self, what: &str) -> usize {
        self.asked.iter().filter(|((name, _), _)| *name == what).map(|(_, count)| count).sum()
    }

    /// How often it answered `what` with `code`, 0 for success.
    #[must_use]
    pub fn answered(&self, what: &'static str, code: u16) -> usize {
        self.asked.get(&(what, code)).copied().unwrap_or_default()
    }

    /// Whether it has this address.
    #[must_use]
    pub fn owns(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip() == ip)
    }

    /// Takes a datagram; returns what it sends because of it.
    pub fn handle(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8], now: Instant) -> Vec<Datagram> {
        self.allocations.retain(|_, allocation| allocation.expires > now);
        self.nonces.retain(|_, nonce| now.duration_since(nonce.since) < NONCE_LIFETIME);
        let sent = match datagram.first() {
            _ if !self.is_up => None,
            _ if !self.addresses.contains(&to) => self.forward_to_client(from, to, datagram, now),
            Some(0x40..=0x4F) => self.forward_to_peer(from, datagram, now),
            _ => self.answer(from, datagram, now).map(|answer| (to, from, answer)),
        };
        sent.into_iter().collect()
    }

    fn forward_to_client(&self, from: SocketAddr, to: SocketAddr, payload: &[u8], now: Instant) -> Option<Datagram> {
        let (client, allocation) = self.allocations.iter().find(|(_, it)| it.port == to.port())?;
        let number = allocation.channel(from, now)?;
        let mut message = number.to_be_bytes().to_vec();
        message.extend(u16::try_from(payload.len()).ok()?.to_be_bytes());
        message.extend(payload);
        let own = self.addresses.iter().find(|it| it.is_ipv6() == client.is_ipv6())?;
        Some((*own, *client, message))
    }

    fn forward_to_peer(&self, client: SocketAddr, message: &[u8], now: Instant) -> Option<Datagram> {
        let allocation = self.allocations.get(&client)?;
        let (number, rest) = message.split_first_chunk::<2>()?;
        let (length, payload) = rest.split_first_chunk::<2>()?;
        if usize::from(u16::from_be_bytes(*length)) != payload.len() {
            return None;
        }
        let peer = allocation.peer(u16::from_be_bytes(*number), now)?;
        Some((self.lent(allocation.port, peer.is_ipv6())?, peer, payload.to_vec()))
    }

    fn lent(&self, port: u16, v6: bool) -> Option<SocketAddr> {
        self.addresses.iter().find(|it| it.is_ipv6() == v6).map(|it| SocketAddr::new(it.ip(), port))
    }

    fn answer(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Option<Vec<u8>> {
        let request = Request::parse(datagram)?;
        let name = match request.method {
            stun::BINDING => "binding",
            stun::ALLOCATE => "allocate",
            stun::REFRESH => "refresh",
            stun::CHANNEL_BIND => "channel bind",
            stun::CREATE_PERMISSION => "create permission",
            _ => return None,
        };
        let key =
            request.text(stun::USERNAME).and_then(|name| Some(stun::key(name, REALM_TEXT, &self.password(name)?)));
        let outcome = match request.method {
            stun::BINDING => Ok(request.success().with_address(stun::XOR_MAPPED_ADDRESS, from)),
            _ => self.authenticate(&request, key, from, now).and_then(|()| self.serve(&request, from, now)),
        };
        let code = outcome.as_ref().err().map_or(0, |Refusal(code)| *code);
        *self.asked.entry((name, code)).or_default() += 1;
        Some(match outcome {
            Ok(answer) => answer.signed_with(key.filter(|_| request.method != stun::BINDING)),
            Err(Refusal(code)) => {
                self.refuse(&request, code, from, now).signed_with(key.filter(|_| self.habits.signs_refusals))
            }
        })
    }

    /// The checks in the order of official relays.
    fn authenticate(
        &mut self,
        request: &Request<'_>,
        key: Option<[u8; 16]>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        request.get(stun::MESSAGE_INTEGRITY).ok_or(Refusal(401))?;
        let username = request.text(stun::USERNAME).ok_or(Refusal(401))?;
        let without_nonce = if self.habits.insists_on_nonce { 400 } else { 401 };
        let nonce = request.text(stun::NONCE).ok_or(Refusal(without_nonce))?;
        let uses = self.nonce_uses;
        let known = self.nonces.get_mut(&from).filter(|it| it.text == nonce && it.uses < uses).ok_or(Refusal(438))?;
        known.uses += 1;
        let expires = username.split(':').next().and_then(|it| it.parse().ok()).map(Duration::from_secs);
        let is_valid = expires.is_some_and(|expires| now.duration_since(self.start) < expires);
        let is_genuine = key.is_some_and(|key| request.is_signed_with(key));
        if is_valid && is_genuine && request.text(stun::REALM) == Some(REALM_TEXT) { Ok(()) } else { Err(Refusal(401)) }
    }

    fn serve(&mut self, request: &Request<'_>, from: SocketAddr, now: Instant) -> Result<Answer, Refusal> {
        if request.unknown().is_some() {
            return Err(Refusal(420));
        }
        match request.method {
            stun::ALLOCATE => self.allocate(request, from, now),
            stun::REFRESH => self.refresh(request, from, now),
            stun::CHANNEL_BIND => self.bind(request, from, now),
            // Permissions come with channels.
            _ => Ok(request.success()),
        }
    }

    fn allocate(&mut self, request: &Request<'_>, from: SocketAddr, now: Instant) -> Result<Answer, Refusal> {
        if self.allocations.contains_key(&from) {
            return Err(Refusal(437));
        }
        if self.allocations.len() >= self.capacity {
            return Err(Refusal(508));
        }
        if request.get(stun::REQUESTED_TRANSPORT) != Some(&[17, 0, 0, 0]) {
            return Err(Refusal(400));
        }
        let (wanted, additional) =
            (request.get(stun::REQUESTED_ADDRESS_FAMILY), request.get(stun::ADDITIONAL_ADDRESS_FAMILY));
        let (wants_v4, wants_v6) = match (wanted, additional) {
            (None, None) | (Some([1, ..]), None) => (true, false),
            (Some([2, ..]), None) => (false, true),
            (None, Some([2, ..])) => (true, true),
            _ => return Err(Refusal(400)),
        };
        let has = |v6: bool| self.addresses.iter().any(|it| it.is_ipv6() == v6);
        if wants_v4 && !has(false) || !wants_v4 && !has(true) {
            return Err(Refusal(440));
        }
        let username = request.text(stun::USERNAME).ok_or(Refusal(401))?;
        self.allocations.retain(|_, allocation| allocation.username != username);

        let is_dual = wants_v6 && has(true);
        let port = self.free_port();
        let lifetime = granted(request);
        let expires = now + Duration::from_secs(u64::from(lifetime));
        let allocation = Allocation::new(username, port, wants_v4, is_dual, expires);
        let mut answer = request.success().with_address(stun::XOR_MAPPED_ADDRESS, from);
        for address in [(allocation.v4, false), (allocation.v6, true)]
            .into_iter()
            .filter_map(|(is_granted, v6)| self.lent(port, v6).filter(|_| is_granted))
        {
            answer = answer.with_address(stun::XOR_RELAYED_ADDRESS, address);
        }
        self.allocations.insert(from, allocation);
        Ok(answer.with(stun::LIFETIME, &lifetime.to_be_bytes()))
    }

    fn refresh(&mut self, request: &Request<'_>, from: SocketAddr, now: Instant) -> Result<Answer, Refusal> {
        let allocation = self.allocations.get_mut(&from).ok_or(Refusal(437))?;
        let lifetime = granted(request);
        allocation.expires = now + Duration::from_secs(u64::from(lifetime));
        if lifetime == 0 {
            self.allocations.remove(&from);
        }
        Ok(request.success().with(stun::LIFETIME, &lifetime.to_be_bytes()))
    }

    fn bind(&mut self, request: &Request<'_>, from: SocketAddr, now: Instant) -> Result<Answer, Refusal> {
        let allocation = self.allocations.get_mut(&from).ok_or(Refusal(437))?;
        let number =
            request.number(stun::CHANNEL_NUMBER).and_then(|it| u16::try_from(it >> 16).ok()).ok_or(Refusal(400))?;
        let peer = request.xor_address(stun::XOR_PEER_ADDRESS).ok_or(Refusal(400))?;
        if !allocation.has_family_of(peer.ip()) {
            return Err(Refusal(443));
        }
        if !CHANNELS.contains(&number) || !allocation.bind(number, peer, now) {
            return Err(Refusal(400));
        }
        Ok(request.success())
    }

    fn refuse(&mut self, request: &Request<'_>, code: u16, from: SocketAddr, now: Instant) -> Answer {
        let answer = request.error(code);
        if !matches!(code, 401 | 438) {
            return answer;
        }
        self.nonce_count += 1;
        let text = format!("{:08x}-0000-4000-8000-{:012x}", self.secret, self.nonce_count);
        let answer = answer.with(stun::REALM, REALM_TEXT.as_bytes()).with(stun::NONCE, text.as_bytes());
        self.nonces.insert(from, Nonce { text, uses: 0, since: now });
        answer
    }

    fn free_port(&mut self) -> u16 {
        loop {
            self.next_port = self.next_port.checked_add(1).unwrap_or(49_152);
            if !self.allocations.values().any(|it| it.port == self.next_port) {
                return self.next_port;
            }
        }
    }

    /// The password that belongs to a user name of the form `expiry:salt`.
    fn password(&self, username: &str) -> Option<String> {
        let (expiry, salt) = username.split_once(':')?;
        Some(STANDARD_NO_PAD.encode(Sha256::digest(format!("{expiry}:{}:{salt}", self.secret))))
    }
}

fn granted(request: &Request<'_>) -> u32 {
    let [usual, most] = LIFETIMES;
    request.number(stun::LIFETIME).map_or(usual, |wanted| wanted.min(most))
}
