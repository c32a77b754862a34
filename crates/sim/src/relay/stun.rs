//! A minimal STUN server implementation (RFC 8489), independent of the client's.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac as _};
use sha1::Sha1;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const HEADER: usize = 20;

pub(super) const BINDING: u16 = 0x001;
pub(super) const ALLOCATE: u16 = 0x003;
pub(super) const REFRESH: u16 = 0x004;
pub(super) const CREATE_PERMISSION: u16 = 0x008;
pub(super) const CHANNEL_BIND: u16 = 0x009;

pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const CHANNEL_NUMBER: u16 = 0x000C;
pub(super) const LIFETIME: u16 = 0x000D;
pub(super) const XOR_PEER_ADDRESS: u16 = 0x0012;
pub(super) const REALM: u16 = 0x0014;
pub(super) const NONCE: u16 = 0x0015;
pub(super) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
pub(super) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
pub(super) const REQUESTED_TRANSPORT: u16 = 0x0019;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
const SOFTWARE: u16 = 0x8022;

/// The attributes that are understood.
const KNOWN: [u16; 13] = [
    USERNAME,
    MESSAGE_INTEGRITY,
    CHANNEL_NUMBER,
    LIFETIME,
    XOR_PEER_ADDRESS,
    REALM,
    NONCE,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    ADDITIONAL_ADDRESS_FAMILY,
    SOFTWARE,
    ERROR_CODE,
    XOR_MAPPED_ADDRESS,
];

/// A request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: u16,
    id: [u8; 12],
    attributes: Vec<(u16, &'a [u8])>,
    /// Offset of the integrity attribute.
    signed: usize,
    bytes: &'a [u8],
}

/// A response under construction.
#[derive(Debug)]
pub(super) struct Response(Vec<u8>);

/// The key of long-term credentials.
pub(super) fn key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    md5::compute(format!("{username}:{realm}:{password}")).0
}

impl<'a> Request<'a> {
    /// Parses a request; `None` for other messages.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let kind = u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
        let is_request = kind & 0xC110 == 0;
        if !is_request || bytes.get(4..8)? != COOKIE || length + HEADER != bytes.len() || length % 4 != 0 {
            return None;
        }
        let id = bytes.get(8..HEADER)?.try_into().ok()?;
        let mut this = Self { method: kind, id, attributes: Vec::new(), signed: 0, bytes };
        let mut at = HEADER;
        while at < bytes.len() {
            let code = u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
            let length = usize::from(u16::from_be_bytes(bytes.get(at + 2..at + 4)?.try_into().ok()?));
            let value = bytes.get(at + 4..at + 4 + length)?;
            let padding = bytes.get(at + 4 + length..at + 4 + length.next_multiple_of(4))?;
            assert!(padding.iter().all(|byte| *byte == 0), "padding has to be zero");
            assert!(this.signed == 0, "nothing may follow the integrity");
            if code == MESSAGE_INTEGRITY {
                this.signed = at;
            }
            this.attributes.push((code, value));
            at += 4 + length.next_multiple_of(4);
        }
        Some(this)
    }

    pub(super) fn get(&self, code: u16) -> Option<&'a [u8]> {
        self.attributes.iter().find(|(it, _)| *it == code).map(|(_, value)| *value)
    }

    pub(super) fn text(&self, code: u16) -> Option<&'a str> {
        self.get(code).and_then(|value| std::str::from_utf8(value).ok())
    }

    pub(super) fn number(&self, code: u16) -> Option<u32> {
        self.get(code).and_then(|value| value.try_into().ok()).map(u32::from_be_bytes)
    }

    /// A comprehension-required attribute that is unknown.
    pub(super) fn unknown(&self) -> Option<u16> {
        self.attributes.iter().map(|(code, _)| *code).find(|code| *code < 0x8000 && !KNOWN.contains(code))
    }

    /// The address in an XOR-encoded attribute.
    pub(super) fn xor_address(&self, code: u16) -> Option<SocketAddr> {
        let value = self.get(code)?;
        let port = u16::from_be_bytes(value.get(2..4)?.try_into().ok()?) ^ 0x2112;
        let mask: Vec<u8> = COOKIE.into_iter().chain(self.id).collect();
        let ip: Vec<u8> = value.get(4..)?.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect();
        let ip = match value.get(1)? {
            1 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
            2 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Whether the integrity was made with `key`.
    pub(super) fn is_signed_with(&self, key: [u8; 16]) -> bool {
        let Some(integrity) = self.get(MESSAGE_INTEGRITY) else { return false };
        integrity == sign(self.bytes[..self.signed].to_vec(), key)
    }

    pub(super) fn success(&self) -> Response {
        self.response(0x0100)
    }

    pub(super) fn error(&self, code: u16) -> Response {
        let [class, number] = [code / 100, code % 100].map(|it| u8::try_from(it).expect("a STUN error code"));
        self.response(0x0110).with(ERROR_CODE, &[0, 0, class, number])
    }

    fn response(&self, class: u16) -> Response {
        let mut bytes = (self.method | class).to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(COOKIE);
        bytes.extend(self.id);
        Response(bytes)
    }
}

impl Response {
    pub(super) fn with(mut self, code: u16, value: &[u8]) -> Self {
        self.0.extend(code.to_be_bytes());
        self.0.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn with_address(self, code: u16, address: SocketAddr) -> Self {
        let mask: Vec<u8> = self.0[4..HEADER].to_vec();
        let (family, ip) = match address.ip() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (2, ip.octets().to_vec()),
        };
        let mut value = vec![0, family];
        value.extend((address.port() ^ 0x2112).to_be_bytes());
        value.extend(ip.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        self.with(code, &value)
    }

    pub(super) fn signed_with(self, key: Option<[u8; 16]>) -> Vec<u8> {
        let mut bytes = self.0;
        if let Some(key) = key {
            let integrity = sign(bytes.clone(), key);
            bytes = Self(bytes).with(MESSAGE_INTEGRITY, &integrity).0;
        }
        set_length(&mut bytes, 0);
        bytes
    }
}

/// The integrity value of a message.
fn sign(mut bytes: Vec<u8>, key: [u8; 16]) -> [u8; 20] {
    set_length(&mut bytes, 24);
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).expect("a key of any length");
    mac.update(&bytes);
    mac.finalize().into_bytes().into()
}

fn set_length(bytes: &mut [u8], more: usize) {
    let length = u16::try_from(bytes.len() - HEADER + more).expect("short");
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}
