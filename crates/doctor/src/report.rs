//! A report for whoever helps: one JSON document, to be read before it is given away.
//!
//! It is built of what is known to be harmless: words from closed sets, numbers, and the order of things. Whatever has a
//! name gets a number instead (`gateway-1`), the same wherever it appears. So nothing has to be found and blackened, and
//! what a later version learns is not in the report before somebody has put it there.

use std::collections::BTreeMap;

use dbus_api::{
    PathKind, PortalState, Reason, Resource, ResourceKind, ResourceStatus, Setting, State, Status, WarningCode,
    dns::{DnsStatus, Failure, Origin, Protocol, Via},
};
use serde::{Deserialize, Serialize};

use crate::{Check, Facts, LogLine, checks};

/// The number of the format. Keys are only added under the same number.
pub const SCHEMA: u32 = 1;

/// Settings whose values are words of ours, or lengths of time.
const HARMLESS: [&str; 3] = ["dns-control", "internet-resource", "max-partition-time"];
/// How long a value of these can be.
const LONGEST_VALUE: usize = 32;

/// What a report is made of, private or not.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// The program that makes it, and its version.
    pub made_by: String,
    /// What is found on this machine.
    pub facts: Facts,
    /// The private part of the state, if there is a daemon that tells.
    pub status: Option<Status>,
    /// What can be reached.
    pub resources: Vec<Resource>,
    /// What the daemon was told.
    pub settings: BTreeMap<String, Setting>,
    /// Whom it asks for names.
    pub dns: Option<DnsStatus>,
    /// Packets that went no further, by reason. Reasons are words of ours.
    pub dropped: BTreeMap<&'static str, u64>,
    /// What the daemon has logged lately, oldest first.
    pub log: Vec<LogLine>,
    /// Where that comes from.
    pub log_from: LogFrom,
}

/// Where the lines of the log come from, or why there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFrom {
    /// The daemon remembers them.
    #[default]
    Daemon,
    /// The journal, because nobody else tells.
    Journal,
    /// There is no journal.
    NoJournal,
    /// The journal is not for whoever has made the report.
    NotPermitted,
    /// The journal has not been read in time, or makes no sense.
    NotReadable,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The report.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The program that made it, and its version.
    pub made_by: String,
    /// When, in Unix seconds.
    pub made_at: u64,
    /// The machine.
    pub system: System,
    /// The session, if there is a daemon that tells.
    pub session: Option<Session>,
    /// Connections to gateways.
    pub gateways: Vec<Gateway>,
    /// What can be reached.
    pub resources: Vec<Entry>,
    /// What the daemon was told.
    pub settings: BTreeMap<String, Value>,
    /// Whom it asks for names.
    pub dns: Option<Dns>,
    /// Packets that went no further, by reason; those that never occurred are left out.
    pub dropped: BTreeMap<String, u64>,
    /// What the daemon has logged lately, oldest first, without the texts.
    pub log: Vec<LogLine>,
    /// Where that comes from, or why there is nothing.
    pub log_from: LogFrom,
    /// What may be wrong on this machine.
    pub checks: Vec<Check>,
}

/// The machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct System {
    /// The distribution and its version, as `debian 12`.
    pub distribution: String,
    /// The kernel's version.
    pub kernel: String,
    /// The processor's architecture.
    pub architecture: String,
}

/// The session.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Where it is.
    pub state: State,
    /// Why, or empty.
    pub reason: String,
    /// Since when, in Unix seconds.
    pub since: Option<u64>,
    /// Whether the portal is joined.
    pub portal: PortalState,
    /// Why the portal was lost last.
    pub portal_error: Option<Reason>,
    /// How many other clients are connected directly.
    pub devices: usize,
    /// The codes of what does not work as it should.
    pub warnings: Vec<WarningCode>,
}

/// One connection.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// Its number.
    pub name: String,
    /// How it is reached.
    pub path: PathKind,
    /// Seconds since the last handshake.
    pub last_handshake: Option<u64>,
    /// Microseconds that the last connectivity check of the path took there and back.
    pub round_trip_microseconds: Option<u64>,
    /// Bytes sent to it.
    pub sent_bytes: Option<u64>,
    /// Bytes received from it.
    pub received_bytes: Option<u64>,
}

/// One resource.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its number.
    pub name: String,
    /// What it is.
    pub kind: ResourceKind,
    /// Whether its gateways are connected.
    pub status: ResourceStatus,
    /// The numbers of its sites.
    pub sites: Vec<String>,
}

/// What the daemon was told about one thing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Value {
    /// What, if that is a word of ours; `None` if it is left out here.
    pub value: Option<String>,
    /// `default`, `flag`, `variable` or `file`.
    pub source: String,
    /// Whether only the administrator can change it.
    pub locked: bool,
}

/// Whom the daemon asks for names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Where the list of resolvers comes from.
    pub origin: Origin,
    /// The resolvers, in their order.
    pub servers: Vec<Server>,
    /// Whether there is a domain in which single labels are looked up.
    pub has_search_domain: bool,
    /// How many names of resources have addresses.
    pub names: u64,
}

/// A resolver.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// How queries are sent to it.
    pub protocol: Protocol,
    /// Which path queries take.
    pub via: Via,
    /// Why the last query got no answer.
    pub failure: Option<Failure>,
}

/// Numbers instead of names; the same name has the same number.
#[derive(Debug)]
struct Numbers {
    what: &'static str,
    known: Vec<String>,
}

impl Report {
    /// What of this may be given away.
    #[must_use]
    pub fn of(material: &Material) -> Self {
        let Material { made_by, facts, status, resources, settings, dns, dropped, log, log_from } = material;
        let (mut gateways, mut sites) = (Numbers::new("gateway"), Numbers::new("site"));
        let paths = status.iter().flat_map(|it| &it.gateways).flatten();
        let facts = Facts { status: status.clone().or_else(|| facts.status.clone()), ..facts.clone() };
        Self {
            schema: SCHEMA,
            made_by: made_by.clone(),
            made_at: facts.now,
            system: System::this(),
            session: status.as_ref().map(session),
            gateways: paths.map(|it| gateway(gateways.of(&it.id), it)).collect(),
            resources: (1..).zip(resources).map(|(number, it)| entry(number, it, &mut sites)).collect(),
            settings: settings.iter().map(|(key, it)| (key.clone(), value(key, it))).collect(),
            dns: dns.as_ref().map(servers),
            dropped: dropped
                .iter()
                .filter(|it| *it.1 > 0)
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect(),
            log: log.clone(),
            log_from: *log_from,
            checks: checks::all(&facts.redacted()),
        }
    }

    /// As the document that is given away.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// What a document says.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

impl System {
    fn this() -> Self {
        let kernel = rustix::system::uname();
        Self {
            distribution: distribution(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
            kernel: kernel.release().to_string_lossy().into_owned(),
            architecture: kernel.machine().to_string_lossy().into_owned(),
        }
    }
}

/// Name and version from os-release(5).
fn distribution(text: &str) -> String {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    [field("ID"), field("VERSION_ID")].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn session(status: &Status) -> Session {
    Session {
        state: status.state.clone(),
        reason: status.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
        since: status.since,
        portal: status.portal.clone(),
        portal_error: status.portal_error.clone(),
        devices: status.devices.iter().flatten().count(),
        // Their texts may name what is private.
        warnings: status.warnings.iter().map(|it| it.code.clone()).collect(),
    }
}

fn gateway(name: String, it: &dbus_api::Gateway) -> Gateway {
    Gateway {
        name,
        path: it.path.clone(),
        last_handshake: it.last_handshake_seconds,
        round_trip_microseconds: it.round_trip_microseconds,
        sent_bytes: it.sent_bytes,
        received_bytes: it.received_bytes,
    }
}

fn entry(number: usize, it: &Resource, sites: &mut Numbers) -> Entry {
    Entry {
        name: format!("resource-{number}"),
        kind: it.kind.clone(),
        status: it.status.clone(),
        sites: it.sites.iter().map(|site| sites.of(site)).collect(),
    }
}

fn value(key: &str, it: &Setting) -> Value {
    let source = match it.source.as_str() {
        "" => "default",
        flag if flag.starts_with("--") => "flag",
        file if file.contains('/') => "file",
        _ => "variable",
    };
    // What nobody has set is a default of ours.
    let is_harmless = source == "default" || HARMLESS.contains(&key) && it.value.len() <= LONGEST_VALUE;
    Value { value: is_harmless.then(|| it.value.clone()), source: source.to_owned(), locked: it.locked }
}

fn servers(it: &DnsStatus) -> Dns {
    let server = |it: &dbus_api::dns::Server| Server {
        protocol: it.protocol.clone(),
        via: it.via.clone(),
        failure: it.failure.clone(),
    };
    Dns {
        origin: it.origin.clone(),
        servers: it.servers.iter().map(server).collect(),
        has_search_domain: it.search_domain.is_some(),
        names: it.names,
    }
}

impl Numbers {
    fn new(what: &'static str) -> Self {
        Self { what, known: Vec::new() }
    }

    fn of(&mut self, name: &str) -> String {
        let index = self.known.iter().position(|it| it == name).unwrap_or_else(|| {
            self.known.push(name.to_owned());
            self.known.len() - 1
        });
        format!("{}-{}", self.what, index + 1)
    }
}

#[cfg(test)]
mod tests;
