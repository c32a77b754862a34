//! What the daemon, the command line and the desktop app promise each other: names, types, errors and proxies.
//!
//! Nothing here behaves. The daemon implements the same vocabulary, a test compares its live introspection with the
//! files in `xml/`, and those are installed for third parties. The contract only grows; whatever may grow is a
//! dictionary (`a{sv}`) here, and every key of it is optional on read.
//!
//! * [`client`], [`resources`], [`dns`], [`diagnostics`], [`settings`] – the interfaces
//! * [`status`] – the private part of the state; [`warning`] – what does not work as it should
//! * [`state`], [`reason`] – the closed sets of states and reasons; [`phase`] – the pairs of them that occur
//! * [`error`] – the errors, one remedy each, and how a bus that is not there is told from one that refuses
//! * [`callback`] – what front ends promise each other
//! * [`status_file`] – what the daemon leaves for those who cannot ask it

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod callback;
pub mod client;
pub mod diagnostics;
mod dictionary;
pub mod dns;
pub mod error;
pub mod phase;
pub mod reason;
pub mod resources;
pub mod settings;
pub mod state;
pub mod status;
pub mod status_file;
mod vocabulary;
pub mod warning;

pub use client::{ClientProxy, Permission, SignInOptions};
pub use diagnostics::{Check, DiagnosticsProxy, ResourcePath, Verdict};
pub use dns::DnsProxy;
pub use error::Error;
pub use phase::Phase;
pub use reason::{ConnectionProblem, NetworkProblem, Reason, SignOutCause};
pub use resources::{Condition, Refusal, Resource, ResourceKind, ResourceStatus, ResourcesProxy};
pub use settings::{Setting, SettingsProxy};
pub use state::State;
pub use status::{Device, Gateway, PathKind, PortalState, Status};
pub use status_file::{Mode, StatusFile};
pub use warning::{Warning, WarningCode};

/// The name that only the daemon may own.
pub const BUS_NAME: &str = "dev.firezone.Client";
/// The one object.
pub const PATH: &str = "/dev/firezone/Client";
/// Where the same objects are on a machine without a system bus, to be spoken to directly. For root and the group
/// `firezone`.
pub const PRIVATE_SOCKET: &str = "/run/dev.firezone.client/bus";

/// Whose members may command, unless polkit's rules say otherwise.
pub const GROUP: &str = "firezone";
/// The service, as systemd knows it.
pub const UNIT: &str = "firezone-client.service";

/// The interfaces and their descriptions.
pub const INTERFACES: [(&str, &str); 5] = [
    ("dev.firezone.Client1", include_str!("../xml/dev.firezone.Client1.xml")),
    ("dev.firezone.Client1.Dns", include_str!("../xml/dev.firezone.Client1.Dns.xml")),
    ("dev.firezone.Client1.Resources", include_str!("../xml/dev.firezone.Client1.Resources.xml")),
    ("dev.firezone.Client1.Diagnostics", include_str!("../xml/dev.firezone.Client1.Diagnostics.xml")),
    ("dev.firezone.Client1.Settings", include_str!("../xml/dev.firezone.Client1.Settings.xml")),
];
