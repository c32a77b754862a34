//! Connectivity checks (RFC 8445): which pair of addresses reaches the peer.
//!
//! * `agent` – the checks of one connection
//! * `candidates` – addresses of both sides
//! * `suspension` – addresses that are not used for a while
//! * `timing` – intervals of the checks

pub(crate) mod agent;
pub(crate) mod candidates;
pub(crate) mod suspension;
#[cfg(test)]
mod tests;
pub(crate) mod timing;

#[cfg(test)]
pub(crate) use agent::Check;
pub(crate) use agent::{Agent, Announcement, Connectivity, Event, Message};
pub(crate) use candidates::LocalCandidate;
pub(crate) use timing::Profile;
