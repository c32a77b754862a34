//! The answer of `GetStatus`.

use crate::{Phase, Reason, State, dictionary::dictionary, vocabulary::vocabulary, warning::Warning};

vocabulary! {
    /// Whether the portal is joined.
    #[derive(Default)]
    pub enum PortalState {
        /// There is no connection, and no attempt to make one.
        #[default]
        Away = "away",
        /// The daemon is connecting to it.
        Connecting = "connecting",
        /// It is joined.
        Joined = "joined",
    }
}

vocabulary! {
    /// How a gateway or a resource is reached.
    #[derive(Default)]
    pub enum PathKind {
        /// No connection, because the resource was not used yet.
        #[default]
        None = "none",
        /// A connection is being made.
        Connecting = "connecting",
        /// Packets go directly to the gateway.
        Direct = "direct",
        /// Packets go through a relay.
        Relayed = "relayed",
    }
}

dictionary! {
    /// The private part of the state.
    pub struct Status {
        /// Grows with each change; as in `StatusChanged`.
        generation: u64 as BusOnly,
        /// The property `State`, from the same moment as the rest.
        state: State,
        /// The property `Reason`, from the same moment as the rest; empty if there is none.
        reason: Option<Reason> as EmptyIfNone,
        /// Since when the state is what it is, in Unix seconds.
        since: Option<u64>,
        /// The account, as given at sign-in.
        account_slug["account-slug"]: Option<String>,
        /// The actor name, as given at sign-in.
        actor_name["actor-name"]: Option<String>,
        /// The user of this machine who asked for the session or, once it is over, for its end. Absent if no user did, for
        /// example when the portal ended it.
        asked_by["asked-by"]: Option<String>,
        /// This device's IPv4 address in the tunnel.
        tunnel_ipv4["tunnel-ipv4"]: Option<String>,
        /// This device's IPv6 address in the tunnel.
        tunnel_ipv6["tunnel-ipv6"]: Option<String>,
        /// Whether the portal is joined.
        portal: PortalState,
        /// Why the portal was lost last; absent if it never was.
        portal_error["portal-error"]: Option<Reason>,
        /// Connections to gateways; absent from the status file.
        gateways: Option<Vec<Gateway>>,
        /// Direct connections to other clients; absent from the status file.
        devices: Option<Vec<Device>>,
        /// What does not work as it should.
        warnings: Vec<Warning>,
    }
}

dictionary! {
    /// One connection to a gateway.
    pub struct Gateway {
        /// Its identity, a UUID.
        id: String,
        /// How it is reached: never [`PathKind::None`].
        path: PathKind,
        /// Seconds since the last handshake.
        last_handshake_seconds["last-handshake"]: Option<u64>,
        /// Microseconds that the last connectivity check of the path took there and back.
        round_trip_microseconds["round-trip-microseconds"]: Option<u64> as BusOnly,
        /// Bytes sent to it.
        sent_bytes["sent-bytes"]: Option<u64>,
        /// Bytes received from it.
        received_bytes["received-bytes"]: Option<u64>,
    }
}

dictionary! {
    /// One connection to another client.
    pub struct Device {
        /// The client's identity, a UUID.
        id: String,
        /// Its name.
        name: Option<String>,
        /// Its IPv4 address in the tunnel.
        tunnel_ipv4["tunnel-ipv4"]: String,
        /// Its IPv6 address in the tunnel.
        tunnel_ipv6["tunnel-ipv6"]: String,
        /// The names of the device pools that contain it.
        pools: Vec<String>,
    }
}

impl Status {
    /// State and reason as one value.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::new(&self.state, self.reason.as_ref())
    }
}
