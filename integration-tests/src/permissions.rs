//! The permission table: every method and property of the daemon, called by every kind of caller.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

use crate::{account::CLIENT_TOKEN, process::Program};

/// Permitted for all callers.
const PUBLIC: [&str; 6] = [
    ".GetPermissions",
    ".properties",
    "Resources.properties",
    "Dns.properties",
    "Diagnostics.properties",
    "Settings.properties",
];
/// Protected by polkit.
const PROTECTED: [&str; 17] = [
    ".SignIn",
    ".SignOut",
    ".Reset",
    ".GetStatus",
    "Resources.List",
    "Resources.SetInternetResource",
    "Dns.GetStatus",
    "Dns.Explain",
    "Dns.Flush",
    "Dns.Reapply",
    "Diagnostics.RunChecks",
    "Diagnostics.Collect",
    "Diagnostics.Path",
    "Diagnostics.SetLogFilter",
    "Settings.Get",
    "Settings.Set",
    "Settings.Reset",
];
/// Refused for all callers.
const DENIED: &str = ".write-a-property";
/// A call about a resource that does not exist, and the error for permitted callers.
const UNKNOWN_RESOURCE: (&str, &str) = ("Diagnostics.Path", "dev.firezone.Client1.Error.NotFound");
/// The actions of polkit.
const ACTIONS: [&str; 6] = ["read", "sign-in", "sign-out", "control", "diagnose", "configure"];

/// One column for each caller.
#[derive(Debug, Default)]
pub struct PermissionTable {
    columns: Vec<(String, BTreeMap<String, String>)>,
}

impl PermissionTable {
    /// Calls everything as one caller with `bus-caller methods`. `foreseen` is the permission that the daemon reports before
    /// the call: `yes`, `challenge` or `no`. Each cell is asserted.
    pub fn ask(&mut self, who: &str, caller: Program<'_>, foreseen: &str) -> anyhow::Result<String> {
        let said = caller.input(CLIENT_TOKEN).check().with_context(|| who.to_owned())?.text();
        let cells = said.lines().filter_map(|line| line.split_once(' '));
        let cells: BTreeMap<_, _> = cells.map(|(key, outcome)| (key.to_owned(), outcome.to_owned())).collect();
        let may = if foreseen == "yes" { "yes" } else { "no" };
        let is = |key: &str, expected: &str| {
            let outcome = cells.get(key).with_context(|| format!("{who} did not ask for {key}: {said}"))?;
            ensure!(outcome == expected, "{who}: {key}: {outcome} in the place of {expected}");
            anyhow::Ok(())
        };
        PUBLIC.iter().try_for_each(|key| is(key, "yes"))?;
        is(DENIED, "no")?;
        for key in PROTECTED {
            let (nothing, answer) = UNKNOWN_RESOURCE;
            is(key, if key == nothing && may == "yes" { answer } else { may })?;
        }
        ACTIONS.iter().try_for_each(|action| is(&format!("may-{action}"), foreseen))?;
        self.columns.push((who.to_owned(), cells));
        Ok(said)
    }

    /// Asserts that a caller cannot connect to the daemon.
    pub fn cannot_connect(&mut self, who: &str, caller: Program<'_>) -> anyhow::Result<()> {
        let outcome = caller.input(CLIENT_TOKEN).run()?;
        ensure!(
            !outcome.status.success() && outcome.stderr.contains("cannot connect"),
            "{who}: {}",
            outcome.error_text()
        );
        self.columns.push((who.to_owned(), BTreeMap::new()));
        Ok(())
    }

    /// Human-readable text.
    #[allow(clippy::print_stdout, reason = "output of the test run")]
    pub fn print(&self) {
        let head: Vec<_> = self.columns.iter().map(|(who, _)| who.as_str()).collect();
        println!("{:30} | {}", "", head.join(" | "));
        let actions = ACTIONS.map(|action| format!("may-{action}"));
        let rows = PUBLIC.iter().chain(&PROTECTED).copied().chain([DENIED]).chain(actions.iter().map(String::as_str));
        for row in rows {
            let cells = self.columns.iter().map(|(who, cells)| {
                let cell = match cells.get(row).map(String::as_str) {
                    None => "no",
                    Some(error) if error == UNKNOWN_RESOURCE.1 => "yes",
                    Some(cell) => cell,
                };
                format!("{cell:width$}", width = who.chars().count())
            });
            println!("{row:30} | {}", cells.collect::<Vec<_>>().join(" | "));
        }
    }
}
