//! The life cycle of a session: when there is one, when it is rebuilt, when it is taken down, and when a token is
//! worthless.
//!
//! The crate owns every decision about a session, the configuration that the host should have ([`HostConfig`]) and the
//! state that is published ([`Snapshot`]). It performs no I/O and must not know channels, tasks or clocks: requests carry
//! ids, and the time is an argument. The daemon passes an [`Input`] with the time at which it occurred to
//! [`Session::handle`] and executes the [`Effect`]s from [`Session::poll_effect`] in their order.
//!
//! ```text
//!              sign in
//! SignedOut ───────────► Active: Connecting ───► Connected ◄──► Reconnecting
//!     ▲                    ▲  │                  joined and     portal lost,
//!     │     time, network  │  │ fault,           configured     joined again
//!     │     change, reset  │  │ rejection,
//!     │                    │  ▼ sign out
//!     │                 Waiting ◄─── Ending
//!     └──────────────────────────────┘
//! ```
//!
//! * [`input`], [`request`], [`effect`] – what comes in and what goes out
//! * [`session`] – the machine: the current state, and the [`context`] that outlives it
//! * [`signed_out`], [`active`], [`waiting`], [`ending`] – the states; each returns the state that follows ([`next`])
//! * [`host_config`], [`snapshot`], [`warnings`] – the results
//! * [`portal_outcome`] – errors of the portal connection as inputs

mod account;
mod active;
mod context;
mod effect;
mod ending;
mod host_config;
mod input;
mod next;
pub mod portal_outcome;
mod request;
mod session;
mod signed_out;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod waiting;
mod warnings;

pub use dbus_api::Reason;

pub use account::{Account, AccountToKeep, Mode};
pub use effect::{Effect, PortalCommand, TunnelCommand};
pub use host_config::{Addresses, DnsConfig, DnsControl, HostConfig, UnknownDnsControl};
pub use input::{DaemonEvent, HostEvent, Input, PortalEvent, TunnelEvent};
pub use request::{Refused, Request, RequestId};
pub use session::Session;
pub use snapshot::Snapshot;
