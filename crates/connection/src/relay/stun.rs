//! Encoding requests to relays and decoding their responses (RFC 8489, RFC 8656).

use std::{net::SocketAddr, time::Duration};

use bytecodec::{DecodeExt as _, EncodeExt as _};
use stun_codec::{
    Message, MessageClass, MessageDecoder, MessageEncoder, Method, define_attribute_enums,
    rfc5389::{
        attributes::{
            ErrorCode, MessageIntegrity, Nonce, Realm, Software, UnknownAttributes, Username, XorMappedAddress,
        },
        methods::BINDING,
    },
    rfc5766::{
        attributes::{ChannelNumber, Lifetime, RequestedTransport, XorPeerAddress, XorRelayAddress},
        methods::{ALLOCATE, CHANNEL_BIND, REFRESH},
    },
    rfc8656::attributes::{AdditionalAddressFamily, AddressFamily, RequestedAddressFamily},
};

pub(crate) use stun_codec::TransactionId;

use super::credentials::Credentials;

/// Our value of the SOFTWARE attribute.
pub(crate) const SOFTWARE: &str = concat!("firezone-linux/", env!("CARGO_PKG_VERSION"));

/// The protocol number of UDP.
const UDP: u8 = 17;

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
        RequestedAddressFamily,
        RequestedTransport,
        Software,
        UnknownAttributes,
        Username,
        XorMappedAddress,
        XorPeerAddress,
        XorRelayAddress
    ]
);

/// A request to a relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// Report the source address of this request.
    Binding,
    /// Allocate addresses.
    Allocate,
    /// Renew or delete the allocation.
    Refresh(Refresh),
    /// Bind a channel number to a peer's address.
    ChannelBind {
        /// The channel.
        number: u16,
        /// The peer.
        peer: SocketAddr,
    },
}

/// Kinds of refresh requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refresh {
    /// Extend the lifetime.
    Renew,
    /// Delete the allocation.
    Delete,
}

/// Forms of requests that a relay accepts, learned from its error responses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RelayQuirks {
    /// The address families that it can allocate.
    pub(crate) families: Families,
    /// The form of refresh requests.
    pub(crate) refresh: RefreshForm,
}

/// The address families that are requested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Families {
    /// Both; the relay may grant only one of them.
    Both,
    /// Only IPv6, because the relay has no IPv4 address.
    OnlyV6,
}

/// The attributes of refresh requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RefreshForm {
    /// Those of the allocation are repeated.
    Full,
    /// Only those listed in RFC 8656, section 7.1, because the relay rejects others.
    Minimal,
}

/// A response of a relay.
#[derive(Clone, Debug)]
pub(crate) struct Response(Message<Attribute>);

impl Request {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Binding => BINDING,
            Self::Allocate => ALLOCATE,
            Self::Refresh(_) => REFRESH,
            Self::ChannelBind { .. } => CHANNEL_BIND,
        }
    }

    /// The encoded request. `None` if the credentials do not fit into a message.
    pub(crate) fn encode(
        self,
        id: TransactionId,
        software: &str,
        quirks: RelayQuirks,
        credentials: &Credentials,
    ) -> Option<Vec<u8>> {
        let mut message = Message::<Attribute>::new(MessageClass::Request, self.method(), id);
        match self {
            Self::Binding => {}
            Self::Allocate => add_families(&mut message, quirks.families),
            Self::Refresh(_) if quirks.refresh == RefreshForm::Full => add_families(&mut message, quirks.families),
            Self::Refresh(_) => {}
            Self::ChannelBind { number, peer } => {
                message.add_attribute(XorPeerAddress::new(peer));
                message.add_attribute(ChannelNumber::new(number).ok()?);
            }
        }
        message.add_attribute(Software::new(software.to_owned()).ok()?);
        if self == Self::Refresh(Refresh::Delete) {
            message.add_attribute(Lifetime::from_u32(0));
        }
        if self != Self::Binding && credentials.should_authenticate() {
            authenticate(&mut message, credentials)?;
        }
        MessageEncoder::new().encode_into_bytes(message).ok()
    }
}

impl RelayQuirks {
    /// The forms used before an error response.
    pub(crate) const DEFAULT: Self = Self { families: Families::Both, refresh: RefreshForm::Full };
}

impl Response {
    /// Parses a response. `None` for other and malformed messages.
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        let message = MessageDecoder::<Attribute>::new().decode_from_bytes(datagram).ok()?.ok()?;
        match message.class() {
            MessageClass::SuccessResponse | MessageClass::ErrorResponse => Some(Self(message)),
            MessageClass::Request | MessageClass::Indication => None,
        }
    }

    pub(crate) fn id(&self) -> TransactionId {
        self.0.transaction_id()
    }

    pub(crate) fn is_for(&self, request: Request) -> bool {
        self.0.method() == request.method()
    }

    /// Whether the response was signed with our password.
    pub(crate) fn is_authentic(&self, credentials: &Credentials) -> bool {
        self.0.get_attribute::<MessageIntegrity>().is_some_and(|integrity| credentials.verify(integrity))
    }

    /// The error code, 500 for an error without code; `None` for success.
    pub(crate) fn error(&self) -> Option<u16> {
        (self.0.class() == MessageClass::ErrorResponse)
            .then(|| self.0.get_attribute::<ErrorCode>().map_or(500, ErrorCode::code))
    }

    pub(crate) fn realm(&self) -> Option<&str> {
        self.0.get_attribute::<Realm>().map(Realm::text)
    }

    pub(crate) fn nonce(&self) -> Option<&str> {
        self.0.get_attribute::<Nonce>().map(Nonce::value)
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.0.get_attribute::<Lifetime>().map(Lifetime::lifetime)
    }

    /// The source address of the request as the relay observed it.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        self.0.get_attribute::<XorMappedAddress>().map(XorMappedAddress::address)
    }

    /// The allocated addresses.
    pub(crate) fn relayed(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.attributes().filter_map(|attribute| match attribute {
            Attribute::XorRelayAddress(relayed) => Some(relayed.address()),
            _ => None,
        })
    }
}

fn add_families(message: &mut Message<Attribute>, families: Families) {
    message.add_attribute(RequestedTransport::new(UDP));
    match families {
        Families::Both => message.add_attribute(AdditionalAddressFamily::new(AddressFamily::V6)),
        Families::OnlyV6 => message.add_attribute(RequestedAddressFamily::new(AddressFamily::V6)),
    }
}

fn authenticate(message: &mut Message<Attribute>, credentials: &Credentials) -> Option<()> {
    let (username, realm) = credentials.attributes()?;
    message.add_attribute(username.clone());
    message.add_attribute(realm.clone());
    if let Some(nonce) = credentials.nonce() {
        message.add_attribute(Nonce::new(nonce.to_owned()).ok()?);
    }
    let integrity =
        MessageIntegrity::new_long_term_credential(message, &username, &realm, credentials.password()).ok()?;
    message.add_attribute(integrity);
    Some(())
}

#[cfg(test)]
mod tests {
    use model::Secret;

    use super::*;

    const ID: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn credentials() -> Credentials {
        Credentials::new("1700000000:abcd".to_owned(), Secret::from("sekret"))
    }

    fn with_nonce() -> Credentials {
        let mut credentials = credentials();
        credentials.set_nonce("2f0b6f3e-5a35-4b2b-9d5b-0d7a4f3c1e55".to_owned());
        credentials
    }

    fn encode(request: Request, credentials: &Credentials) -> Vec<u8> {
        request.encode(TransactionId::new(ID), "snownet", RelayQuirks::DEFAULT, credentials).unwrap()
    }

    #[test]
    fn requests_match_recorded_bytes() {
        let peer = SocketAddr::from(([203, 0, 113, 9], 60_000));
        let cases = [
            (Request::Binding, credentials(), "0001000c2112a442000102030405060708090a0b80220007736e6f776e657400"),
            (
                Request::Allocate,
                credentials(),
                "000300542112a442000102030405060708090a0b0019000411000000800000040200000080220007736e6f776e65740000060
                 00f313730303030303030303a616263640000140008666972657a6f6e65000800145eb5f119155ab3f85aa381c5edfe3d28d17f
                 0c86",
            ),
            (
                Request::Allocate,
                with_nonce(),
                "0003007c2112a442000102030405060708090a0b0019000411000000800000040200000080220007736e6f776e65740000060
                 00f313730303030303030303a616263640000140008666972657a6f6e650015002432663062366633652d356133352d346232
                 622d396435622d30643761346633633165353500080014e848e1991a28ef7f8e70990c3b8d68931327e7c7",
            ),
            (
                Request::Refresh(Refresh::Delete),
                with_nonce(),
                "000400842112a442000102030405060708090a0b0019000411000000800000040200000080220007736e6f776e657400000d0
                 004000000000006000f313730303030303030303a616263640000140008666972657a6f6e65001500243266306236663365
                 2d356133352d346232622d396435622d30643761346633633165353500080014f55684a9213fd5bd9f4d2db9e1d9d1a6a39b1a
                 ab",
            ),
            (
                Request::ChannelBind { number: 0x4000, peer },
                with_nonce(),
                "000900802112a442000102030405060708090a0b001200080001cb72ea12d54b000c00044000000080220007736e6f776e6574
                 000006000f313730303030303030303a616263640000140008666972657a6f6e650015002432663062366633652d356133352d
                 346232622d396435622d30643761346633633165353500080014770af38dc987d60e54a07f6a641a3e0b18e0a75e",
            ),
        ];
        for (request, credentials, expected) in cases {
            assert_eq!(encode(request, &credentials), bytes(expected), "{request:?}");
        }
    }

    /// A successful answer to an allocation, signed with the right password.
    fn success() -> Vec<u8> {
        let mut message = Message::<Attribute>::new(MessageClass::SuccessResponse, ALLOCATE, TransactionId::new(ID));
        message.add_attribute(XorRelayAddress::new(SocketAddr::from(([203, 0, 113, 1], 50_000))));
        message.add_attribute(XorRelayAddress::new("[2001:db8::1]:50000".parse().unwrap()));
        message.add_attribute(Lifetime::from_u32(600));
        let (username, realm) = credentials().attributes().unwrap();
        let integrity = MessageIntegrity::new_long_term_credential(&message, &username, &realm, "sekret").unwrap();
        message.add_attribute(integrity);
        MessageEncoder::new().encode_into_bytes(message).unwrap()
    }

    #[test]
    fn response_is_parsed() {
        let response = Response::parse(&success()).unwrap();
        assert!(response.is_for(Request::Allocate) && !response.is_for(Request::Binding));
        assert_eq!(response.error(), None);
        assert_eq!(response.lifetime(), Some(Duration::from_secs(600)));
        assert_eq!(response.relayed().count(), 2);
        assert!(response.is_authentic(&credentials()));
        let stranger = Credentials::new("1700000000:abcd".to_owned(), Secret::from("other"));
        assert!(!response.is_authentic(&stranger));
    }

    #[test]
    fn truncated_response_is_rejected() {
        let response = success();
        for length in 0..response.len() {
            assert!(Response::parse(&response[..length]).is_none(), "cut at {length}");
        }
    }

    #[test]
    fn response_with_a_flipped_bit_is_rejected() {
        /// The first byte of an address has no meaning and is not looked at.
        const MEANINGLESS: [usize; 2] = [24, 36];
        let response = success();
        for bit in (0..response.len() * 8).filter(|bit| !MEANINGLESS.contains(&(bit / 8))) {
            let mut changed = response.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let believed = Response::parse(&changed)
                .is_some_and(|response| response.is_for(Request::Allocate) && response.is_authentic(&credentials()));
            assert!(!believed, "bit {bit}");
        }
    }

    #[test]
    fn request_is_not_parsed_as_response() {
        assert!(Response::parse(&encode(Request::Allocate, &with_nonce())).is_none());
    }
}
