//! The messages between us and a relay (RFC 8489, RFC 8656): requests as bytes, answers as values.

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
    rfc8656::attributes::{AdditionalAddressFamily, AddressFamily},
};

pub(crate) use stun_codec::TransactionId;

use super::credentials::Credentials;

/// What we call ourselves.
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
        RequestedTransport,
        Software,
        UnknownAttributes,
        Username,
        XorMappedAddress,
        XorPeerAddress,
        XorRelayAddress
    ]
);

/// Something that we ask of a relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// Which address do you see?
    Binding,
    /// Lend us an address.
    Allocate,
    /// We still need the address, or not any more.
    Refresh(Refresh),
    /// Connect a channel number with a peer's address.
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
    /// Keep the address for us. Repeats what the allocation was made with.
    Renew,
    /// The same with nothing but what RFC 8656 section 7 lists, for relays that insist on that.
    RenewPlainly,
    /// Give the address up.
    Delete,
}

/// A message from a relay that answers a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer(Message<Attribute>);

impl Request {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Binding => BINDING,
            Self::Allocate => ALLOCATE,
            Self::Refresh(_) => REFRESH,
            Self::ChannelBind { .. } => CHANNEL_BIND,
        }
    }

    /// The request as bytes. `None` if the credentials cannot be carried in a message.
    pub(crate) fn encode(self, id: TransactionId, software: &str, credentials: &Credentials) -> Option<Vec<u8>> {
        let mut message = Message::<Attribute>::new(MessageClass::Request, self.method(), id);
        match self {
            Self::Binding | Self::Refresh(Refresh::RenewPlainly) => {}
            Self::Allocate | Self::Refresh(Refresh::Renew | Refresh::Delete) => {
                message.add_attribute(RequestedTransport::new(UDP));
                message.add_attribute(AdditionalAddressFamily::new(AddressFamily::V6));
            }
            Self::ChannelBind { number, peer } => {
                message.add_attribute(XorPeerAddress::new(peer));
                message.add_attribute(ChannelNumber::new(number).ok()?);
            }
        }
        message.add_attribute(Software::new(software.to_owned()).ok()?);
        if self == Self::Refresh(Refresh::Delete) {
            message.add_attribute(Lifetime::from_u32(0));
        }
        if self != Self::Binding && credentials.name_us() {
            authenticate(&mut message, credentials)?;
        }
        MessageEncoder::new().encode_into_bytes(message).ok()
    }
}

impl Answer {
    /// Parses an answer to one of our requests. Anything else, and anything malformed, is `None`.
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

    pub(crate) fn answers(&self, request: Request) -> bool {
        self.0.method() == request.method()
    }

    /// Whether the relay proves that it knows our password.
    pub(crate) fn is_authentic(&self, credentials: &Credentials) -> bool {
        self.0.get_attribute::<MessageIntegrity>().is_some_and(|integrity| credentials.verify(integrity))
    }

    /// The error code; an error without one counts as 500. `None` for success.
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

    /// Our address as the relay sees it.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        self.0.get_attribute::<XorMappedAddress>().map(XorMappedAddress::address)
    }

    /// The addresses that the relay lends us.
    pub(crate) fn relayed(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.attributes().filter_map(|attribute| match attribute {
            Attribute::XorRelayAddress(relayed) => Some(relayed.address()),
            _ => None,
        })
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
