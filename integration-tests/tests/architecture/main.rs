//! Rules about dependencies, between crates and between the modules of a crate.

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
};

use anyhow::Context as _;
use serde_json::Value;

use self::imports::Imports;

/// Crates without I/O: they get time, datagrams and a seed as arguments.
const CORE: [&str; 8] = ["connection", "dns", "ip-packet", "model", "portal", "sim", "tunnel", "wireguard"];

/// The crates of the workspace, from the core to the programs. A crate depends on crates of the lines above only.
const LAYERS: &[&[&str]] = &[
    &["config-file", "dbus-api", "ip-packet", "keyring", "model", "tls"],
    &["client", "dns", "event-loop", "portal", "wireguard"],
    &["connection", "doctor"],
    &["logging", "sim", "tunnel"],
    &["session"],
    &["dataplane", "host", "settings"],
    &["resolver"],
    &["portal-link"],
    &["bus"],
    &["firezonectl", "firezone-gtk", "firezoned"],
    &["integration-tests"],
];

/// Crates that a package may not need, directly or not.
const FORBIDDEN: [(&str, &[&str]); 12] = [
    ("wireguard", &["connection", "ip-packet", "tunnel", "dns", "portal", "sim"]),
    ("portal", &["tunnel", "connection", "dns"]),
    ("tunnel", &["portal", "dbus-api"]),
    ("connection", &["tunnel", "dns", "portal"]),
    ("dns", &["connection", "tunnel", "ip-packet"]),
    ("dbus-api", &["model", "tunnel", "portal"]),
    ("doctor", &["tunnel", "connection", "dns", "firezoned"]),
    ("tls", &["portal", "zbus"]),
    ("config-file", &["portal", "zbus", "tokio"]),
    ("firezonectl", &["tunnel", "connection", "firezoned", "gtk4"]),
    ("firezone-gtk", &["tunnel", "connection", "dns", "firezoned"]),
    ("firezoned", &["gtk4", "keyring"]),
];

/// The workspace, as cargo describes it.
struct Workspace {
    /// The packages that each package needs at run time, of the whole dependency graph.
    needs: BTreeMap<String, BTreeSet<String>>,
    /// The root files of the libraries and programs of each member.
    roots: BTreeMap<String, Vec<PathBuf>>,
}

impl Workspace {
    fn read() -> anyhow::Result<Self> {
        // Only what this platform needs: a machine that has built us has downloaded nothing else.
        let platform = host_platform()?;
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &platform])
            .output()
            .context("run cargo")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).context("read what cargo prints")?;

        let packages = list(&metadata["packages"]);
        let names: BTreeMap<&str, &str> =
            packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let needs = needs.entry(names[text(&node["id"])].to_owned()).or_default();
            for dependency in list(&node["deps"]) {
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                    needs.insert(names[text(&dependency["pkg"])].to_owned());
                }
            }
        }
        let members: BTreeSet<&str> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let members = packages.iter().filter(|package| members.contains(text(&package["id"])));
        let roots = members.map(|package| {
            let targets = list(&package["targets"])
                .iter()
                .filter(|target| list(&target["kind"]).iter().map(text).any(|kind| ["lib", "bin"].contains(&kind)));
            (text(&package["name"]).to_owned(), targets.map(|it| text(&it["src_path"]).into()).collect())
        });
        let roots = roots.collect();
        Ok(Self { needs, roots })
    }

    /// What a package needs, directly or not.
    fn needs(&self, package: &str) -> BTreeSet<&str> {
        let mut all = BTreeSet::new();
        let mut open = vec![package];
        while let Some(package) = open.pop() {
            for need in self.needs.get(package).into_iter().flatten() {
                if all.insert(need.as_str()) {
                    open.push(need);
                }
            }
        }
        all
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn host_platform() -> anyhow::Result<String> {
    let output = Command::new("rustc").args(["--verbose", "--version"]).output().context("run rustc")?;
    let version = String::from_utf8(output.stdout).context("read what rustc prints")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

#[test]
fn dependencies_point_from_the_edge_to_the_core() -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    for core in CORE {
        let needs = workspace.needs(core);
        assert!(!needs.is_empty(), "{core} is not in the graph");
        for edge in ["tokio", "mio", "zbus", "rtnetlink", "firezoned"] {
            assert!(!needs.contains(edge), "{core} depends on {edge}");
        }
    }
    Ok(())
}

#[test]
fn crates_depend_on_lower_layers_only() -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    let layer = |package: &str| LAYERS.iter().position(|layer| layer.contains(&package));
    let members: Vec<(&str, usize)> = workspace
        .roots
        .keys()
        .map(|member| Ok((member.as_str(), layer(member).with_context(|| format!("{member} is in none of LAYERS"))?)))
        .collect::<anyhow::Result<_>>()?;
    for (member, above) in &members {
        for (need, below) in &members {
            let needs = workspace.needs.get(*member).is_some_and(|needs| needs.contains(*need));
            assert!(!needs || below < above, "{member} depends on {need}, which is not below it");
        }
    }
    Ok(())
}

#[test]
fn crates_do_not_need_what_is_foreign_to_their_subject() -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    for (package, foreign) in FORBIDDEN {
        let needs = workspace.needs(package);
        assert!(!needs.is_empty(), "{package} is not in the graph");
        for foreign in foreign {
            assert!(!needs.contains(foreign), "{package} depends on {foreign}");
        }
    }
    Ok(())
}

#[test]
fn session_is_a_pure_state_machine() -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    let needs = workspace.needs.get("session").context("session is not in the graph")?;
    for foreign in ["tokio", "zbus", "futures-util"] {
        assert!(!needs.contains(foreign), "session depends on {foreign}");
    }
    Ok(())
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() -> anyhow::Result<()> {
    let mut found = String::new();
    for (package, roots) in Workspace::read()?.roots {
        let circles =
            roots.iter().map(|root| Ok(Imports::read(root)?.circles())).collect::<anyhow::Result<Vec<_>>>()?;
        let circles = circles.concat();
        if !circles.is_empty() {
            found.push_str(&format!("{package}:\n{}", circles.join("\n")));
        }
    }
    assert!(found.is_empty(), "modules import each other in circles; move what they share below both:\n{found}");
    Ok(())
}
