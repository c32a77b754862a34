//! The packages on a booted machine without a user: installed, used, replaced and purged.

use std::time::Duration;

use integration_tests::{
    account::{ACCOUNT, CLIENT_TOKEN, PORTAL_URL},
    machine::{
        Machine, UNIT,
        footprint::difference,
        packages::Version::{Next, This},
    },
    process::{Running, wait_until},
    stand::{BUS_NAME, INTERFACE, Stand, with_stand},
    topology::SERVER,
};

const TIMEOUT: Duration = Duration::from_secs(40);

/// Highest permitted exposure level of the unit, in tenths.
const MAX_EXPOSURE: u32 = 18;

/// Longest permitted interruption while the daemon is replaced.
const MAX_INTERRUPTION: Duration = Duration::from_secs(3);

const SIGN_IN: &str = "firezonectl sign-in --token-stdin --account-slug";

/// Commands that need permission.
const VERBS: [&str; 10] = [
    "sign-in --token-stdin",
    "sign-out",
    "resources",
    "resource wiki.corp.example",
    "internet on",
    "reset",
    "path wiki.corp.example",
    "dns",
    "settings set log-filter debug",
    "log-level debug",
];

/// Files that dpkg and the user database change for good.
const PERMITTED_CHANGES: [&str; 4] = ["/var/lib/dpkg", "/etc/passwd", "/etc/group", "/etc/shadow"];

/// A machine with the package files and with users outside of the group.
fn machine(stand: &Stand, set_up: impl FnOnce(&Machine) -> anyhow::Result<()>) -> anyhow::Result<Machine> {
    let mut machine = Machine::new(stand)?;
    machine.write("/etc/default/firezone-client", &format!("FIREZONE_API_URL={PORTAL_URL}\nRUST_LOG=debug\n"))?;
    for name in ["anna", "bob"] {
        machine.inside("useradd --create-home --shell /bin/sh").arg(name).check()?;
    }
    machine.write("/home/anna/.config/notes", "mine\n")?;
    machine.with_packages()?;
    set_up(&machine)?;
    machine.boot()?;
    Ok(machine)
}

fn is_up(machine: &Machine) -> anyhow::Result<()> {
    wait_until("the unit is up", TIMEOUT, || machine.property(UNIT, "ActiveState").is_ok_and(|state| state == "active"))
}

/// The footprint of the machine without [`PERMITTED_CHANGES`].
fn footprint(machine: &Machine) -> anyhow::Result<String> {
    let all = machine.footprint()?;
    let is_kept = |line: &&str| {
        let mut words = line.split_whitespace();
        !words.any(|word| {
            PERMITTED_CHANGES.iter().any(|place| word.starts_with(place) || word.starts_with("/etc/gshadow"))
        })
    };
    Ok(all.lines().filter(is_kept).map(|line| format!("{line}\n")).collect())
}

/// A shell with the groups that `anna` had at its start.
fn session_of_anna(machine: &Machine, stand: &Stand, entrance: &str) -> anyhow::Result<Running> {
    machine.program("sh -c").arg("rm -f /home/anna/orders; mkfifo --mode=644 /home/anna/orders").check()?;
    let session = machine.program(entrance).arg("id -Gn; echo ready; sh /home/anna/orders");
    let session = session.start("session", stand.logs.open("session"))?;
    wait_until("she is there", TIMEOUT, || session.log().contains("ready"))?;
    Ok(session)
}

#[test]
#[ignore = "needs root: make integration"]
fn packages_install_unattended_work_without_a_new_login_and_purge_cleanly() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine(stand, |_| Ok(()))?;
        let before = footprint(&machine)?;
        machine.dpkg_install(&["firezoned", "firezonectl"], This)?;
        is_up(&machine)?;
        machine.program("sh -s").input(include_str!("../../../debian/tests/service")).check()?;
        for unit in [UNIT, "firezone-client-dns.socket"] {
            machine.systemctl(&format!("--quiet is-enabled {unit}"))?;
        }

        // Two shells from before the membership: at a terminal with a logind session, and as over a connection that logind
        // does not know.
        let mut at_terminal = session_of_anna(&machine, stand, "su --login anna --command")?;
        let sessions = machine.program("loginctl --no-legend --no-pager list-sessions").check()?.text();
        assert!(sessions.contains("anna"), "{sessions}");
        let status = format!("{SIGN_IN} {ACCOUNT}");
        let far_away = || machine.program(&format!("setpriv --reuid=anna --regid=anna --clear-groups {status}"));
        assert_eq!(far_away().input(CLIENT_TOKEN).run()?.status.code(), Some(4), "she may not yet");
        machine.program("usermod --append --groups firezone anna").check()?;
        let orders = format!("echo {CLIENT_TOKEN} | {status} --wait=60 && echo done\n");
        machine.program("sh -c").arg("cat > /home/anna/orders").input(orders).check()?;
        at_terminal.wait(TIMEOUT)?;
        assert!(at_terminal.log().contains("done"), "in her old session: {:?}", at_terminal.log());
        assert!(!at_terminal.log().contains("firezone "), "her session is the old one");
        machine.check_private_server()?;
        machine.sign_out("anna")?;
        far_away().arg("--wait=60").input(CLIENT_TOKEN).check()?;
        machine.check_private_server()?;

        for verb in VERBS {
            let outcome = machine.program(&format!("firezonectl {verb}")).as_user("bob").input(CLIENT_TOKEN).run()?;
            assert_eq!(outcome.status.code(), Some(4), "bob: {verb}: {}", outcome.error_text());
        }
        let property = format!("busctl get-property {BUS_NAME} /dev/firezone/Client dev.firezone.Client1 State");
        assert_eq!(machine.program(&property).as_user("bob").check()?.text().trim(), "s \"connected\"");

        let processes = machine.program("sh -c").arg("ps -e -o user:32=,args= | grep '[f]irezone'").check()?.text();
        assert!(!processes.contains("root "), "something runs as root: {processes}");
        machine.program(&format!("systemd-analyze security --no-pager --threshold={MAX_EXPOSURE} {UNIT}")).check()?;

        machine.program("rm /home/anna/orders").check()?;
        machine.dpkg("--purge firezonectl firezoned")?;
        assert_eq!(difference(&before, &footprint(&machine)?), "", "something was left behind");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_upgrade_keeps_the_session() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine(stand, |_| Ok(()))?;
        machine.dpkg_install(&["firezoned", "firezonectl"], This)?;
        machine.program("usermod --append --groups firezone anna").check()?;
        machine.sign_in("anna")?;
        machine.check_private_server()?;

        let monitor = machine.program("firezonectl monitor").as_user("anna");
        let monitor = monitor.start("monitor", stand.logs.open("monitor"))?;
        let ping = stand.client().program(&format!("ping -D -n -i 0.05 {}", SERVER.v4));
        let ping = ping.start("ping", stand.logs.open("ping"))?;
        wait_until("there are answers", TIMEOUT, || stand.logs.count("ping", "bytes from") > 20)?;
        let process = machine.property(UNIT, "MainPID")?;

        machine.dpkg_install(&["firezoned", "firezonectl"], Next)?;
        let answers = stand.logs.count("ping", "bytes from");
        wait_until("there are answers again", TIMEOUT, || stand.logs.count("ping", "bytes from") > answers + 20)?;
        assert_ne!(machine.property(UNIT, "MainPID")?, process, "another daemon");
        let gap = longest_gap(&ping.log().text());
        ping.stop()?;
        println!("the longest gap between two answers: {gap:?}");
        assert!(gap < MAX_INTERRUPTION, "{gap:?}");

        machine.check_private_server()?;
        wait_until("the monitor tells of the new daemon", TIMEOUT, || {
            let text = monitor.log().text();
            text.split_once("The daemon is not running").is_some_and(|(_, then)| then.contains(" Connected"))
        })?;
        let status = machine.program("firezonectl --json status").as_user("anna").check()?.json()?;
        assert_eq!(status["state"], "connected");

        // A sign-out also applies to the next daemon.
        machine.sign_out("anna")?;
        machine.systemctl(&format!("restart {UNIT}"))?;
        let status = machine.program("firezonectl --json status").as_user("anna").run()?.json()?;
        assert_eq!(status["state"], "signed-out");
        assert!(!machine.program("ip -brief link").check()?.text().contains(INTERFACE));
        Ok(())
    })
}

/// The longest gap between two replies, from the timestamps of `ping`.
fn longest_gap(log: &str) -> Duration {
    let times = log.lines().filter(|line| line.contains("bytes from"));
    let times = times.filter_map(|line| line.split(['[', ']']).nth(1)?.parse::<f64>().ok()).collect::<Vec<_>>();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    Duration::from_secs_f64(gaps.fold(0.0, f64::max))
}
