//! Connected peers: gateways and other clients, their addresses, permitted sources, grants and flows.

mod client;
mod flows;
mod gateway;
mod grants;
mod identity;
mod table;

pub(crate) use client::Client;
pub(crate) use flows::Flow;
pub(crate) use identity::Identity;
pub(crate) use table::{Peer, PeerKind, PeerTable};
