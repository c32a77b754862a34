//! A daemon that does not start: `doctor` and `report` on a booted Debian.

use anyhow::{Context as _, ensure};
use integration_tests::{
    account::{ACCOUNT, CLIENT_TOKEN, PORTAL_NAME, PRIVATE_NAME},
    machine::{Machine, UNIT},
    stand::with_stand,
};
use serde_json::Value;

const CONFIG: &str = "/etc/dev.firezone.client/firezoned.toml";

/// Writes a report as this user; returns the output and the report.
fn report(machine: &Machine, user: &str, file: &str) -> anyhow::Result<(Value, String)> {
    let answer = machine.program(&format!("firezonectl --json report {file}")).as_user(user).check()?.json()?;
    Ok((answer, machine.read(file)?))
}

/// The finding of `doctor` about the portal.
fn portal(machine: &Machine) -> anyhow::Result<(String, String)> {
    let answer = machine.program("firezonectl --json doctor").as_user("anna").run()?.json()?;
    let check = answer["checks"].as_array().and_then(|all| all.iter().find(|it| it["id"] == "FZ011")).cloned();
    let check = check.context("no FZ011")?;
    let word = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    Ok((word("result"), word("evidence")))
}

#[test]
#[ignore = "needs root: make integration"]
fn report_about_a_dead_daemon_contains_the_journal_if_readable() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut machine = Machine::new(stand)?;
        machine.install("install")?;
        machine.add_member("anna")?;
        machine.boot()?;
        machine.sign_in("anna")?;
        machine.check_private_server()?;
        machine.systemctl(&format!("stop {UNIT}"))?;
        let (result, evidence) = portal(&machine)?;
        let says = [PORTAL_NAME, "/etc/default/firezone-client", "without encryption"];
        ensure!(result == "ok" && says.iter().all(|it| evidence.contains(it)), "{result}: {evidence}");
        // A file that anna may not read can differ from what systemd reports to all users.
        machine.program("chmod 0600 /etc/default/firezone-client").check()?;
        let drop_in = format!("[Service]\nEnvironment=FIREZONE_API_URL=ws://{PORTAL_NAME}:8081\n");
        machine.write(&format!("/run/systemd/system/{UNIT}.d/portal.conf"), &drop_in)?;
        machine.systemctl("daemon-reload")?;
        let (result, evidence) = portal(&machine)?;
        let says = [PORTAL_NAME, "the unit", "which you may not read: /etc/default/firezone-client"];
        ensure!(result == "ok" && says.iter().all(|it| evidence.contains(it)), "{result}: {evidence}");

        machine.write(CONFIG, "name = wiki.corp.example\n")?;
        machine.program(&format!("systemctl start {UNIT}")).run()?;
        machine.systemctl(&format!("stop {UNIT}"))?;
        let (result, evidence) = portal(&machine)?;
        ensure!(result == "failed" && evidence.contains(&format!("{CONFIG}:1")), "{result}: {evidence}");

        let (answer, report_of_root) = report(&machine, "root", "/tmp/of-root.json")?;
        ensure!(answer["by"] == "machine" && answer["log_from"] == "journal", "{answer}");
        let document: Value = serde_json::from_str(&report_of_root)?;
        let places: Vec<&str> =
            document["log"].as_array().into_iter().flatten().filter_map(|it| it["place"].as_str()).collect();
        for place in ["firezoned::", "systemd", "stderr"] {
            ensure!(places.iter().any(|it| it.starts_with(place)), "nothing of {place} in {places:?}");
        }
        ensure!(places.len() <= 200, "{}", places.len());
        for secret in [PRIVATE_NAME, "wiki", ACCOUNT, "anna", CLIENT_TOKEN, "portal.firezone", "100.64.", "203.0.113."]
        {
            ensure!(!report_of_root.contains(secret), "{secret} in {report_of_root}");
        }

        let (answer, report_of_anna) = report(&machine, "anna", "/tmp/of-anna.json")?;
        ensure!(answer["log_from"] == "not-permitted" && report_of_anna.contains("\"not-permitted\""), "{answer}");
        let text = machine.program("firezonectl report /tmp/for-people.json").as_user("anna").check()?.text();
        ensure!(text.contains("groups systemd-journal and adm"), "{text}");
        machine.program("usermod --append --groups systemd-journal anna").check()?;
        let (answer, _) = report(&machine, "anna", "/tmp/of-a-member.json")?;
        ensure!(answer["log_from"] == "journal", "{answer}");
        machine.shut_down()
    })
}
