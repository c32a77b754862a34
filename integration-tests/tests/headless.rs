//! Service mode: the token comes from the environment, and signals control the daemon.

use std::time::Duration;

use integration_tests::{
    account::PRIVATE_NAME,
    process::wait_until,
    stand::{BUS_NAME, INTERFACE, with_stand},
};
use nix::sys::signal::Signal;

#[test]
#[ignore = "needs root: make integration"]
fn daemon_runs_from_the_environment_alone_and_sigterm_cleans_up() -> anyhow::Result<()> {
    with_stand(|stand| {
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        assert_eq!(stand.host_state()?, "");

        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        assert_ne!(stand.client().read("/etc/resolv.conf")?, resolv_conf);
        assert_ne!(stand.host_state()?, "");
        stand.download(PRIVATE_NAME, 1, 4)?;

        daemon.signal(Signal::SIGTERM)?;
        let status = daemon.wait(Duration::from_secs(10))?;

        assert!(status.success(), "ended with {status}");
        assert_eq!(stand.client().read("/etc/resolv.conf")?, resolv_conf, "resolv.conf is not as it was");
        assert_eq!(stand.host_state()?, "", "something was left behind");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn one_shot_daemon_exits_and_cleans_up() -> anyhow::Result<()> {
    with_stand(|stand| {
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        let mut daemon = stand.headless().arg("--exit").start("firezoned", stand.logs.open("firezoned"))?;
        let status = daemon.wait(Duration::from_secs(30))?;

        assert!(status.success(), "ended with {status}");
        let log = daemon.log();
        wait_until("it was connected", Duration::from_secs(5), || log.contains("state=connected"))?;
        assert_eq!(stand.client().read("/etc/resolv.conf")?, resolv_conf, "resolv.conf is not as it was");
        assert_eq!(stand.host_state()?, "", "something was left behind");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn check_finds_the_device_id_and_changes_nothing() -> anyhow::Result<()> {
    with_stand(|stand| {
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        stand.headless().arg("--check").check()?;

        // Neither the machine nor a file has an ID, and none can be stored.
        stand.client().write("/etc/machine-id", "")?;
        stand.client().program("mkdir -p /var/lib/dev.firezone.client").check()?;
        stand.client().write("/var/lib/dev.firezone.client/config", "in the way\n")?;
        let refused = stand.headless().env("FIREZONE_ID", "").arg("--check").run()?;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.error_text());
        assert!(refused.stderr.contains("set FIREZONE_ID"), "{}", refused.error_text());

        assert_eq!(stand.client().read("/etc/resolv.conf")?, resolv_conf);
        assert_eq!(stand.host_state()?, "");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn next_daemon_cleans_up_after_a_kill() -> anyhow::Result<()> {
    with_stand(|stand| {
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(Duration::from_secs(5))?;
        assert_ne!(stand.client().read("/etc/resolv.conf")?, resolv_conf);

        let daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        daemon.stop()?;

        assert_eq!(stand.client().read("/etc/resolv.conf")?, resolv_conf, "resolv.conf is not as it was");
        assert_eq!(stand.host_state()?, "", "something was left behind");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn repeated_sighup_restarts_the_session() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;

        let key = |state: &serde_json::Value| state["clients"][0]["public_key"].clone();
        for _ in 0..2 {
            let before = key(&stand.portal("GET", "/state", None)?);
            daemon.signal(Signal::SIGHUP)?;
            wait_until("the client has come back with another key", Duration::from_secs(15), || {
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
fn daemon_with_a_service_token_accepts_no_commands() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let program = stand.headless();
        let _daemon = program.start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

        assert!(!integration_tests::bus::owns(stand.client(), BUS_NAME), "it took the name");
        let status = stand.ctl("anna", "--json status").check()?.json()?;
        assert_eq!(status["mode"], "service");
        assert_eq!(status["state"], "connected");
        let refused = stand.ctl("anna", "sign-out").run()?;
        assert_eq!(refused.status.code(), Some(6), "{}", refused.error_text());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn daemon_without_token_and_bus_fails() -> anyhow::Result<()> {
    with_stand(|stand| {
        let outcome = stand.client().program("firezoned --no-ipc").run()?;

        assert!(!outcome.status.success());
        assert!(outcome.stderr.contains("token"), "{}", outcome.error_text());
        assert!(!stand.host_state()?.contains(INTERFACE));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn configuration_files_apply_and_sighup_reloads_the_log_filter() -> anyhow::Result<()> {
    with_stand(|stand| {
        let file = "/etc/dev.firezone.client/firezoned.toml";
        stand.client().program("mkdir -p /etc/dev.firezone.client").check()?;
        stand.client().write(file, "# ours\napi-url = \"ftp://portal.example\"\n")?;
        let refused = stand.headless().env("FIREZONE_API_URL", "").arg("--check").run()?;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.error_text());
        assert!(refused.stderr.contains(&format!("{file}:2: api-url: ")), "{}", refused.error_text());

        stand.client().write(file, "log-filter = \"info\"\n")?;
        assert!(stand.headless().env("RUST_LOG", "").arg("--check").run()?.status.success());
        let daemon = stand.headless().env("RUST_LOG", "").start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        assert!(!daemon.log().text().contains("DEBUG"), "{}", daemon.log().text());
        stand.client().write(file, "log-filter = \"info,portal=debug,firezoned=debug\"\n")?;
        daemon.signal(Signal::SIGHUP)?;
        wait_until("it logs more", Duration::from_secs(20), || daemon.log().text().contains("DEBUG"))
    })
}
