//! `firezone-online.target`: units that need the tunnel start and stop with it.

use std::time::Duration;

use integration_tests::{
    machine::{Machine, UNIT},
    process::wait_until,
    stand::with_stand,
};

const TARGET: &str = "firezone-online.target";
/// A service that is bound to the tunnel.
const BOUND_UNIT: &str = "needs-tunnel.service";
/// A service that needs the tunnel for its start only.
const LOOSE_UNIT: &str = "waits-for-tunnel.service";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Writes two units that are ordered behind the target, and enables the first.
pub(crate) fn with_dependants(machine: &Machine) -> anyhow::Result<()> {
    let service = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n";
    let needy = format!("[Unit]\nBindsTo={TARGET}\nAfter={TARGET}\n{service}[Install]\nWantedBy={TARGET}\n");
    machine.write(&format!("/etc/systemd/system/{BOUND_UNIT}"), &needy)?;
    machine.write(
        &format!("/etc/systemd/system/{LOOSE_UNIT}"),
        &format!("[Unit]\nWants={TARGET}\nAfter={TARGET}\n{service}"),
    )?;
    machine.systemctl_offline(&format!("enable {BOUND_UNIT}"))
}

pub(crate) fn is(machine: &Machine, unit: &str, state: &str) -> anyhow::Result<()> {
    wait_until(&format!("{unit} is {state}"), TIMEOUT, || {
        machine.property(unit, "ActiveState").is_ok_and(|found| found == state)
    })
}

/// The time at which the target was reached, if it is active.
fn reached(machine: &Machine) -> anyhow::Result<String> {
    machine.property(TARGET, "ActiveEnterTimestampMonotonic")
}

#[test]
#[ignore = "needs root: make integration"]
fn units_that_need_the_tunnel_start_and_stop_with_it() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut machine = Machine::new(stand)?;
        machine.install("install")?;
        machine.add_member("anna")?;
        with_dependants(&machine)?;
        machine.boot()?;
        assert_eq!(machine.property(TARGET, "ActiveState")?, "inactive", "no unit has requested it");

        machine.systemctl(&format!("enable {TARGET}"))?;
        machine.systemctl(&format!("start --no-block {TARGET} {LOOSE_UNIT}"))?;
        is(&machine, "firezone-online.service", "activating")?;
        for unit in [TARGET, BOUND_UNIT, LOOSE_UNIT] {
            assert_eq!(machine.property(unit, "ActiveState")?, "inactive", "{unit}");
        }

        machine.sign_in("anna")?;
        for unit in [TARGET, BOUND_UNIT, LOOSE_UNIT] {
            is(&machine, unit, "active")?;
        }
        let verdict =
            machine.program("systemd-analyze security --no-pager --threshold=18 firezone-online.service").run()?;
        assert!(verdict.status.success(), "{}", verdict.text());
        machine.program("systemd-analyze verify --man=no /usr/lib/systemd/system/firezone-online.target").check()?;

        // The portal is unreachable, and the tunnel stays.
        let before = reached(&machine)?;
        stand.stop_portal()?;
        machine.wait_for_unit_status("Reconnecting")?;
        stand.start_portal()?;
        machine.wait_for_unit_status("Connected")?;
        assert_eq!(reached(&machine)?, before, "a tunnel that stayed counts as gone");

        machine.sign_out("anna")?;
        for unit in [TARGET, BOUND_UNIT] {
            is(&machine, unit, "inactive")?;
        }
        assert_eq!(machine.property(LOOSE_UNIT, "ActiveState")?, "active", "who has what it wanted goes on");

        machine.sign_in("anna")?;
        for unit in [TARGET, BOUND_UNIT] {
            is(&machine, unit, "active")?;
        }

        // Stopped and started by hand, with another session.
        machine.systemctl(&format!("stop {UNIT}"))?;
        for unit in [TARGET, BOUND_UNIT] {
            is(&machine, unit, "inactive")?;
        }
        machine.systemctl(&format!("start {UNIT}"))?;
        machine.sign_in("anna")?;
        for unit in [TARGET, BOUND_UNIT] {
            is(&machine, unit, "active")?;
        }

        // A crash ends the tunnel, however briefly.
        let before = reached(&machine)?;
        machine.systemctl(&format!("kill --signal=KILL {UNIT}"))?;
        wait_until("the crash is noticed", TIMEOUT, || {
            machine.property(UNIT, "NRestarts").is_ok_and(|restarts| restarts == "1")
        })?;
        is(&machine, UNIT, "active")?;
        machine.sign_in("anna")?;
        wait_until("the target is reached anew", TIMEOUT, || reached(&machine).is_ok_and(|now| now != before))?;
        for unit in [TARGET, BOUND_UNIT] {
            is(&machine, unit, "active")?;
        }
        Ok(())
    })
}
