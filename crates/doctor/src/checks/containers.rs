//! What is known about networks of containers.

use super::{Finding, ok, skipped, warning};
use crate::containers::{Bridge, Questions};

pub(super) fn names(bridges: &[Bridge]) -> Finding {
    let are = |wanted: fn(&Questions) -> bool| {
        let names: Vec<&str> = bridges.iter().filter(|it| wanted(&it.questions)).map(|it| it.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let chain = bridges.iter().find_map(|it| match &it.questions {
        Questions::Refused(chain) => Some(chain.as_str()),
        _ => None,
    });
    if let (Some(names), Some(chain)) = (are(|it| matches!(it, Questions::Refused(_))), chain) {
        return warning(
            format!("the packet filter refuses questions about names from {names} ({chain})"),
            "while there is a tunnel, containers there know no names if they ask whom this machine asks",
            "let UDP and TCP to port 53 in from there, in the rules of whoever wrote that chain; for example: \
             nft insert rule inet filter input iifname docker0 th dport 53 accept; or: ufw allow in on docker0 to any port 53",
        );
    }
    if let Some(names) = are(|it| *it == Questions::Unseen) {
        return skipped(format!(
            "{names}: only root and the daemon see whether port 53 is open from there, and only with nft(8): \
             sudo firezonectl doctor, or: nft list ruleset"
        ));
    }
    match (are(|it| *it == Questions::Unclear), are(|it| *it == Questions::Answered)) {
        (Some(names), _) => skipped(format!(
            "{names}: it depends, or the rules say it in words that are not known here; look for port 53 from there: \
             nft list ruleset, iptables-legacy-save"
        )),
        (None, Some(names)) => ok(format!("the packet filter lets questions in from {names}")),
        (None, None) => ok("there are no containers with a network of their own"),
    }
}
