//! The systemd unit on a booted Debian: its privileges, its work, and its clean-up.

use std::time::Duration;

use integration_tests::{
    account::PRIVATE_NAME,
    machine::{Machine, UNIT, footprint::difference},
    process::wait_until,
    stand::{INTERFACE, Stand, with_stand},
};

use crate::machine_dns::with_resolved;

/// Highest permitted exposure level of the unit, in tenths.
const MAX_EXPOSURE: u32 = 18;

fn desktop(stand: &Stand) -> anyhow::Result<Machine> {
    let mut machine = Machine::new(stand)?;
    machine.install("install")?;
    machine.add_member("anna")?;
    with_resolved(&machine)?;
    machine.boot()?;
    Ok(machine)
}

fn is_up(machine: &Machine) -> anyhow::Result<()> {
    wait_until("the unit is up", Duration::from_secs(30), || {
        machine.property(UNIT, "ActiveState").is_ok_and(|state| state == "active")
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn unit_runs_with_least_privilege_and_leaves_nothing_behind() -> anyhow::Result<()> {
    with_stand(|stand| {
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
            let verdict = machine
                .program(&format!("systemd-analyze security --no-pager --threshold={MAX_EXPOSURE} {unit}"))
                .run()?;
            assert!(verdict.status.success(), "{unit}: {}", verdict.text());
            machine.program(&format!("systemd-analyze verify --man=no /usr/lib/systemd/system/{unit}")).check()?;
        }

        machine.systemctl(&format!("stop {UNIT}"))?;
        let before = machine.footprint()?;
        machine.systemctl(&format!("start {UNIT}"))?;
        machine.sign_in("anna")?;
        machine.check_private_server()?;
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
