//! Names: which of them belong to resources, which addresses those get, and where all other questions go.
//!
//! Pure: a parsed question goes in, a [`Decision`] comes out. Sockets, threads and time-outs are somebody else's; the
//! types of questions and records are hickory's.
//!
//! * [`stub`] – the decision itself, and the state it needs
//! * [`question`], [`decision`] – what goes in and what comes out
//! * [`explain`] – the decision, for people
//! * [`pattern`] – the patterns of DNS resources
//! * [`proxy_ips`] – the addresses that we invent for names
//! * [`upstream`] – which resolvers are used, and on which way they are reached
//! * [`device_names`] – names of other clients, which only the portal knows
//! * [`sentinel`] – the addresses on which we pretend to be those resolvers
//! * [`response`] – what those resolvers said
//! * [`cache`] – answers of other resolvers, kept for as long as they said

#![forbid(unsafe_code)]

pub mod cache;
pub mod decision;
pub mod device_names;
pub mod domain;
pub mod explain;
pub mod pattern;
pub mod proxy_ips;
pub mod question;
pub mod response;
pub mod sentinel;
pub mod stub;
pub mod upstream;

pub use cache::Cacheable;
pub use decision::{Answer, Decision, Epoch};
pub use device_names::{Device, DeviceDecision, DeviceNames, NoDevice};
pub use domain::Domain;
pub use explain::{Explanation, Server, Verdict};
pub use pattern::{InvalidPattern, Pattern};
pub use proxy_ips::{Assigned, Assignments};
pub use question::Question;
pub use response::{NoResponse, Response};
pub use sentinel::Sentinels;
pub use stub::{Stub, StubDecision};
pub use upstream::{Origin, Reach, Resolvers, Upstream, Via};
