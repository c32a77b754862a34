//! The permission table as it is in reality: everything that can be asked of the daemon, by everybody who can ask.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

use crate::{account::CLIENT_TOKEN, process::Program};

/// What everybody may.
const FREE: [&str; 6] = [
    ".GetPermissions",
    ".properties",
    "Resources.properties",
    "Dns.properties",
    "Diagnostics.properties",
    "Settings.properties",
];
/// What needs permission.
const GUARDED: [&str; 17] = [
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
/// What nobody may.
const NOBODYS: &str = ".write-a-property";
/// What is asked about a resource that does not exist: whoever may ask is told so.
const ABOUT_NOTHING: (&str, &str) = ("Diagnostics.Path", "dev.firezone.Client1.Error.NotFound");
/// The actions of polkit.
const ACTIONS: [&str; 6] = ["read", "sign-in", "sign-out", "control", "diagnose", "configure"];

/// One column for each caller.
#[derive(Debug, Default)]
pub struct Matrix {
    columns: Vec<(String, BTreeMap<String, String>)>,
}

impl Matrix {
    /// Has a caller ask for everything: `bus-caller methods`, run as that caller. `foreseen` is what the daemon says before
    /// it is asked: `yes`, `challenge` or `no`. Each cell is asserted.
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
        FREE.iter().try_for_each(|key| is(key, "yes"))?;
        is(NOBODYS, "no")?;
        for key in GUARDED {
            let (nothing, answer) = ABOUT_NOTHING;
            is(key, if key == nothing && may == "yes" { answer } else { may })?;
        }
        ACTIONS.iter().try_for_each(|action| is(&format!("may-{action}"), foreseen))?;
        self.columns.push((who.to_owned(), cells));
        Ok(said)
    }

    /// Notes that a caller cannot even reach the daemon.
    pub fn cannot_connect(&mut self, who: &str, caller: Program<'_>) -> anyhow::Result<()> {
        let outcome = caller.input(CLIENT_TOKEN).run()?;
        ensure!(
            !outcome.status.success() && outcome.stderr.contains("cannot connect"),
            "{who}: {}",
            outcome.complaint()
        );
        self.columns.push((who.to_owned(), BTreeMap::new()));
        Ok(())
    }

    /// For people.
    #[allow(clippy::print_stdout, reason = "this is for whoever runs the tests")]
    pub fn print(&self) {
        let head: Vec<_> = self.columns.iter().map(|(who, _)| who.as_str()).collect();
        println!("{:30} | {}", "", head.join(" | "));
        let actions = ACTIONS.map(|action| format!("may-{action}"));
        let rows = FREE.iter().chain(&GUARDED).copied().chain([NOBODYS]).chain(actions.iter().map(String::as_str));
        for row in rows {
            let cells = self.columns.iter().map(|(who, cells)| {
                let cell = match cells.get(row).map(String::as_str) {
                    None => "no",
                    Some(error) if error == ABOUT_NOTHING.1 => "yes",
                    Some(cell) => cell,
                };
                format!("{cell:width$}", width = who.chars().count())
            });
            println!("{row:30} | {}", cells.collect::<Vec<_>>().join(" | "));
        }
    }
}
