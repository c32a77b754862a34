//! Decides every DNS query: names of resources get proxy addresses, all other names are forwarded to a resolver.
//!
//! This crate performs no I/O and reads no clock: sockets, threads and time-outs belong to its callers. A parsed
//! [`Question`] goes in, a [`Decision`] comes out; the types of questions and records are those of `hickory-proto`.
//!
//! * [`stub`] – the stub resolver: makes the decision and owns the state it needs
//! * [`question`], [`decision`] – its input and output
//! * [`explain`] – the decision about a name, for diagnostics
//! * [`pattern`] – the patterns of DNS resources
//! * [`proxy_ips`] – the proxy addresses that stand for names
//! * [`upstream`] – which resolvers are used and how they are reached
//! * [`device_names`] – names of other clients, which only the portal can resolve
//! * [`sentinel`] – the local addresses that stand for the resolvers
//! * [`response`] – parsing the responses of resolvers
//! * [`cache`] – cached answers of resolvers

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
pub use decision::{Answer, CacheGeneration, Decision};
pub use device_names::{Device, DeviceDecision, DeviceNames, LookupError};
pub use domain::Domain;
pub use explain::{AnswerSource, Explanation, Server};
pub use pattern::{InvalidPattern, Pattern};
pub use proxy_ips::{Assignment, Assignments};
pub use question::Question;
pub use response::{Response, ResponseError};
pub use sentinel::Sentinels;
pub use stub::{Stub, StubDecision};
pub use upstream::{Coverage, Origin, Resolvers, Upstream, Via};
