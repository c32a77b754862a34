//! The daemon is killed while it changes the machine, at one system call after the other. Then its unit
//! has to restore everything.

use std::{collections::BTreeMap, time::Duration};

use integration_tests::{
    account::{PORTAL_NAME, PRIVATE_NAME},
    logs::Log,
    machine::{Machine, UNIT, footprint::difference},
    process::{Running, wait_until},
    stand::{Stand, with_stand},
    topology::PORTAL,
};
use nix::sys::signal::Signal;

use crate::machine_dns::with_resolved;

const TIMEOUT: Duration = Duration::from_secs(40);

/// System calls that change something: `sendto` for netlink and the portal, `sendmsg` for the bus; files and sockets
/// are opened and connected.
const CALLS: [&str; 5] = ["sendto", "sendmsg", "connect", "openat", "bind"];

/// Minimum number of kills in the long test.
const MIN_KILLS: usize = 20;

/// File of the system call trace, in a directory that the footprint ignores.
const TRACE: &str = "/run/log/trace";

/// Prevents a restart of the unit.
pub(super) const STAYS_DOWN: &str = "[Service]\nRestart=no\n";

#[test]
#[ignore = "needs root: make integration"]
fn kill_during_sign_in_leaves_nothing_behind() -> anyhow::Result<()> {
    with_stand(|stand| killed_at(stand, |_| Ok(()), 3).map(drop))
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_kill_is_repaired() -> anyhow::Result<()> {
    many_kills(|_| Ok(()))
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_kill_is_repaired_with_systemd_resolved() -> anyhow::Result<()> {
    many_kills(with_resolved)
}

fn many_kills(set_up: fn(&Machine) -> anyhow::Result<()>) -> anyhow::Result<()> {
    with_stand(|stand| {
        let kills = killed_at(stand, set_up, 30)?;
        assert!(kills >= MIN_KILLS, "killed only {kills} times");
        Ok(())
    })
}

/// Kills the daemon at about this many points, evenly spread over a session; returns the actual number.
fn killed_at(stand: &Stand, set_up: fn(&Machine) -> anyhow::Result<()>, points: usize) -> anyhow::Result<usize> {
    let mut machine = Machine::new(stand)?;
    machine.install("install")?;
    machine.add_member("anna")?;
    machine.write(&format!("/etc/systemd/system/{UNIT}.d/test.conf"), STAYS_DOWN)?;
    set_up(&machine)?;
    machine.boot()?;
    machine.systemctl(&format!("stop {UNIT}"))?;
    let before = machine.footprint()?;

    let calls = count(stand, &machine)?;
    assert_eq!(difference(&before, &machine.footprint()?), "", "left behind without any kill");
    let total: usize = calls.values().sum();
    let mut kills = 0;
    for (call, count) in calls {
        let share = (points * count).div_ceil(total).min(count);
        for number in (1..=share).map(|part| (part * count).div_ceil(share)) {
            machine.systemctl(&format!("start {UNIT}"))?;
            let trace = attach(stand, &machine, &format!("--inject={call}:signal=KILL:when={number}"))?;
            let reached = session(&machine).is_err() && is_killed(&machine)?;
            machine.program(&format!("systemctl stop {UNIT}")).run()?;
            drop(trace);
            tracing::info!(call, number, reached, "killed");
            kills += usize::from(reached);

            let when = format!("killed at {call} {number} of {count}");
            machine.program("rm -f").arg(TRACE).check()?;
            assert_eq!(difference(&before, &machine.footprint()?), "", "{when}");
            assert!(machine.look_up(PORTAL_NAME)?.contains(&PORTAL.v4.into()), "{when}: no names any more");
        }
    }
    Ok(kills)
}

/// The number of calls of each kind in a session.
fn count(stand: &Stand, machine: &Machine) -> anyhow::Result<BTreeMap<&'static str, usize>> {
    machine.systemctl(&format!("start {UNIT}"))?;
    let trace = attach(stand, machine, "--decode-fds=none")?;
    session(machine)?;
    machine.systemctl(&format!("stop {UNIT}"))?;
    drop(trace);
    let lines = machine.read(TRACE)?;
    machine.program("rm").arg(TRACE).check()?;
    let of = |call| lines.lines().filter(|line| line.starts_with(&format!("{call}("))).count();
    Ok(CALLS.into_iter().map(|call| (call, of(call))).filter(|(_, count)| *count > 0).collect())
}

/// Traces the thread of the daemon that changes the machine.
fn attach(stand: &Stand, machine: &Machine, option: &str) -> anyhow::Result<Running> {
    let process = machine.property(UNIT, "MainPID")?;
    let calls = CALLS.join(",");
    let log = stand.logs.open("strace");
    let strace = format!("strace --trace={calls} {option} --output={TRACE} --attach={process}");
    let running = machine.program(&strace).start("strace", log)?;
    let is_attached = |log: &Log| log.contains("attached");
    wait_until("strace is attached", TIMEOUT, || is_attached(running.log()))?;
    Ok(running)
}

/// Signs in, finds a name, signs out.
fn session(machine: &Machine) -> anyhow::Result<()> {
    machine.sign_in("anna")?;
    machine.look_up(PRIVATE_NAME)?;
    machine.sign_out("anna")
}

/// Waits until the unit is down. Returns whether that is because its process was killed.
pub(super) fn is_killed(machine: &Machine) -> anyhow::Result<bool> {
    wait_until("the unit is down", TIMEOUT, || {
        machine.property(UNIT, "ActiveState").is_ok_and(|state| state == "failed" || state == "inactive")
    })?;
    let status = machine.property(UNIT, "ExecMainStatus")?;
    Ok(status == (Signal::SIGKILL as i32).to_string())
}
