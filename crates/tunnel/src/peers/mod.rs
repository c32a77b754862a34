//! Connected peers: gateways and other clients, their addresses, permitted sources, grants and flows.

mod clients;
mod flows;
mod gateways;
mod grants;
mod identity;

pub(crate) use clients::{Client, Clients};
pub(crate) use flows::Flow;
pub(crate) use gateways::{Gateway, Peers};
pub(crate) use identity::Identity;
