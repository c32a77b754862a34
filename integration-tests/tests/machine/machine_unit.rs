//! The unit, in a Debian that boots: what it is allowed, what it does, and that it leaves nothing.

use std::time::Duration;

use integration_tests::{
    account::{CLIENT_TOKEN, PRIVATE_NAME},
    machine::{Machine, UNIT, footprint::difference},
    process::eventually,
    stand::{BUS_NAME, INTERFACE, Stand, tell},
};

use crate::machine_dns::with_resolved;

/// What systemd may think of us at most, in tenths.
const EXPOSURE: u32 = 18;

fn desktop(stand: &Stand) -> anyhow::Result<Machine> {
    let mut machine = Machine::new(stand)?;
    machine.install("install")?;
    machine.add_member("anna")?;
    with_resolved(&machine)?;
    machine.boot()?;
    Ok(machine)
}

fn is_up(machine: &Machine) -> anyhow::Result<()> {
    eventually("the unit is up", Duration::from_secs(30), || {
        machine.property(UNIT, "ActiveState").is_ok_and(|state| state == "active")
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn the_unit_has_the_least_that_it_needs_and_leaves_nothing() -> anyhow::Result<()> {
    tell(|stand| {
        let machine = desktop(stand)?;
        is_up(&machine)?;

        let process = machine.property(UNIT, "MainPID")?;
        let status = machine.read(&format!("/proc/{process}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        // CAP_NET_BIND_SERVICE is 10, CAP_NET_ADMIN is 12.
        for set in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:", "CapInh:"] {
            assert_eq!(field(set), ["0000000000001400"], "{set}");
        }
        let user = machine.program("id --user firezoned").check()?.text();
        assert_ne!(user.trim(), "0");
        assert_eq!(field("Uid:"), vec![user.trim(); 4]);
        assert_eq!(field("NoNewPrivs:"), ["1"]);
        assert_eq!(field("Seccomp:"), ["2"]);

        for unit in [UNIT, "firezone-client-dns@.service"] {
            let verdict =
                machine.program(&format!("systemd-analyze security --no-pager --threshold={EXPOSURE} {unit}")).run()?;
            assert!(verdict.status.success(), "{unit}: {}", verdict.text());
            machine.program(&format!("systemd-analyze verify --man=no /usr/lib/systemd/system/{unit}")).check()?;
        }

        machine.systemctl(&format!("stop {UNIT}"))?;
        let before = machine.footprint()?;
        machine.systemctl(&format!("start {UNIT}"))?;
        machine.sign_in("anna")?;
        machine.reaches_the_server()?;
        let answer = machine.program("resolvectl --no-pager query").arg(PRIVATE_NAME).check()?.text();
        assert!(answer.contains(&format!("link: {INTERFACE}")), "{answer}");
        assert_ne!(difference(&before, &machine.footprint()?), "");
        let mode = machine.program("stat --format=%U:%G:%a /run/dev.firezone.client/status.json").check()?.text();
        assert_eq!(mode.trim(), "firezoned:firezone:640");

        machine.systemctl(&format!("stop {UNIT}"))?;
        assert_eq!(difference(&before, &machine.footprint()?), "", "something was left behind");
        assert_eq!(machine.property(UNIT, "Result")?, "success");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_server_is_connected_again_after_a_reboot() -> anyhow::Result<()> {
    tell(|stand| {
        let mut machine = Machine::new(stand)?;
        machine.install("install-headless")?;
        machine.write("/etc/dev.firezone.client/token", &format!("{CLIENT_TOKEN}\n"))?;
        machine.inside("chmod 600 /etc/dev.firezone.client/token").check()?;

        for boot in 1..=2 {
            machine.boot()?;
            machine.unit_says("Connected")?;
            machine.reaches_the_server()?;
            let file: serde_json::Value = serde_json::from_str(&machine.read("/run/dev.firezone.client/status.json")?)?;
            assert_eq!((&file["mode"], &file["state"]), (&"service".into(), &"connected".into()), "boot {boot}");
            let names = machine.program("busctl --list --no-legend --no-pager").check()?.text();
            assert!(!names.contains(BUS_NAME), "a server has taken the name");
            machine.shut_down()?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_token_that_others_can_read_is_refused_although_systemd_could_read_it() -> anyhow::Result<()> {
    tell(|stand| {
        let mut machine = Machine::new(stand)?;
        machine.install("install-headless")?;
        machine.write("/etc/dev.firezone.client/token", &format!("{CLIENT_TOKEN}\n"))?;
        machine.inside("chmod 644 /etc/dev.firezone.client/token").check()?;
        machine.inside(&format!("systemctl --quiet disable {UNIT}")).check()?;
        machine.boot()?;

        let start = machine.program(&format!("systemctl start {UNIT}")).run()?;
        assert!(!start.status.success());
        eventually("the journal says why", Duration::from_secs(20), || {
            stand.logs.count("machine", "others may read the file (mode 0644)") > 0
        })?;
        machine.systemctl(&format!("stop {UNIT}"))?;
        assert_eq!(stand.logs.count("machine", CLIENT_TOKEN), 0, "the journal knows the token");
        Ok(())
    })
}
