//! What happens to a simulated session: the token says it with a word.

use session::{Input, Reason};

/// The words, and what they stand for. A token without any of them connects and stays connected.
const WORDS: [(&str, Scenario); 11] = [
    ("expired", Scenario::Rejected(Reason::TokenExpired)),
    ("invalid", Scenario::Rejected(Reason::InvalidToken)),
    ("revoked", Scenario::Revoked),
    ("unreachable", Scenario::NotJoined(Reason::PortalUnreachable)),
    ("untrusted", Scenario::NotJoined(Reason::PortalTls)),
    ("lost", Scenario::Lost(Reason::PortalUnreachable)),
    ("intercepted", Scenario::Lost(Reason::PortalTls)),
    ("offline", Scenario::NoNetwork),
    ("captive", Scenario::CaptivePortal),
    ("suspended", Scenario::Suspended),
    ("busy", Scenario::InterfaceBusy),
];

/// The course of a simulated session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scenario {
    /// The session connects.
    Connects,
    /// The portal rejects the token.
    Rejected(Reason),
    /// The session connects, and then the portal rejects the token.
    Revoked,
    /// The portal cannot be joined.
    NotJoined(Reason),
    /// The session connects, and then the connection to the portal is lost.
    Lost(Reason),
    /// There is no network.
    NoNetwork,
    /// The network has a captive portal.
    CaptivePortal,
    /// The machine is suspended.
    Suspended,
    /// Another program uses the network interface.
    InterfaceBusy,
}

impl Scenario {
    pub(super) fn of(token: &str) -> Self {
        WORDS.iter().find(|(word, _)| token.contains(word)).map_or(Self::Connects, |(_, scenario)| scenario.clone())
    }

    /// What is reported instead of joining the portal; nothing if the portal is joined.
    pub(super) fn instead_of_joining(&self) -> Vec<Input> {
        match self {
            Self::Connects | Self::Revoked | Self::Lost(_) | Self::InterfaceBusy => Vec::new(),
            Self::Rejected(reason) => vec![Input::Ended(reason.clone())],
            Self::NotJoined(reason) => vec![Input::Lost(reason.clone())],
            Self::NoNetwork => vec![Input::NetworkLost, Input::Lost(Reason::NoNetwork)],
            // The captive portal answers in the portal's place, with a certificate of its own.
            Self::CaptivePortal => vec![Input::CaptivePortal(true), Input::Lost(Reason::PortalTls)],
            Self::Suspended => vec![Input::Asleep(true), Input::Lost(Reason::PortalUnreachable)],
        }
    }

    /// What is reported some time after joining the portal.
    pub(super) fn after_joining(&self) -> Option<Input> {
        match self {
            Self::Revoked => Some(Input::Ended(Reason::TokenExpired)),
            Self::Lost(reason) => Some(Input::Lost(reason.clone())),
            Self::Connects
            | Self::Rejected(_)
            | Self::NotJoined(_)
            | Self::NoNetwork
            | Self::CaptivePortal
            | Self::Suspended
            | Self::InterfaceBusy => None,
        }
    }

    /// What is reported before the next session, because the session machine remembers it beyond the end of this one.
    pub(super) fn end(&self) -> Option<Input> {
        match self {
            Self::NoNetwork => Some(Input::NetworkChanged),
            Self::CaptivePortal => Some(Input::CaptivePortal(false)),
            Self::Suspended => Some(Input::Asleep(false)),
            Self::Connects
            | Self::Rejected(_)
            | Self::Revoked
            | Self::NotJoined(_)
            | Self::Lost(_)
            | Self::InterfaceBusy => None,
        }
    }
}
