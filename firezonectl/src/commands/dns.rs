//! `dns`: whom the daemon asks for names, and why a name is answered as it is.

use std::fmt;

use clap::Subcommand;
use dbus_api::dns::{self, Answer as Kind, DnsStatus, Explanation, Origin, Protocol, Server, Via};
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

/// An answer of the daemon.
#[derive(Debug, Serialize)]
struct Answer<T> {
    schema: u32,
    #[serde(flatten)]
    answer: T,
}

/// Something was done.
#[derive(Debug, Serialize)]
struct Done {
    schema: u32,
}

pub(super) async fn run(args: &Args, bus: &Bus) -> Result<Box<dyn Show>, Failure> {
    Ok(match &args.what {
        None | Some(What::Status) => Box::new(Answer { schema: SCHEMA, answer: bus.dns_status().await? }),
        Some(What::Explain { name }) => Box::new(Answer { schema: SCHEMA, answer: bus.explain(name).await? }),
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

/// In one line, without the address on which the daemon stands for it.
fn describe(it: &Server) -> String {
    let protocol = match &it.protocol {
        Protocol::Plain => "not encrypted",
        Protocol::Tls => "over TLS",
        Protocol::TlsIfOffered => "over TLS if it offers that",
        Protocol::Https => "over HTTPS",
        Protocol::Other(other) => other,
    };
    let via = match &it.via {
        Via::Tunnel => "through the tunnel",
        Via::Host | Via::Other(_) => "past the tunnel",
    };
    let name = it.server_name.as_ref().map(|name| format!(" as {name}")).unwrap_or_default();
    let failure = match &it.failure {
        None => "",
        Some(dns::Failure::TimedOut) => "; it gave no answer in time",
        Some(dns::Failure::Unreachable) => "; it cannot be reached",
        Some(dns::Failure::Certificate) => "; its certificate is not trusted",
        Some(dns::Failure::NoAddress) => "; its address cannot be found",
        Some(dns::Failure::Loop) => "; it is on this machine and asks the daemon in turn",
        Some(dns::Failure::CannotMark) => "; the daemon lacks the capability CAP_NET_ADMIN",
        Some(dns::Failure::Protocol | dns::Failure::Other(_)) => "; what it says is no answer",
    };
    format!("{}{name}, {protocol}, {via}{failure}", it.upstream)
}

impl Show for Answer<DnsStatus> {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        let it = &self.answer;
        let who = match it.origin {
            Origin::Portal => "The portal chose these resolvers",
            Origin::Host => "These are this machine's own resolvers",
            Origin::NoSession | Origin::Other(_) => {
                return writeln!(out, "Nobody asks the daemon for names: there is no session");
            }
        };
        if it.servers.is_empty() {
            return writeln!(
                out,
                "{}",
                style.warning("There is no resolver to ask, so names of resources do not work")
            );
        }
        writeln!(out, "{who}")?;
        let rows: Vec<_> = it.servers.iter().map(|it| [it.sentinel.clone(), describe(it)]).collect();
        style.table(out, ["ASKED AT", "STANDS FOR"], &rows)?;
        if let Some(domain) = &it.search_domain {
            style.line(out, &format!("Single words are looked up in {domain}"))?;
        }
        writeln!(out, "Names of resources with addresses: {}", it.names)
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}

impl Show for Answer<Explanation> {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        let it = &self.answer;
        let name = &it.name;
        let resource = it.resources.first().map(|it| it.name.as_str()).unwrap_or_default();
        let sentence = match &it.answer {
            Kind::Resource => {
                format!("{name} belongs to the resource {resource}; the daemon answers for its addresses")
            }
            Kind::DevicePool => format!("{name} belongs to the devices {resource}; the portal says which one it is"),
            Kind::Reverse => {
                let owner = it.reverse_of.as_deref().unwrap_or_default();
                format!("{name} is an address that the daemon gave to {owner}")
            }
            Kind::Blocked => format!("{name} is said not to exist, so that browsers ask this machine and nobody else"),
            Kind::NoSession => format!("{name} is not asked of the daemon: there is no session"),
            Kind::Forwarded | Kind::Other(_) => format!("{name} belongs to no resource; others are asked"),
        };
        style.line(out, &sentence)?;
        for (number, it) in it.resources.iter().enumerate() {
            let rank = if number == 0 { "matches" } else { "also" };
            style.line(out, &format!("  {rank:<9}  {} by {} ({})", it.name, it.pattern, it.id))?;
        }
        if it.answer == Kind::Resource && it.addresses.is_empty() {
            writeln!(out, "  addresses  none yet; it gets some when it is asked for")?;
        } else if !it.addresses.is_empty() {
            style.line(out, &format!("  addresses  {}", it.addresses.join(", ")))?;
        }
        if let (Kind::Resource, Some(it)) = (&it.answer, it.resources.first()) {
            style.line(out, &format!("  SRV, TXT   asked at {}", it.sites.join(", ")))?;
        }
        let others = if it.answer == Kind::Resource { "others" } else { "asked" };
        if matches!(it.answer, Kind::Resource | Kind::Forwarded) {
            for server in &it.servers {
                style.line(out, &format!("  {others:<9}  {}", describe(server)))?;
            }
        }
        if it.cached {
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
