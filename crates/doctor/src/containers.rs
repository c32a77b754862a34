//! Networks of containers and virtual machines on this machine, and whether their questions about names reach the daemon.
//!
//! A resolver's address that containers take over from this machine may be a sentinel. To the host that is an address of its
//! own, so questions pass the rules for what comes in. Only who may administer the network can read these: root, and the
//! daemon.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Stdio,
    time::Duration,
};

use futures_util::StreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::{
        AddressFamily,
        address::AddressAttribute,
        link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
    },
};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use crate::firewall::{Fate, Question, Ruleset};

/// How bridges of container engines and of libvirt are called.
const NAMES: [&str; 5] = ["docker", "podman", "cni-podman", "br-", "virbr"];
/// Nobody has more networks than this.
const MOST: usize = 64;
/// The first sentinel, which there is whenever there is a tunnel.
const SENTINEL: Ipv4Addr = Ipv4Addr::new(100, 100, 111, 1);
/// Who prints the rules. Not looked up, because root runs it.
const NFT: [&str; 2] = ["/usr/sbin/nft", "/sbin/nft"];
/// How long that may take, and how long the rules can be.
const PATIENCE: Duration = Duration::from_secs(3);
const LARGEST: u64 = 16 << 20;

/// A network of containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// The interface.
    pub name: String,
    /// Whether questions come in from there.
    pub questions: Questions,
}

/// Whether questions about names come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Questions {
    /// They do.
    Answered,
    /// This chain of the packet filter refuses them.
    Refused(String),
    /// The rules are there, but what they mean is not known here.
    Unclear,
    /// The rules cannot be seen.
    Unseen,
}

/// All networks of containers that have an address of this machine. Those without are no way to it.
pub(crate) async fn look(root: &Path) -> Vec<Bridge> {
    let interfaces = timeout(PATIENCE, interfaces()).await.ok().flatten().unwrap_or_default();
    if interfaces.is_empty() {
        return Vec::new();
    }
    let rules = rules().await;
    let has_old_rules = has_old_rules(root);
    let bridges = interfaces.into_iter().map(|(name, from)| {
        let questions = match &rules {
            None => Questions::Unseen,
            Some(rules) => match rules.judge(&Question { interface: &name, from, to: SENTINEL }) {
                Fate::Refused(chain) => Questions::Refused(chain),
                Fate::Accepted if !has_old_rules => Questions::Answered,
                Fate::Accepted | Fate::Unclear => Questions::Unclear,
            },
        };
        Bridge { name, questions }
    });
    bridges.collect()
}

/// Bridges that containers use, and the first IPv4 network of each.
async fn interfaces() -> Option<Vec<(String, (Ipv4Addr, u8))>> {
    let (connection, kernel, _) = rtnetlink::new_connection().ok()?;
    let task = tokio::spawn(connection);
    let names = names(&kernel).await;
    let networks = if names.is_empty() { BTreeMap::new() } else { networks(&kernel).await };
    task.abort();
    let found = names.into_iter().filter_map(|(index, name)| Some((name, *networks.get(&index)?)));
    Some(found.take(MOST).collect())
}

/// The names of bridges by their numbers.
async fn names(kernel: &Handle) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    let mut links = kernel.link().get().execute();
    while let Some(Ok(link)) = links.next().await {
        names.extend(bridge(&link).map(|name| (link.header.index, name)));
    }
    names
}

fn bridge(link: &LinkMessage) -> Option<String> {
    let is_bridge = link.attributes.iter().any(|it| match it {
        LinkAttribute::LinkInfo(all) => all.contains(&LinkInfo::Kind(InfoKind::Bridge)),
        _ => false,
    });
    let name = link.attributes.iter().find_map(|it| match it {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.filter(|name| is_bridge && NAMES.iter().any(|known| name.starts_with(known)))
}

async fn networks(kernel: &Handle) -> BTreeMap<u32, (Ipv4Addr, u8)> {
    let mut networks = BTreeMap::new();
    let mut addresses = kernel.address().get().execute();
    while let Some(Ok(it)) = addresses.next().await {
        let address = it.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
        if let (AddressFamily::Inet, Some(address)) = (it.header.family, address) {
            networks.entry(it.header.index).or_insert((address, it.header.prefix_len));
        }
    }
    networks
}

/// The rules of nftables, if this process may read them.
async fn rules() -> Option<Ruleset> {
    let program = NFT.iter().find(|it| Path::new(it).exists())?;
    let mut nft = Command::new(program);
    nft.args(["--json", "list", "ruleset"]).env_clear().current_dir("/").kill_on_drop(true);
    let mut nft = nft.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let output = nft.stdout.take()?;
    let reading = async {
        let mut text = Vec::new();
        output.take(LARGEST).read_to_end(&mut text).await.ok()?;
        nft.wait().await.ok()?.success().then_some(text)
    };
    let text = timeout(PATIENCE, reading).await.ok().flatten()?;
    tokio::task::spawn_blocking(move || Ruleset::parse(&text)).await.ok().flatten()
}

/// Whether there may be rules that nftables does not know: those of the iptables before it.
fn has_old_rules(root: &Path) -> bool {
    let modules = fs::read_to_string(root.join("proc/modules")).unwrap_or_default();
    let tables = fs::read_to_string(root.join("proc/net/ip_tables_names")).unwrap_or_default();
    modules.lines().any(|line| line.starts_with("iptable_filter ")) || tables.lines().any(|it| it == "filter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_containers_are_known_by_their_names() {
        let link = |name: &str, kind| {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::IfName(name.to_owned()));
            link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
            bridge(&link)
        };
        for name in ["docker0", "br-0a1b2c3d4e5f", "virbr0", "podman1", "cni-podman0"] {
            assert_eq!(link(name, InfoKind::Bridge).as_deref(), Some(name));
        }
        assert_eq!(link("br0", InfoKind::Bridge), None, "that is this machine's own way out");
        assert_eq!(link("docker0", InfoKind::Veth), None);
    }

    #[test]
    fn rules_before_nftables_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        assert!(!has_old_rules(root.path()));
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/modules"), "ip_tables 28672 1 iptable_filter,\niptable_filter 16384 1 -\n")
            .unwrap();
        assert!(has_old_rules(root.path()));
    }
}
