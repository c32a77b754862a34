//! The resources of the simulated account and the paths to them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use connection::{PathInfo, PathKind};
use model::{ClientId, DeviceView, GatewayId, RelayId, ResourceId, ResourceView, Site, SiteId, Status, view::Kind};
use tunnel::{InterfaceConfig, PathView};

/// The sites of the gateways.
const SITES: [&str; 5] = ["Berlin", "Hamburg", "Montréal", "Singapore", "Lab (old building)"];
/// Services and their descriptions.
const SERVICES: [(&str, &str); 14] = [
    ("Wiki", "https://wiki.corp.example/"),
    ("git_lab", "https://gitlab.corp.example/"),
    ("Grafana", "https://grafana.corp.example/d/home"),
    ("Ticket desk", ""),
    ("Mail", ""),
    ("Payroll", "Ask the people department for an account first"),
    ("Build farm", ""),
    ("Printer on the 2nd floor", "ipp"),
    ("Database of record, read-only replica for reports", ""),
    ("Backup", ""),
    ("Cameras", "http://10.13.7.2:8080/"),
    ("File server", "smb"),
    ("Artifact store", ""),
    ("SSH jump host", ""),
];

/// The account: its sites with the state of their paths, and its resources.
#[derive(Debug)]
pub(super) struct World {
    sites: Vec<SiteState>,
    resources: Vec<ResourceView>,
    uses_internet: bool,
    born: Instant,
}

#[derive(Debug)]
struct SiteState {
    site: Site,
    path: PathState,
}

/// The path to the gateway of a site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PathState {
    /// No resource of the site has been used.
    Unused,
    Connecting,
    Relayed,
    Direct,
    /// No gateway is online.
    Offline,
}

impl World {
    /// An account with `count` resources, including the Internet resource.
    pub(super) fn new(count: u16, now: Instant) -> Self {
        let site = |number: usize, name: &str| Site { id: SiteId::from_u128(id(1, number)), name: name.to_owned() };
        let sites: Vec<SiteState> = (0..)
            .zip(SITES)
            .map(|(number, name)| SiteState { site: site(number, name), path: initial_path(number) })
            .collect();
        let mut resources: Vec<ResourceView> = (0..usize::from(count))
            .map(|number| resource(number, sites.get(number % sites.len()).map(|it| it.site.clone())))
            .collect();
        resources
            .sort_by(|a, b| (a.kind != Kind::Internet, &a.name, a.id).cmp(&(b.kind != Kind::Internet, &b.name, b.id)));
        Self { sites, resources, uses_internet: false, born: now }
    }

    /// Restores the initial state of the paths.
    pub(super) fn reset(&mut self) {
        for (number, site) in self.sites.iter_mut().enumerate() {
            site.path = initial_path(number);
        }
    }

    pub(super) fn use_internet(&mut self, is_on: bool) {
        self.uses_internet = is_on;
    }

    /// Changes the path to one gateway.
    pub(super) fn change_path(&mut self, number: u64) {
        let index = usize::try_from(number).unwrap_or_default() % self.sites.len();
        let Some(site) = self.sites.get_mut(index) else { return };
        site.path = match site.path {
            PathState::Unused | PathState::Offline => PathState::Connecting,
            PathState::Connecting => PathState::Relayed,
            PathState::Relayed => PathState::Direct,
            PathState::Direct if number.is_multiple_of(4) => PathState::Offline,
            PathState::Direct => PathState::Relayed,
        };
    }

    /// The resources in the order of the tunnel.
    pub(super) fn resources(&self) -> Vec<ResourceView> {
        let status = |view: &ResourceView| {
            let is_unused = view.kind == Kind::Internet && !self.uses_internet;
            let site = view.sites.first().and_then(|site| self.sites.iter().find(|it| it.site.id == site.id));
            match site.map(|site| site.path) {
                _ if is_unused => Status::Unknown,
                Some(PathState::Direct | PathState::Relayed) => Status::Online,
                Some(PathState::Offline) => Status::Offline,
                Some(PathState::Unused | PathState::Connecting) | None => Status::Unknown,
            }
        };
        self.resources.iter().map(|view| ResourceView { status: status(view), ..view.clone() }).collect()
    }

    pub(super) fn paths(&self, now: Instant) -> Vec<PathView> {
        let age = now.saturating_duration_since(self.born).as_secs();
        let path = |number: usize, kind| PathInfo {
            kind,
            local: SocketAddr::new(Ipv4Addr::new(192, 0, 2, 10).into(), 51820),
            remote: SocketAddr::new(Ipv4Addr::new(198, 51, 100, 20).into(), 51820),
            round_trip: Some(Duration::from_micros(1_000 + 7_300 * (age % 11))),
            last_handshake: now.checked_sub(Duration::from_secs(age % 120)),
            sent: 40_000 + age * 900 * (number as u64 + 1),
            received: 900_000 + age * 21_000 * (number as u64 + 1),
        };
        let mut paths = Vec::new();
        for (number, site) in self.sites.iter().enumerate() {
            let path = match site.path {
                PathState::Unused | PathState::Offline => continue,
                PathState::Connecting => None,
                PathState::Relayed => Some(path(number, PathKind::Relay(RelayId::from_u128(id(4, number))))),
                PathState::Direct => Some(path(number, PathKind::Direct)),
            };
            let gateway = GatewayId::from_u128(id(2, number));
            paths.push(PathView { gateway, site: Some(site.site.id), path });
        }
        paths
    }

    pub(super) fn devices(&self) -> Vec<DeviceView> {
        let device = |number: u8, name: &str| DeviceView {
            id: ClientId::from_u128(id(3, number.into())),
            name: Some(name.to_owned()),
            ipv4: Ipv4Addr::new(100, 64, 7, number),
            ipv6: Ipv6Addr::new(0xfd00, 0x2021, 0x1111, 0, 0, 0, 7, number.into()),
            pools: vec!["Developers".to_owned()],
        };
        vec![device(1, "kims_laptop"), device(2, "build-7")]
    }

    pub(super) fn interface(&self) -> InterfaceConfig {
        let sentinel = IpAddr::V4(Ipv4Addr::new(100, 100, 111, 1));
        let upstream = dns::Upstream::Do53(SocketAddr::new(Ipv4Addr::new(192, 0, 2, 53).into(), 53));
        InterfaceConfig {
            ipv4: Ipv4Addr::new(100, 64, 0, 10),
            ipv6: Ipv6Addr::new(0xfd00, 0x2021, 0x1111, 0, 0, 0, 0, 10),
            sentinels: vec![(sentinel, upstream)],
            search_domain: Some("corp.example".to_owned()),
            routes: model::address_plan::ranges().into_iter().collect(),
        }
    }
}

fn initial_path(number: usize) -> PathState {
    match number {
        0 => PathState::Direct,
        1 => PathState::Relayed,
        2 => PathState::Offline,
        _ => PathState::Unused,
    }
}

fn resource(number: usize, site: Option<Site>) -> ResourceView {
    let round = number / SERVICES.len();
    let (service, description) = SERVICES.get(number % SERVICES.len()).copied().unwrap_or_default();
    let name = if round == 0 { service.to_owned() } else { format!("{service} {}", round + 1) };
    let label: String =
        name.to_lowercase().chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
    let (kind, address) = match number {
        0 => (Kind::Internet, None),
        _ if number % 5 == 4 => (Kind::Cidr, Some(format!("10.{}.{}.0/24", number / 256 % 256, number % 256))),
        _ if number % 7 == 6 => (Kind::Dns, Some(format!("**.{label}.corp.example"))),
        _ => (Kind::Dns, Some(format!("{label}.corp.example"))),
    };
    ResourceView {
        id: ResourceId::from_u128(id(0, number)),
        kind,
        name: if kind == Kind::Internet { "Internet Resource".to_owned() } else { name },
        address,
        address_description: Some(description.to_owned()).filter(|text| !text.is_empty() && kind != Kind::Internet),
        sites: site.into_iter().collect(),
        status: Status::Unknown,
        refusal: None,
    }
}

/// An id in the format of a UUID.
fn id(kind: u128, number: usize) -> u128 {
    0x5117_0000_0000_4000_8000_0000_0000_0000 | (kind << 32) | number as u128
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn requested_number_of_resources_is_sorted_like_the_tunnels() {
        for count in [0, 1, 12, 1000] {
            let resources = World::new(count, Instant::now()).resources();
            assert_eq!(resources.len(), usize::from(count));
            let ids: BTreeSet<_> = resources.iter().map(|it| it.id).collect();
            assert_eq!(ids.len(), resources.len());
            assert!(resources.iter().skip(1).all(|it| it.kind != Kind::Internet));
            assert!(resources.iter().skip(1).is_sorted_by_key(|it| (&it.name, it.id)));
        }
    }
}
