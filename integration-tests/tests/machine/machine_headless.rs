//! A server: a token file, no interactive sign-in, and signals.

use std::time::Duration;

use integration_tests::{
    account::{CLIENT_TOKEN, PORTAL_URL},
    machine::{Machine, UNIT, packages::Version},
    process::wait_until,
    stand::{BUS_NAME, Stand, with_stand},
};

use crate::machine_online::{is, with_dependants};

const TOKEN: &str = "/etc/dev.firezone.client/token";

fn server(stand: &Stand, mode: &str) -> anyhow::Result<Machine> {
    let machine = Machine::new(stand)?;
    machine.install("install-headless")?;
    machine.write(TOKEN, &format!("{CLIENT_TOKEN}\n"))?;
    machine.inside(&format!("chmod {mode} {TOKEN}")).check()?;
    Ok(machine)
}

/// The public key of the client at the portal; a new one after each reset.
fn key(stand: &Stand) -> anyhow::Result<serde_json::Value> {
    Ok(stand.portal("GET", "/state", None)?["clients"][0]["public_key"].clone())
}

#[test]
#[ignore = "needs root: make integration"]
fn server_reconnects_after_a_reboot() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut machine = server(stand, "600")?;
        machine.add_member("anna")?;
        machine.inside("useradd --no-create-home bob").check()?;
        with_dependants(&machine)?;
        machine.systemctl_offline("enable firezone-online.target")?;

        for boot in 1..=2 {
            machine.boot()?;
            machine.wait_for_unit_status("Connected")?;
            machine.check_private_server()?;
            for unit in ["firezone-online.target", "needs-tunnel.service"] {
                is(&machine, unit, "active")?;
            }
            let names = machine.program("busctl --list --no-legend --no-pager").check()?.text();
            assert!(!names.contains(BUS_NAME), "a server has taken the name");
            let sessions = machine.program("loginctl list-sessions --no-legend").check()?.text();
            assert_eq!(sessions, "", "there is a login session");

            let status = machine.program("firezonectl status --json").as_user("anna").check()?.json()?;
            assert_eq!((&status["mode"], &status["state"]), (&"service".into(), &"connected".into()), "boot {boot}");
            let refused = machine.program("firezonectl status").as_user("bob").run()?;
            assert_eq!(refused.status.code(), Some(4), "{}", refused.error_text());
            for verb in ["sign-out", "reset", "internet on"] {
                let refused = machine.program(&format!("firezonectl {verb}")).run()?;
                assert_eq!(refused.status.code(), Some(6), "{verb}: {}", refused.error_text());
            }

            let before = key(stand)?;
            machine.systemctl(&format!("kill --signal=HUP {UNIT}"))?;
            wait_until("the client has come back with another key", Duration::from_secs(20), || {
                key(stand).is_ok_and(|now| now != before)
            })?;
            machine.wait_for_unit_status("Connected")?;
            machine.check_private_server()?;
            let process = machine.property(UNIT, "NRestarts")?;
            assert_eq!(process, "0", "it has started anew instead of beginning anew");
            machine.shut_down()?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn token_file_readable_by_others_is_refused() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut machine = server(stand, "644")?;
        machine.systemctl_offline(&format!("disable {UNIT}"))?;
        machine.boot()?;

        for (mode, error_text) in
            [("644", "others may read the file (mode 0644)"), ("640", "others may read the file (mode 0640)")]
        {
            machine.program(&format!("chmod {mode} {TOKEN}")).check()?;
            let start = machine.program(&format!("systemctl start {UNIT}")).run()?;
            assert!(!start.status.success(), "mode {mode}");
            wait_until("the journal says why", Duration::from_secs(20), || {
                stand.logs.count("machine", error_text) > 0
            })?;
            machine.systemctl(&format!("stop {UNIT}"))?;
            let status = machine.program("firezonectl status").run()?;
            assert_eq!(status.status.code(), Some(3), "{}", status.error_text());
        }
        machine.program(&format!("chmod 600 {TOKEN}")).check()?;
        machine.program(&format!("chown daemon {TOKEN}")).check()?;
        assert!(!machine.program(&format!("systemctl start {UNIT}")).run()?.status.success(), "another owner");
        machine.systemctl(&format!("stop {UNIT}"))?;

        machine.program(&format!("chown root {TOKEN}")).check()?;
        for mode in ["600", "400"] {
            machine.program(&format!("chmod {mode} {TOKEN}")).check()?;
            machine.systemctl(&format!("start {UNIT}"))?;
            machine.wait_for_unit_status("Connected")?;
            machine.systemctl(&format!("stop {UNIT}"))?;
        }
        assert_eq!(stand.logs.count("machine", CLIENT_TOKEN), 0, "the journal knows the token");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn server_without_a_token_reports_what_is_missing() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut machine = Machine::new(stand)?;
        machine.install("install-headless")?;
        machine.systemctl_offline(&format!("disable {UNIT}"))?;
        machine.boot()?;
        assert!(!machine.program(&format!("systemctl start {UNIT}")).run()?.status.success());
        wait_until("the journal says what is missing", Duration::from_secs(20), || {
            stand.logs.count("machine", "set FIREZONE_TOKEN, or put it into /etc/dev.firezone.client/token") > 0
        })?;
        machine.systemctl(&format!("stop {UNIT}"))
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn packaged_server_connects_before_any_login() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut machine = Machine::new(stand)?;
        machine.write("/etc/default/firezone-client", &format!("FIREZONE_API_URL={PORTAL_URL}\nRUST_LOG=debug\n"))?;
        machine.with_packages()?;
        machine.boot()?;

        // A missing token does not make an installation fail.
        let said = machine.dpkg_install(&["firezoned", "firezonectl", "firezone-headless"], Version::This)?.text();
        assert!(said.contains("put that into /etc/dev.firezone.client/token"), "{said}");
        wait_until("the journal says what is missing", Duration::from_secs(20), || {
            stand.logs.count("machine", "set FIREZONE_TOKEN, or put it into /etc/dev.firezone.client/token") > 0
        })?;
        assert_eq!(machine.property("firezone-online.target", "ActiveState")?, "inactive", "no unit has requested it");

        machine.write(TOKEN, &format!("{CLIENT_TOKEN}\n"))?;
        machine.program(&format!("chmod 644 {TOKEN}")).check()?;
        assert!(!machine.program(&format!("systemctl restart {UNIT}")).run()?.status.success());
        machine.program(&format!("chmod 600 {TOKEN}")).check()?;
        machine.systemctl(&format!("restart {UNIT}"))?;
        machine.wait_for_unit_status("Connected")?;
        machine.systemctl("enable --now firezone-online.target")?;
        machine.shut_down()?;

        machine.boot()?;
        machine.wait_for_unit_status("Connected")?;
        is(&machine, "firezone-online.target", "active")?;
        machine.check_private_server()?;
        let sessions = machine.program("loginctl list-sessions --no-legend").check()?.text();
        assert_eq!(sessions, "", "there is a login session");
        let status = machine.program("firezonectl status --json").check()?.json()?;
        assert_eq!((&status["mode"], &status["state"]), (&"service".into(), &"connected".into()));
        assert_eq!(stand.logs.count("machine", CLIENT_TOKEN), 0, "the journal knows the token");

        let desktop =
            machine.program("sh -c").arg("dpkg --install /root/packages/firezone-gtk_*[0-9]_*.deb 2>&1").run()?;
        assert!(!desktop.status.success());
        assert!(desktop.text().contains("conflicting packages - not installing firezone-gtk"), "{}", desktop.text());
        machine.check_private_server()?;

        // Without the package it stays a server until the administrator removes the token.
        machine.dpkg("--purge firezone-headless")?;
        machine.wait_for_unit_status("Connected")?;
        let refused = machine.program("firezonectl sign-out").run()?;
        assert_eq!(refused.status.code(), Some(6), "{}", refused.error_text());
        machine.check_private_server()?;
        assert_eq!(machine.read(TOKEN)?.trim(), CLIENT_TOKEN, "the administrator's token stays");
        machine.program(&format!("rm {TOKEN}")).check()?;
        machine.systemctl(&format!("restart {UNIT}"))?;
        machine.program(&format!("busctl status {BUS_NAME}")).check()?;
        let status = machine.program("firezonectl status --json").run()?.json()?;
        assert_eq!((&status["mode"], &status["state"]), (&"user".into(), &"signed-out".into()));
        Ok(())
    })
}
