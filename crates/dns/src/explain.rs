//! Why a name is answered as it is, for people who wonder.

use std::net::IpAddr;

use model::ResourceId;

use crate::{Domain, Pattern, Upstream, Via};

/// What happens to questions about one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The name, as it is compared.
    pub name: Domain,
    /// Who answers.
    pub verdict: Verdict,
    /// The DNS resources that it belongs to, the most specific first.
    pub matches: Vec<(Pattern, ResourceId)>,
    /// The addresses that it has: those that we invented, as far as the resources show them.
    pub addresses: Vec<IpAddr>,
    /// Whether answers of another resolver about it are remembered.
    pub is_cached: bool,
}

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// We do: it belongs to a DNS resource.
    Resource,
    /// We do: it is the reverse name of an address that we invented for this one.
    Reverse(Domain),
    /// We do, and say that it does not exist, lest programs ask somebody else than the system.
    Blocked,
    /// Another resolver does.
    Forwarded,
}

/// A resolver and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// The address on which we stand for it.
    pub sentinel: IpAddr,
    /// Who it is.
    pub upstream: Upstream,
    /// On which way it is asked.
    pub via: Via,
}
