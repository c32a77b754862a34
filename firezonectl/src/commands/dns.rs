//! `dns`: whom the daemon asks for names, and why a name is answered as it is.

use std::fmt;

use clap::Subcommand;
use serde::Serialize;

use crate::{
    client::Bus,
    failure::Failure,
    output::{SCHEMA, Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "Example: firezonectl dns explain gitlab.company.example";

/// What was typed after `dns`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Show whom the daemon asks, and how (this is what you get without a word)
    Status,
    /// Show which resource a name belongs to, who answers it, and why
    Explain {
        /// The name
        name: String,
    },
    /// Forget the answers of other resolvers
    Flush,
    /// Make this machine ask the daemon again, if something has changed that
    Reapply,
}

/// Whom the daemon asks.
#[derive(Debug, Serialize)]
struct Status {
    schema: u32,
    /// `portal`, `host` or `nobody`.
    origin: String,
    search_domain: Option<String>,
    servers: Vec<Server>,
    names: u64,
}

#[derive(Debug, Serialize)]
struct Server {
    sentinel: String,
    upstream: String,
    /// `plain`, `tls`, `tls-if-offered` or `https`.
    protocol: String,
    server_name: Option<String>,
    /// `host` or `tunnel`.
    via: String,
    failure: Option<String>,
}

/// Why a name is answered as it is.
#[derive(Debug, Serialize)]
struct Explanation {
    schema: u32,
    name: String,
    /// `resource`, `device-pool`, `reverse`, `blocked`, `forwarded` or `no-session`.
    answer: String,
    resources: Vec<Match>,
    addresses: Vec<String>,
    reverse_of: Option<String>,
    cached: bool,
    servers: Vec<Server>,
}

#[derive(Debug, Serialize)]
struct Match {
    id: String,
    name: String,
    pattern: String,
    sites: Vec<String>,
}

/// Something was done.
#[derive(Debug, Serialize)]
struct Done {
    schema: u32,
}

pub(super) async fn run(args: &Args, bus: &Bus) -> Result<Box<dyn Show>, Failure> {
    Ok(match &args.what {
        None | Some(What::Status) => {
            let status = bus.dns_status().await?;
            Box::new(Status {
                schema: SCHEMA,
                origin: status.origin,
                search_domain: status.search_domain,
                servers: status.servers.into_iter().map(Server::from).collect(),
                names: status.names,
            })
        }
        Some(What::Explain { name }) => {
            let told = bus.explain(name).await?;
            Box::new(Explanation {
                schema: SCHEMA,
                name: told.name,
                answer: told.answer,
                resources: told.resources.into_iter().map(Match::from).collect(),
                addresses: told.addresses,
                reverse_of: told.reverse_of,
                cached: told.cached,
                servers: told.servers.into_iter().map(Server::from).collect(),
            })
        }
        Some(What::Flush) => {
            bus.flush_names().await?;
            Box::new(Done { schema: SCHEMA })
        }
        Some(What::Reapply) => {
            bus.reapply_names().await?;
            Box::new(Done { schema: SCHEMA })
        }
    })
}

impl From<dbus_api::dns::Server> for Server {
    fn from(it: dbus_api::dns::Server) -> Self {
        Self {
            sentinel: it.sentinel,
            upstream: it.upstream,
            protocol: it.protocol,
            server_name: it.server_name,
            via: it.via,
            failure: it.failure,
        }
    }
}

impl From<dbus_api::dns::Match> for Match {
    fn from(it: dbus_api::dns::Match) -> Self {
        Self { id: it.id, name: it.name, pattern: it.pattern, sites: it.sites }
    }
}

impl Server {
    /// In one line, without the address on which the daemon stands for it.
    fn describe(&self) -> String {
        let protocol = match self.protocol.as_str() {
            "plain" => "not encrypted",
            "tls" => "over TLS",
            "tls-if-offered" => "over TLS if it offers that",
            "https" => "over HTTPS",
            other => other,
        };
        let via = match self.via.as_str() {
            "tunnel" => "through the tunnel",
            _ => "past the tunnel",
        };
        let name = self.server_name.as_ref().map(|name| format!(" as {name}")).unwrap_or_default();
        let failure = match self.failure.as_deref() {
            None => "",
            Some("timed-out") => "; it gave no answer in time",
            Some("unreachable") => "; it cannot be reached",
            Some("certificate") => "; its certificate is not trusted",
            Some("no-address") => "; its address cannot be found",
            Some("loop") => "; it is on this machine and asks the daemon in turn",
            Some("cannot-mark-sockets") => "; the daemon lacks the capability CAP_NET_ADMIN",
            Some(_) => "; what it says is no answer",
        };
        format!("{}{name}, {protocol}, {via}{failure}", self.upstream)
    }
}

impl Show for Status {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        let who = match self.origin.as_str() {
            "portal" => "The portal chose these resolvers",
            "host" => "These are this machine's own resolvers",
            _ => return writeln!(out, "Nobody asks the daemon for names: there is no session"),
        };
        if self.servers.is_empty() {
            return writeln!(
                out,
                "{}",
                style.warning("There is no resolver to ask, so names of resources do not work")
            );
        }
        writeln!(out, "{who}")?;
        let rows: Vec<_> = self.servers.iter().map(|it| [it.sentinel.clone(), it.describe()]).collect();
        style.table(out, ["ASKED AT", "STANDS FOR"], &rows)?;
        if let Some(domain) = &self.search_domain {
            style.line(out, &format!("Single words are looked up in {domain}"))?;
        }
        writeln!(out, "Names of resources with addresses: {}", self.names)
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}

impl Show for Explanation {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        let name = &self.name;
        let resource = self.resources.first().map(|it| it.name.as_str()).unwrap_or_default();
        let sentence = match self.answer.as_str() {
            "resource" => format!("{name} belongs to the resource {resource}; the daemon answers for its addresses"),
            "device-pool" => format!("{name} belongs to the devices {resource}; the portal says which one it is"),
            "reverse" => {
                let owner = self.reverse_of.as_deref().unwrap_or_default();
                format!("{name} is an address that the daemon gave to {owner}")
            }
            "blocked" => format!("{name} is said not to exist, so that browsers ask this machine and nobody else"),
            "no-session" => format!("{name} is not asked of the daemon: there is no session"),
            _ => format!("{name} belongs to no resource; others are asked"),
        };
        style.line(out, &sentence)?;
        for (number, it) in self.resources.iter().enumerate() {
            let rank = if number == 0 { "matches" } else { "also" };
            style.line(out, &format!("  {rank:<9}  {} by {} ({})", it.name, it.pattern, it.id))?;
        }
        if self.answer == "resource" && self.addresses.is_empty() {
            writeln!(out, "  addresses  none yet; it gets some when it is asked for")?;
        } else if !self.addresses.is_empty() {
            style.line(out, &format!("  addresses  {}", self.addresses.join(", ")))?;
        }
        if let (true, Some(it)) = (self.answer == "resource", self.resources.first()) {
            style.line(out, &format!("  SRV, TXT   asked at {}", it.sites.join(", ")))?;
        }
        let others = if self.answer == "resource" { "others" } else { "asked" };
        if matches!(self.answer.as_str(), "resource" | "forwarded") {
            for server in &self.servers {
                style.line(out, &format!("  {others:<9}  {}", server.describe()))?;
            }
        }
        if self.cached {
            writeln!(out, "  remembered an answer is remembered (firezonectl dns flush)")?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}

impl Show for Done {
    fn human(&self, out: &mut dyn fmt::Write, _style: &Style) -> fmt::Result {
        writeln!(out, "Done")
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
