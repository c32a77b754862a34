//! A STUN/TURN server with the observable behaviour of the official relays.
//!
//! It requires long-term credentials from the first request on, issues nonces that are bound to the client's address and
//! expire, allocates the same port in both families, keeps one allocation per user name, and forwards on channels only.

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
    stun::{Request, Response},
};

const REALM: &str = "firezone";
/// Default and maximum lifetime of an allocation in seconds.
const LIFETIMES: [u32; 2] = [600, 3600];
/// Channel numbers that a client may bind.
const CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x4FFF;
/// How often a nonce may be used.
const MAX_NONCE_USES: u32 = 10_000;
/// Lifetime of a nonce.
const NONCE_LIFETIME: Duration = Duration::from_secs(3_600);

/// A relay.
#[derive(Debug)]
pub struct Relay {
    /// Its id, which changes with a restart.
    pub id: RelayId,
    /// The addresses on which it listens, one per family.
    pub addresses: Vec<SocketAddr>,
    /// Differences from the official relays.
    pub habits: Habits,
    /// Maximum number of allocations.
    pub capacity: usize,
    /// Whether it responds.
    pub is_up: bool,
    /// Expiry of the credentials issued from now on.
    pub credentials_expire: Option<Instant>,
    /// Counts of requests by outcome.
    pub asked: Asked,
    secret: u64,
    nonces: BTreeMap<SocketAddr, Nonce>,
    nonce_count: u64,
    nonce_uses: u32,
    /// By client address.
    allocations: BTreeMap<SocketAddr, Allocation>,
    next_port: u16,
    start: Instant,
}

/// Behaviours that differ between relays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Habits {
    /// Whether error responses are signed.
    pub signs_errors: bool,
    /// Whether integrity without nonce is rejected as a bad request.
    pub requires_nonce: bool,
}

/// Counts of requests by name and error code, 0 for success.
pub type Asked = BTreeMap<(&'static str, u16), usize>;

/// A datagram of the relay: source, destination, payload.
pub type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

#[derive(Debug)]
struct Nonce {
    text: String,
    uses: u32,
    since: Instant,
}

/// The error code of a rejected request.
struct Rejection(u16);

impl Habits {
    /// The official relays.
    pub const OFFICIAL: Self = Self { signs_errors: true, requires_nonce: false };
    /// coturn.
    pub const COTURN: Self = Self { signs_errors: false, requires_nonce: true };
}

impl Relay {
    /// A new relay.
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
            nonce_uses: MAX_NONCE_USES,
            allocations: BTreeMap::new(),
            next_port: 50_000,
            start,
        }
    }

    /// The portal's entry for the client with this key.
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

    /// Loses all nonces and allocations, as after a long network outage.
    pub fn forget_clients(&mut self) {
        self.nonces.clear();
        self.allocations.clear();
    }

    /// Restarts with another id at the same addresses. Former credentials become invalid.
    pub fn restart(&mut self, id: u128) {
        self.forget_clients();
        self.id = RelayId::from_u128(id);
        self.secret += 1;
    }

    /// All nonces expire.
    pub fn change_nonces(&mut self) {
        self.nonces.clear();
    }

    /// Nonces expire after this many uses.
    pub fn limit_nonces(&mut self, uses: u32) {
        self.nonce_uses = uses;
    }

    /// The number of clients with an allocation.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.allocations.len()
    }

    /// The number of requests with this name.
    #[must_use]
    pub fn count(&self, what: &str) -> usize {
        self.asked.iter().filter(|((name, _), _)| *name == what).map(|(_, count)| count).sum()
    }

    /// The number of requests with this name and result code, 0 for success.
    #[must_use]
    pub fn answered(&self, what: &'static str, code: u16) -> usize {
        self.asked.get(&(what, code)).copied().unwrap_or_default()
    }

    /// Whether it owns this address.
    #[must_use]
    pub fn owns(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip() == ip)
    }

    /// Handles a datagram. Returns the datagrams to send.
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
        Some((self.relayed_address(allocation.port, peer.is_ipv6())?, peer, payload.to_vec()))
    }

    fn relayed_address(&self, port: u16, v6: bool) -> Option<SocketAddr> {
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
        let key = request.text(stun::USERNAME).and_then(|name| Some(stun::key(name, REALM, &self.password(name)?)));
        let outcome = match request.method {
            stun::BINDING => Ok(request.success().with_address(stun::XOR_MAPPED_ADDRESS, from)),
            _ => self.authenticate(&request, key, from, now).and_then(|()| self.serve(&request, from, now)),
        };
        let code = outcome.as_ref().err().map_or(0, |Rejection(code)| *code);
        *self.asked.entry((name, code)).or_default() += 1;
        Some(match outcome {
            Ok(answer) => answer.signed_with(key.filter(|_| request.method != stun::BINDING)),
            Err(Rejection(code)) => {
                self.reject(&request, code, from, now).signed_with(key.filter(|_| self.habits.signs_errors))
            }
        })
    }

    /// The checks in the order of the official relays.
    fn authenticate(
        &mut self,
        request: &Request<'_>,
        key: Option<[u8; 16]>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<(), Rejection> {
        request.get(stun::MESSAGE_INTEGRITY).ok_or(Rejection(401))?;
        let username = request.text(stun::USERNAME).ok_or(Rejection(401))?;
        let without_nonce = if self.habits.requires_nonce { 400 } else { 401 };
        let nonce = request.text(stun::NONCE).ok_or(Rejection(without_nonce))?;
        let uses = self.nonce_uses;
        let known = self.nonces.get_mut(&from).filter(|it| it.text == nonce && it.uses < uses).ok_or(Rejection(438))?;
        known.uses += 1;
        let expires = username.split(':').next().and_then(|it| it.parse().ok()).map(Duration::from_secs);
        let is_valid = expires.is_some_and(|expires| now.duration_since(self.start) < expires);
        let is_genuine = key.is_some_and(|key| request.is_signed_with(key));
        if is_valid && is_genuine && request.text(stun::REALM) == Some(REALM) { Ok(()) } else { Err(Rejection(401)) }
    }

    fn serve(&mut self, request: &Request<'_>, from: SocketAddr, now: Instant) -> Result<Response, Rejection> {
        if request.unknown().is_some() {
            return Err(Rejection(420));
        }
        match request.method {
            stun::ALLOCATE => self.allocate(request, from, now),
            stun::REFRESH => self.refresh(request, from, now),
            stun::CHANNEL_BIND => self.bind(request, from, now),
            // Permissions come with channels.
            _ => Ok(request.success()),
        }
    }

    fn allocate(&mut self, request: &Request<'_>, from: SocketAddr, now: Instant) -> Result<Response, Rejection> {
        if self.allocations.contains_key(&from) {
            return Err(Rejection(437));
        }
        if self.allocations.len() >= self.capacity {
            return Err(Rejection(508));
        }
        if request.get(stun::REQUESTED_TRANSPORT) != Some(&[17, 0, 0, 0]) {
            return Err(Rejection(400));
        }
        let (wanted, additional) =
            (request.get(stun::REQUESTED_ADDRESS_FAMILY), request.get(stun::ADDITIONAL_ADDRESS_FAMILY));
        let (wants_v4, wants_v6) = match (wanted, additional) {
            (None, None) | (Some([1, ..]), None) => (true, false),
            (Some([2, ..]), None) => (false, true),
            (None, Some([2, ..])) => (true, true),
            _ => return Err(Rejection(400)),
        };
        let has = |v6: bool| self.addresses.iter().any(|it| it.is_ipv6() == v6);
        if wants_v4 && !has(false) || !wants_v4 && !has(true) {
            return Err(Rejection(440));
        }
        let username = request.text(stun::USERNAME).ok_or(Rejection(401))?;
        self.allocations.retain(|_, allocation| allocation.username != username);

        let is_dual = wants_v6 && has(true);
        let port = self.free_port();
        let lifetime = granted(request);
        let expires = now + Duration::from_secs(u64::from(lifetime));
        let allocation = Allocation::new(username, port, wants_v4, is_dual, expires);
        let mut answer = request.success().with_address(stun::XOR_MAPPED_ADDRESS, from);
        for address in [(allocation.v4, false), (allocation.v6, true)]
            .into_iter()
            .filter_map(|(is_granted, v6)| self.relayed_address(port, v6).filter(|_| is_granted))
        {
            answer = answer.with_address(stun::XOR_RELAYED_ADDRESS, address);
        }
        self.allocations.insert(from, allocation);
        Ok(answer.with(stun::LIFETIME, &lifetime.to_be_bytes()))
    }

    fn refresh(&mut self, request: &Request<'_>, from: SocketAddr, now: Instant) -> Result<Response, Rejection> {
        let allocation = self.allocations.get_mut(&from).ok_or(Rejection(437))?;
        let lifetime = granted(request);
        allocation.expires = now + Duration::from_secs(u64::from(lifetime));
        if lifetime == 0 {
            self.allocations.remove(&from);
        }
        Ok(request.success().with(stun::LIFETIME, &lifetime.to_be_bytes()))
    }

    fn bind(&mut self, request: &Request<'_>, from: SocketAddr, now: Instant) -> Result<Response, Rejection> {
        let allocation = self.allocations.get_mut(&from).ok_or(Rejection(437))?;
        let number =
            request.number(stun::CHANNEL_NUMBER).and_then(|it| u16::try_from(it >> 16).ok()).ok_or(Rejection(400))?;
        let peer = request.xor_address(stun::XOR_PEER_ADDRESS).ok_or(Rejection(400))?;
        if !allocation.has_family_of(peer.ip()) {
            return Err(Rejection(443));
        }
        if !CHANNEL_NUMBERS.contains(&number) || !allocation.bind(number, peer, now) {
            return Err(Rejection(400));
        }
        Ok(request.success())
    }

    fn reject(&mut self, request: &Request<'_>, code: u16, from: SocketAddr, now: Instant) -> Response {
        let answer = request.error(code);
        if !matches!(code, 401 | 438) {
            return answer;
        }
        self.nonce_count += 1;
        let text = format!("{:08x}-0000-4000-8000-{:012x}", self.secret, self.nonce_count);
        let answer = answer.with(stun::REALM, REALM.as_bytes()).with(stun::NONCE, text.as_bytes());
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

    /// The password for a user name of the form `expiry:salt`.
    fn password(&self, username: &str) -> Option<String> {
        let (expiry, salt) = username.split_once(':')?;
        Some(STANDARD_NO_PAD.encode(Sha256::digest(format!("{expiry}:{}:{salt}", self.secret))))
    }
}

fn granted(request: &Request<'_>) -> u32 {
    let [default, max] = LIFETIMES;
    request.number(stun::LIFETIME).map_or(default, |wanted| wanted.min(max))
}
