//! `dev.firezone.Client1.Dns`: names.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use crate::{Error, dictionary::dictionary, vocabulary::vocabulary};

vocabulary! {
    /// Where the list of resolvers comes from.
    #[derive(Default)]
    pub enum Origin {
        /// The portal.
        Portal = "portal",
        /// This host's own configuration.
        Host = "host",
        /// There is no session, so the daemon forwards no queries.
        #[default]
        NoSession = "nobody",
    }
}

vocabulary! {
    /// How queries are sent to a resolver.
    pub enum Protocol {
        /// Unencrypted, over UDP and TCP.
        Plain = "plain",
        /// Over TLS only.
        Tls = "tls",
        /// Over TLS if the resolver supports it.
        TlsIfOffered = "tls-if-offered",
        /// Over HTTPS.
        Https = "https",
    }
}

vocabulary! {
    /// Which path queries to a resolver take.
    #[derive(Default)]
    pub enum Via {
        /// Past the tunnel.
        #[default]
        Host = "host",
        /// Through the tunnel.
        Tunnel = "tunnel",
    }
}

vocabulary! {
    /// Why a resolver gave no answer.
    pub enum Failure {
        /// It did not respond in time.
        TimedOut = "timed-out",
        /// It cannot be reached.
        Unreachable = "unreachable",
        /// Its certificate is not trusted.
        Certificate = "certificate",
        /// The name in its URL does not resolve.
        NoAddress = "no-address",
        /// Its response is malformed.
        Protocol = "protocol",
        /// It is on this host and forwards to the daemon in turn.
        Loop = "loop",
        /// The daemon may not mark its sockets.
        CannotMark = "cannot-mark-sockets",
    }
}

vocabulary! {
    /// How a name is answered.
    #[derive(Default)]
    pub enum Answer {
        /// The daemon answers with addresses of a resource.
        Resource = "resource",
        /// The portal resolves it: it belongs to a device pool.
        DevicePool = "device-pool",
        /// The daemon answers: it is the reverse name of an address that the daemon assigned.
        Reverse = "reverse",
        /// The daemon answers that it does not exist.
        Blocked = "blocked",
        /// The query is forwarded to the resolvers.
        Forwarded = "forwarded",
        /// There is no session, so the daemon receives no queries.
        #[default]
        NoSession = "no-session",
    }
}

impl Default for Protocol {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

dictionary! {
    /// The resolvers for names that the daemon does not answer itself.
    pub struct DnsStatus {
        /// Where the list of resolvers comes from.
        origin: Origin,
        /// The resolvers, in their order.
        servers: Vec<Server>,
        /// The domain in which single labels are looked up.
        search_domain["search-domain"]: Option<String>,
        /// How many names of resources have addresses.
        names: u64,
    }
}

dictionary! {
    /// A resolver, and how it is reached.
    pub struct Server {
        /// The address on which the daemon stands for it.
        sentinel: String,
        /// Its address and port, or its URL.
        upstream: String,
        /// How queries are sent to it.
        protocol: Protocol,
        /// The name that its certificate must be for, unless that is its address or in its URL.
        server_name["server-name"]: Option<String>,
        /// Which path queries take.
        via: Via,
        /// Why the last query got no answer. Absent if it got one, or there was none yet.
        failure: Option<Failure>,
    }
}

dictionary! {
    /// How and why a name is answered.
    pub struct Explanation {
        /// The name in its canonical form: lower case, letters beyond ASCII encoded.
        name: String,
        /// How it is answered.
        answer: Answer,
        /// The resources to which it belongs, the most specific first.
        resources: Vec<Match>,
        /// Its addresses, if it has any yet: a name of a resource gets them with the first query.
        addresses: Vec<String>,
        /// With [`Answer::Reverse`]: the name of the resource that has the address.
        reverse_of["reverse-of"]: Option<String>,
        /// Whether a resolver's answer is cached.
        cached: bool,
        /// The resolvers for what the daemon does not answer itself; the system's choice of sentinel decides which.
        servers: Vec<Server>,
    }
}

dictionary! {
    /// A resource to which a name belongs.
    pub struct Match {
        /// Its identity, a UUID.
        id: String,
        /// Its name.
        name: String,
        /// Its pattern.
        pattern: String,
        /// The names of its sites, where SRV and TXT queries are resolved.
        sites: Vec<String>,
    }
}

/// Names.
#[zbus::proxy(
    interface = "dev.firezone.Client1.Dns",
    default_service = "dev.firezone.Client",
    default_path = "/dev/firezone/Client",
    gen_blocking = false
)]
pub trait Dns {
    /// Whom the daemon asks, and how each of them is reached.
    fn get_status(&self) -> Result<DnsStatus, Error>;

    /// Why `name` is answered as it is. Nothing changes by asking this.
    fn explain(&self, name: &str) -> Result<Explanation, Error>;

    /// Forgets what other resolvers said.
    fn flush(&self) -> Result<(), Error>;

    /// Looks anew whether this host asks the daemon for names, and makes it so.
    fn reapply(&self) -> Result<(), Error>;
}
