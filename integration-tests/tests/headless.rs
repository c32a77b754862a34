//! A machine without people: the token comes from the environment, signals are all there is to say.

use std::time::Duration;

use integration_tests::{
    account::PRIVATE_NAME,
    process::eventually,
    stand::{BUS_NAME, INTERFACE, tell},
};
use nix::sys::signal::Signal;

#[test]
#[ignore = "needs root: make integration"]
fn the_environment_is_all_it_needs_and_sigterm_leaves_no_trace() -> anyhow::Result<()> {
    tell(|stand| {
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        assert_eq!(stand.traces()?, "");

        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        assert_ne!(stand.client().read("/etc/resolv.conf")?, resolv_conf);
        assert_ne!(stand.traces()?, "");
        stand.download(PRIVATE_NAME, 1, 4)?;

        daemon.signal(Signal::SIGTERM)?;
        let status = daemon.wait(Duration::from_secs(10))?;

        assert!(status.success(), "ended with {status}");
        assert_eq!(stand.client().read("/etc/resolv.conf")?, resolv_conf, "resolv.conf is not as it was");
        assert_eq!(stand.traces()?, "", "something was left behind");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn one_that_is_to_connect_once_ends_by_itself_and_leaves_no_trace() -> anyhow::Result<()> {
    tell(|stand| {
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        let mut daemon = stand.headless().arg("--exit").start("firezoned", stand.logs.open("firezoned"))?;
        let status = daemon.wait(Duration::from_secs(30))?;

        assert!(status.success(), "ended with {status}");
        let log = daemon.log();
        eventually("it was connected", Duration::from_secs(5), || log.contains("state=connected"))?;
        assert_eq!(stand.client().read("/etc/resolv.conf")?, resolv_conf, "resolv.conf is not as it was");
        assert_eq!(stand.traces()?, "", "something was left behind");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_check_finds_out_who_the_device_is_and_touches_nothing_else() -> anyhow::Result<()> {
    tell(|stand| {
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        stand.headless().arg("--check").check()?;

        // Neither the machine nor its file tells, and nothing can be stored.
        stand.client().write("/etc/machine-id", "")?;
        stand.client().program("mkdir -p /var/lib/dev.firezone.client").check()?;
        stand.client().write("/var/lib/dev.firezone.client/config", "in the way\n")?;
        let refused = stand.headless().env("FIREZONE_ID", "").arg("--check").run()?;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.complaint());
        assert!(refused.stderr.contains("set FIREZONE_ID"), "{}", refused.complaint());

        assert_eq!(stand.client().read("/etc/resolv.conf")?, resolv_conf);
        assert_eq!(stand.traces()?, "");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn what_a_killed_daemon_left_is_put_right_by_the_next() -> anyhow::Result<()> {
    tell(|stand| {
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;

        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(Duration::from_secs(5))?;
        assert_ne!(stand.client().read("/etc/resolv.conf")?, resolv_conf);

        let daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        daemon.stop()?;

        assert_eq!(stand.client().read("/etc/resolv.conf")?, resolv_conf, "resolv.conf is not as it was");
        assert_eq!(stand.traces()?, "", "something was left behind");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn sighup_starts_the_session_anew_as_often_as_one_likes() -> anyhow::Result<()> {
    tell(|stand| {
        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;

        let key = |state: &serde_json::Value| state["clients"][0]["public_key"].clone();
        for _ in 0..2 {
            let before = key(&stand.portal("GET", "/state", None)?);
            daemon.signal(Signal::SIGHUP)?;
            eventually("the client has come back with another key", Duration::from_secs(15), || {
                stand
                    .portal("GET", "/state", None)
                    .is_ok_and(|state| state["clients"][0]["joined"] == true && key(&state) != before)
            })?;
            stand.download(PRIVATE_NAME, 1, 6)?;
        }
        assert!(daemon.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_daemon_with_its_own_token_takes_no_commands() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let program = stand.headless();
        let _daemon = program.start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;

        assert!(!integration_tests::bus::owns(stand.client(), BUS_NAME), "it took the name");
        let status = stand.ctl("anna", "--json status").check()?.json()?;
        assert_eq!(status["mode"], "service");
        assert_eq!(status["state"], "connected");
        let refused = stand.ctl("anna", "sign-out").run()?;
        assert_eq!(refused.status.code(), Some(6), "{}", refused.complaint());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_daemon_without_a_token_and_without_the_bus_has_nothing_to_do() -> anyhow::Result<()> {
    tell(|stand| {
        let outcome = stand.client().program("firezoned --no-ipc").run()?;

        assert!(!outcome.status.success());
        assert!(outcome.stderr.contains("token"), "{}", outcome.complaint());
        assert!(!stand.traces()?.contains(INTERFACE));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn files_configure_it_and_the_log_filter_is_read_again_upon_sighup() -> anyhow::Result<()> {
    tell(|stand| {
        let file = "/etc/dev.firezone.client/firezoned.toml";
        stand.client().program("mkdir -p /etc/dev.firezone.client").check()?;
        stand.client().write(file, "# ours\napi-url = \"ftp://portal.example\"\n")?;
        let refused = stand.headless().env("FIREZONE_API_URL", "").arg("--check").run()?;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.complaint());
        assert!(refused.stderr.contains(&format!("{file}:2: api-url: ")), "{}", refused.complaint());

        stand.client().write(file, "log-filter = \"info\"\n")?;
        assert!(stand.headless().env("RUST_LOG", "").arg("--check").run()?.status.success());
        let daemon = stand.headless().env("RUST_LOG", "").start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        assert!(!daemon.log().text().contains("DEBUG"), "{}", daemon.log().text());
        stand.client().write(file, "log-filter = \"info,portal=debug,firezoned=debug\"\n")?;
        daemon.signal(Signal::SIGHUP)?;
        eventually("it logs more", Duration::from_secs(20), || daemon.log().text().contains("DEBUG"))
    })
}
