//! What happens to a simulated session: the token says it with a word.

use session::{HostEvent, Input, PortalEvent, Reason};

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
            Self::Rejected(reason) => vec![PortalEvent::Ended(reason.clone()).into()],
            Self::NotJoined(reason) => vec![PortalEvent::Lost(reason.clone()).into()],
            Self::NoNetwork => vec![HostEvent::NetworkLost.into(), PortalEvent::Lost(Reason::NoNetwork).into()],
            // The captive portal answers in the portal's place, with a certificate of its own.
            Self::CaptivePortal => {
                vec![HostEvent::CaptivePortal(true).into(), PortalEvent::Lost(Reason::PortalTls).into()]
            }
            Self::Suspended => {
                vec![HostEvent::Sleeping(true).into(), PortalEvent::Lost(Reason::PortalUnreachable).into()]
            }
        }
    }

    /// What is reported some time after joining the portal.
    pub(super) fn after_joining(&self) -> Option<Input> {
        match self {
            Self::Revoked => Some(PortalEvent::Ended(Reason::TokenExpired).into()),
            Self::Lost(reason) => Some(PortalEvent::Lost(reason.clone()).into()),
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
            Self::NoNetwork => Some(HostEvent::NetworkChanged.into()),
            Self::CaptivePortal => Some(HostEvent::CaptivePortal(false).into()),
            Self::Suspended => Some(HostEvent::Sleeping(false).into()),
            Self::Connects
            | Self::Rejected(_)
            | Self::Revoked
            | Self::NotJoined(_)
            | Self::Lost(_)
            | Self::InterfaceBusy => None,
        }
    }
}
