//! The types that the portal, the tunnel and the host share.
//!
//! Values are valid once they exist. Parsing is tolerant towards the portal: one malformed entry of a list does not affect
//! the others. It is strict about access: nothing that cannot be parsed ever permits more. This crate does not know how
//! the values are used.
//!
//! * [`id`], [`key`], [`secret`] – identities, keys, and values that must not be printed
//! * [`resource`], [`filter`], [`interface`], [`relay`] – the network as the portal describes it
//! * [`resolver`] – DNS servers of the host
//! * [`message`] – the messages between portal and client
//! * [`json`] – parsing of all of these
//! * [`view`] – resources and devices as front ends show them
//! * [`deadline`] – the next call of a state machine
//! * [`address_plan`] – the fixed address ranges of the tunnel

#![forbid(unsafe_code)]

pub mod address_plan;
pub mod deadline;
pub mod filter;
pub mod id;
pub mod interface;
pub mod json;
pub mod key;
pub mod message;
pub mod relay;
pub mod resolver;
pub mod resource;
pub mod secret;
pub mod view;

pub use deadline::Deadline;
pub use filter::{Filter, Filters};
pub use id::{ClientId, GatewayId, PeerId, RelayId, ResourceId, SiteId};
pub use interface::{DohUrl, Interface};
pub use json::{FromJson, Malformed};
pub use key::{IceCredentials, PresharedKey, PublicKey};
pub use message::{FromPortal, ToPortal};
pub use relay::Relay;
pub use resolver::{Encryption, Resolver};
pub use resource::{CidrResource, Device, DnsResource, InternetResource, IpStack, Pool, Resource, Site};
pub use secret::Secret;
pub use view::{DeviceView, Refusal, ResourceView, Status};
