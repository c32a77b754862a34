//! How a name is resolved, and why: for diagnostics.

use std::net::IpAddr;

use model::ResourceId;

use crate::{Domain, Pattern, Upstream, Via};

/// How questions about one name are answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The name in its normalized form.
    pub name: Domain,
    /// The source of the answer.
    pub source: AnswerSource,
    /// The DNS resources that match the name, the most specific first.
    pub matches: Vec<(Pattern, ResourceId)>,
    /// Its proxy addresses, limited to the address families of the resources.
    pub addresses: Vec<IpAddr>,
    /// Whether answers of an upstream resolver about it are cached.
    pub is_cached: bool,
}

/// The source of the answers about a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnswerSource {
    /// The stub resolver: the name belongs to a DNS resource.
    Resource,
    /// The stub resolver: it is the reverse name of a proxy address of this name.
    Reverse(Domain),
    /// The stub resolver answers NXDOMAIN, so that browsers keep using the system's resolver.
    Blocked,
    /// An upstream resolver.
    Forwarded,
}

/// A resolver and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// The local address that stands for it.
    pub sentinel: IpAddr,
    /// The resolver itself.
    pub upstream: Upstream,
    /// How it is reached.
    pub via: Via,
}
