//! The words that the portal, the tunnel and the host share.
//!
//! Values here are valid once they exist: parsing is tolerant towards the portal (one odd entry never spoils its
//! neighbours) and strict towards access (nothing that fails to parse ever widens it). What anyone does with a value is
//! not known here.
//!
//! * [`id`], [`key`], [`secret`] – who, and what must not be shown
//! * [`resource`], [`filter`], [`interface`], [`relay`] – what the portal tells us about the network
//! * [`resolver`] – what the host asks for names
//! * [`message`] – the messages between portal and client, as values
//! * [`json`] – reading all of it
//! * [`view`] – what people are shown about resources and devices
//! * [`address_plan`] – the fixed ranges of the tunnel
//! * [`deadline`] – when a state machine wants to be called again

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
