//! What the facts mean. Each check is a function of them; nothing here reads or asks.
//!
//! The desktop app has these texts in the user's language (`scripts/update-translations`): those that are written where a
//! finding is made, and not those with something filled in.

mod containers;
mod portal;

use dbus_api::{PathKind, Permission, PortalState, Reason, State, WarningCode};

use crate::{Check, Facts, Verdict, Whereabouts, facts::SENTINELS};

/// CAP_NET_ADMIN, capabilities(7).
const NET_ADMIN: u64 = 1 << 12;
/// The tunnel's MTU, and what a packet of it needs on the way: WireGuard, UDP, IPv6 and a relay's header.
const TUNNEL_MTU: u32 = 1280;
const OVERHEAD: u32 = 32 + 8 + 40 + 4;
/// No machine that runs this has an earlier clock: 2025-01-01.
const EARLIEST: u64 = 1_735_689_600;

/// Where systemd-resolved answers.
const RESOLVED: &str = "127.0.0.53";

/// What one check has to say: verdict, evidence, effect, remedy.
type Finding = (Verdict, String, &'static str, &'static str);

/// Number, name, and how.
type Row = (&'static str, &'static str, fn(&Facts) -> Finding);

/// All checks.
const CHECKS: [Row; 18] = [
    row("FZ001", "bus", bus),
    row("FZ002", "polkit", polkit),
    row("FZ003", "group", group),
    row("FZ004", "service mode", service_mode),
    row("FZ005", "tunnel device", tun),
    row("FZ006", "capability", capability),
    row("FZ007", "routes and rules", routes),
    row("FZ008", "port 53", port_53),
    row("FZ009", "DNS control", dns_control),
    row("FZ010", "system resolvers", resolvers),
    row("FZ011", "portal", portal),
    row("FZ012", "clock", clock),
    row("FZ013", "paths and relays", paths),
    row("FZ014", "IPv6", ipv6),
    row("FZ015", "MTU", mtu),
    row("FZ016", "other tunnels", others),
    row("FZ017", "captive portal", captive),
    row("FZ018", "names in containers", |facts| containers::names(&facts.bridges)),
];

/// Marks a text for translation that is not written where the finding is made.
const fn translatable(text: &'static str) -> &'static str {
    text
}

const fn row(id: &'static str, name: &'static str, check: fn(&Facts) -> Finding) -> Row {
    (id, name, check)
}

/// Carries all of them out.
#[must_use]
pub fn all(facts: &Facts) -> Vec<Check> {
    let check = |(id, name, check): &Row| {
        let (result, evidence, effect, remedy) = check(facts);
        let [id, name, effect, remedy] = [*id, *name, effect, remedy].map(str::to_owned);
        Check { id, name, result, evidence, effect, remedy }
    };
    CHECKS.iter().map(check).collect()
}

/// Whether there is a check of this number.
#[must_use]
pub fn is_known(id: &str) -> bool {
    CHECKS.iter().any(|(known, ..)| *known == id)
}

fn ok(evidence: impl Into<String>) -> Finding {
    (Verdict::Ok, evidence.into(), "", "")
}

fn improvable(evidence: impl Into<String>, effect: &'static str, remedy: &'static str) -> Finding {
    (Verdict::Ok, evidence.into(), effect, remedy)
}

fn skipped(evidence: impl Into<String>) -> Finding {
    (Verdict::Skipped, evidence.into(), "", "")
}

fn warning(evidence: impl Into<String>, effect: &'static str, remedy: &'static str) -> Finding {
    (Verdict::Warning, evidence.into(), effect, remedy)
}

fn failed(evidence: impl Into<String>, effect: &'static str, remedy: &'static str) -> Finding {
    (Verdict::Failed, evidence.into(), effect, remedy)
}

fn bus(facts: &Facts) -> Finding {
    match (facts.daemon, facts.has_bus) {
        (Whereabouts::Bus, _) => ok("the daemon serves the system bus"),
        (Whereabouts::Socket, _) => ok("there is no system bus; the daemon serves its private socket"),
        (Whereabouts::File, _) => ok("service mode: the daemon serves no bus"),
        (Whereabouts::Forbidden, _) => failed(
            "the daemon is there, but not for you",
            "you cannot see or command anything",
            "ask an administrator to add you to the group firezone",
        ),
        (Whereabouts::Nowhere, true) => failed(
            "nobody owns dev.firezone.Client",
            "there is no tunnel",
            "systemctl start firezone-client; if that fails: journalctl --unit firezone-client",
        ),
        (Whereabouts::Nowhere, false) => failed(
            "there is neither a system bus nor a private socket",
            "there is no tunnel",
            "start the system bus, or firezoned directly (in a container)",
        ),
    }
}

fn polkit(facts: &Facts) -> Finding {
    match facts.has_polkit {
        Some(true) => ok("polkit is there"),
        Some(false) => failed("polkit is not there", "nobody may command the tunnel, not even root", "install polkitd"),
        None => skipped("there is no system bus"),
    }
}

fn group(facts: &Facts) -> Finding {
    let may = |action: &str| facts.permissions.as_ref().and_then(|all| all.get(action));
    match (&facts.members, may("sign-in")) {
        (_, Some(Permission::Yes)) => ok("you may command the tunnel"),
        (None, _) => failed(
            "there is no group firezone",
            "only root may command the tunnel",
            "groupadd --system firezone, then: usermod -aG firezone NAME",
        ),
        (Some(_), Some(_)) => warning(
            "you are not in the group firezone",
            "you may only see whether this machine is connected",
            "ask an administrator: usermod -aG firezone NAME",
        ),
        (Some(_), None) if facts.is_member => ok("you are in the group firezone"),
        (Some(members), None) => skipped(format!("the group firezone has {} members", members.len())),
    }
}

fn service_mode(facts: &Facts) -> Finding {
    match (facts.daemon, facts.has_token_file) {
        (Whereabouts::File, _) => ok("this machine signs in with a token of its own; nobody else can"),
        (Whereabouts::Bus | Whereabouts::Socket, true) => warning(
            "there is a token file, but the daemon takes commands",
            "after its next start the daemon will be in service mode",
            "remove /etc/dev.firezone.client/token, or restart the daemon",
        ),
        (_, true) => ok("there is a token file"),
        (_, false) => ok("people sign in"),
    }
}

fn tun(facts: &Facts) -> Finding {
    if facts.has_tun {
        return ok("/dev/net/tun is there");
    }
    failed("/dev/net/tun is not there", "there can be no tunnel", "modprobe tun; in a container: --device /dev/net/tun")
}

fn capability(facts: &Facts) -> Finding {
    match facts.capabilities {
        Some(all) if all & NET_ADMIN != 0 => ok("the daemon has CAP_NET_ADMIN"),
        Some(_) => failed(
            "the daemon lacks CAP_NET_ADMIN",
            "it can make no tunnel",
            "start it by its unit, or as root; in a container: --cap-add NET_ADMIN",
        ),
        None => skipped("the daemon does not run here"),
    }
}

fn state(facts: &Facts) -> Option<State> {
    facts.status.as_ref().map(|status| status.state.clone())
}

fn routes(facts: &Facts) -> Finding {
    let is_connected = state(facts) == Some(State::Connected);
    match (is_connected, facts.tunnel_mtu, facts.rules) {
        (true, None, _) => {
            failed("connected, but firezone0 is not there", "nothing can be reached", "firezonectl reset")
        }
        (true, Some(_), Some(0)) => failed(
            "connected, but the routing rules are gone",
            "nothing can be reached",
            "find out who removes routing rules (ip rule), then: firezonectl reset",
        ),
        (true, Some(_), rules) => ok(format!("firezone0 is there, with {} rules", rules.unwrap_or_default())),
        (false, None, Some(rules)) if rules > 0 && facts.capabilities.is_none() => warning(
            format!("{rules} routing rules are left of a daemon that was killed"),
            "none; they match nothing",
            "start the daemon, or: firezoned --cleanup",
        ),
        (false, ..) => ok("nothing is left behind"),
    }
}

fn port_53(facts: &Facts) -> Finding {
    let code = |code: WarningCode| facts.status.as_ref().is_some_and(|it| it.warnings.iter().any(|it| it.code == code));
    let taken = facts.wildcard_53.map(|table| format!("somebody listens on port 53 of all addresses ({table})"));
    match (taken, facts.names_port) {
        _ if code(WarningCode::DnsNotServed) || code(WarningCode::DnsPortTaken) => failed(
            "the daemon cannot listen for names",
            "names of resources are not known",
            "stop the program that listens on port 53 of all addresses (ss -tulpn)",
        ),
        _ if code(WarningCode::DnsPortNotPermitted) => failed(
            "the daemon may not listen on port 53",
            "names of resources are not known",
            "start it by its unit, or as root; in a container: --cap-add NET_BIND_SERVICE",
        ),
        (Some(taken), Some(port)) if port != 53 && asks_resolved(facts) => {
            ok(format!("{taken}; systemd-resolved asks the daemon on port {port}"))
        }
        (Some(taken), None) if asks_resolved(facts) => {
            ok(format!("{taken}; systemd-resolved can ask the daemon on another"))
        }
        (Some(taken), _) => warning(
            taken,
            "the daemon cannot serve names to programs that read /etc/resolv.conf",
            "let that program listen on its own addresses only (dnsmasq: bind-interfaces)",
        ),
        (None, _) => ok("nobody is in the way"),
    }
}

/// Whether programs ask systemd-resolved, which can be told on which port the daemon is.
fn asks_resolved(facts: &Facts) -> bool {
    facts.nameservers.iter().any(|it| it == RESOLVED)
}

fn dns_control(facts: &Facts) -> Finding {
    let ours = facts.nameservers.iter().any(|it| SENTINELS.iter().any(|sentinel| it.starts_with(sentinel)));
    let resolved = asks_resolved(facts);
    let connected = state(facts).is_some_and(|it| matches!(it, State::Connected | State::Reconnecting));
    match (connected, ours, resolved) {
        (true, true, _) => ok("/etc/resolv.conf names the daemon"),
        (true, _, true) => ok("systemd-resolved asks the daemon for the names of resources"),
        (true, false, false) => warning(
            "/etc/resolv.conf names somebody else",
            "names of resources may not be known",
            "look at the warnings of: firezonectl status; and at the setting dns-control",
        ),
        (false, true, _) if facts.capabilities.is_none() => failed(
            "/etc/resolv.conf still names a daemon that is gone",
            "this machine knows no names",
            "start the daemon, or: firezoned --cleanup",
        ),
        (false, ..) => ok("not in use"),
    }
}

fn resolvers(facts: &Facts) -> Finding {
    let foreign = |all: &[String]| {
        let is_foreign = |it: &&String| !SENTINELS.iter().any(|sentinel| it.starts_with(sentinel));
        all.iter().filter(is_foreign).filter(|it| *it != RESOLVED).count()
    };
    match foreign(&facts.nameservers) + foreign(&facts.upstream) {
        0 if facts.nameservers.is_empty() => {
            failed("/etc/resolv.conf names no resolver", "this machine knows no names", "configure a resolver")
        }
        0 => skipped("only the daemon and systemd-resolved know them"),
        count => ok(format!("{count} known")),
    }
}

fn portal(facts: &Facts) -> Finding {
    let Some(status) = &facts.status else {
        return facts.knock.as_ref().map_or_else(|| skipped("only the daemon knows"), portal::knock);
    };
    match (&status.portal, &status.portal_error) {
        (PortalState::Joined, _) => ok("joined"),
        (_, Some(Reason::PortalTls)) => failed(
            "its certificate is not trusted",
            "nobody can sign in",
            "check the clock and the certificates (ca-certificates), and whether somebody inspects TLS",
        ),
        (_, Some(Reason::PortalRejected)) => failed(
            "it, or something before it, refuses us",
            "nobody can sign in",
            "a network that wants a page to be visited first looks like this",
        ),
        (PortalState::Connecting, Some(Reason::PortalUnreachable)) => {
            failed("it does not answer", "what is connected goes on; nothing new can", "check the network")
        }
        (portal, None) => ok(portal.as_str()),
        (portal, Some(why)) => warning(format!("{portal}: {why}"), "", ""),
    }
}

fn clock(facts: &Facts) -> Finding {
    match (facts.now >= EARLIEST, facts.clock_is_kept) {
        (false, _) => failed(
            "the clock is years behind",
            "certificates are not trusted",
            "timedatectl set-ntp true, or set it by hand",
        ),
        (true, true) => ok("something keeps it right"),
        (true, false) => skipped("plausible; nobody is known who keeps it right"),
    }
}

fn paths(facts: &Facts) -> Finding {
    let Some(status) = &facts.status else { return skipped("only the daemon knows") };
    let count = |path: PathKind| status.gateways.iter().flatten().filter(|it| it.path == path).count();
    let [direct, relayed, connecting] = [PathKind::Direct, PathKind::Relayed, PathKind::Connecting].map(count);
    let evidence = format!("{direct} direct, {relayed} relayed, {connecting} connecting");
    if connecting > 0 && direct + relayed == 0 {
        return warning(evidence, "resources cannot be reached yet", "let UDP out, at least to port 3478");
    }
    if relayed > 0 {
        return improvable(evidence, "relayed connections are slower", "let UDP out to all ports");
    }
    ok(evidence)
}

fn ipv6(facts: &Facts) -> Finding {
    match facts.ipv6 {
        None => warning(
            "IPv6 is switched off",
            "resources with IPv6 addresses cannot be reached",
            "sysctl net.ipv6.conf.all.disable_ipv6=0, unless that is meant so",
        ),
        Some(true) => ok("there is a way out"),
        Some(false) => ok("inside the tunnel; there is no other way out"),
    }
}

fn mtu(facts: &Facts) -> Finding {
    match &facts.way_out {
        None => {
            failed("there is no default route for IPv4", "nothing can be reached over IPv4", "connect to a network")
        }
        // What has no interface below /sys says nothing.
        Some((name, 0)) => skipped(format!("{name} does not say")),
        Some((name, mtu)) if *mtu < TUNNEL_MTU + OVERHEAD => warning(
            format!("{name} carries {mtu} bytes"),
            "large packets are fragmented on their way, or lost",
            "raise the MTU of that interface to 1364 or more",
        ),
        Some((name, mtu)) => ok(format!("{name} carries {mtu} bytes")),
    }
}

fn others(facts: &Facts) -> Finding {
    if facts.others.is_empty() {
        return ok("none");
    }
    let names = facts.others.join(", ");
    if facts.others.iter().any(|it| it == "tun-firezone") {
        return warning(
            names,
            "another Firezone client may be the same device for the portal; only one of them can be connected",
            "stop it, if something cannot be reached",
        );
    }
    warning(
        names,
        "networks that both want go to the one whose rule comes first (ip rule)",
        "stop it, if something cannot be reached",
    )
}

fn captive(facts: &Facts) -> Finding {
    let rejected = facts.status.as_ref().is_some_and(|it| it.portal_error == Some(Reason::PortalRejected));
    match (facts.captive, rejected) {
        (Some(true), _) => failed(
            "NetworkManager says that this network wants a page to be visited",
            "nothing can be reached",
            "open any page in a browser, and sign in to the network",
        ),
        (None, true) => {
            warning("something answers in the portal's place", "nobody can sign in", "open any page in a browser")
        }
        (Some(false), _) => ok("NetworkManager sees none"),
        (None, false) => skipped("nobody is known who looks for one"),
    }
}

#[cfg(test)]
mod tests;
