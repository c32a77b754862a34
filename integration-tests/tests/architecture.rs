//! Rules about who depends on whom, so that nobody has to remember them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::Context as _;

/// Crates without I/O: they get time, datagrams and a seed as arguments.
const CORE: [&str; 8] = ["connection", "dns", "ip-packet", "model", "portal", "sim", "tunnel", "wireguard"];

/// All that each package of the dependency graph needs at run time, directly or not.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn read() -> anyhow::Result<Self> {
        // Only what this platform needs: a machine that has built us has downloaded nothing else.
        let platform = host_platform()?;
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &platform])
            .output()
            .context("run cargo")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("read what cargo prints")?;
        let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();

        let names: BTreeMap<String, String> =
            list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let needs = graph.entry(names[&text(&node["id"])].clone()).or_default();
            for dependency in list(&node["deps"]) {
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                    needs.insert(names[&text(&dependency["pkg"])].clone());
                }
            }
        }
        Ok(Self(graph))
    }

    fn needs(&self, package: &str) -> BTreeSet<&str> {
        let mut all = BTreeSet::new();
        let mut open = vec![package];
        while let Some(package) = open.pop() {
            for need in self.0.get(package).into_iter().flatten() {
                if all.insert(need.as_str()) {
                    open.push(need);
                }
            }
        }
        all
    }
}

fn host_platform() -> anyhow::Result<String> {
    let output = Command::new("rustc").args(["--verbose", "--version"]).output().context("run rustc")?;
    let version = String::from_utf8(output.stdout).context("read what rustc prints")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

#[test]
fn dependencies_point_from_the_edge_to_the_core() -> anyhow::Result<()> {
    let graph = Graph::read()?;
    for core in CORE {
        let needs = graph.needs(core);
        assert!(!needs.is_empty(), "{core} is not in the graph");
        for edge in ["tokio", "mio", "zbus", "rtnetlink", "firezoned"] {
            assert!(!needs.contains(edge), "{core} depends on {edge}");
        }
    }
    Ok(())
}

#[test]
fn the_rooms_know_only_their_neighbours() -> anyhow::Result<()> {
    let graph = Graph::read()?;
    for (room, strangers) in [
        ("portal", &["tunnel", "connection", "dns"][..]),
        ("tunnel", &["portal", "dbus-api"]),
        ("connection", &["tunnel", "dns", "portal"]),
        ("wireguard", &["connection", "ip-packet", "tunnel", "dns", "portal", "sim"]),
        ("dns", &["connection", "tunnel", "ip-packet"]),
        ("dbus-api", &["model", "tunnel", "portal"]),
        ("doctor", &["tunnel", "connection", "dns", "firezoned"]),
        ("tls", &["portal", "zbus"]),
        ("config-file", &["portal", "zbus", "tokio"]),
        ("firezonectl", &["tunnel", "connection", "firezoned", "gtk4"]),
        ("firezone-gtk", &["tunnel", "connection", "dns", "firezoned"]),
        ("firezoned", &["gtk4", "keyring"]),
    ] {
        let needs = graph.needs(room);
        for stranger in strangers {
            assert!(!needs.contains(stranger), "{room} depends on {stranger}");
        }
    }
    Ok(())
}
