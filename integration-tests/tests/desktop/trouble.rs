//! Failures are explained, and the app continues to work.

use anyhow::Context as _;
use integration_tests::{
    account::AUTH_URL,
    bus,
    desktop::{APP, Desktop, HOME, TIMEOUT},
    process::wait_until,
    stand::with_stand,
};
use nix::sys::signal::Signal;

use super::{wait_for_state, with_desktop};

const SIGN_IN: &str = "Sign In with Browser";
const NO_SERVICE: &str = "The Service Is Not Running";

#[test]
#[ignore = "needs root: make integration"]
fn missing_browser_ends_the_sign_in_with_advice() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let client = stand.client();
        let _daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        client
            .program(&format!("rm {HOME}/.config/mimeapps.list {HOME}/.local/share/applications/browser.desktop"))
            .check()?;
        desktop.start_app(stand, &[])?;
        screen.click(APP, "button", SIGN_IN)?;
        let what = "No browser could be opened. You can sign in from a terminal with “firezonectl sign-in”.";
        screen.find(APP, "label", what)?;
        screen.find(APP, "button", SIGN_IN)?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn token_received_without_a_service_is_used_by_the_next_one() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let mut daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        // A user who needs some time.
        let client = stand.client();
        let slow = client
            .read(&format!("{HOME}/browser"))?
            .replace("echo \"calls back\"", "touch there; while [ ! -e go ]; do sleep 0.1; done");
        client.write(&format!("{HOME}/browser"), &slow)?;
        desktop.start_app(stand, &[])?;
        screen.click(APP, "button", SIGN_IN)?;
        wait_until("the user is at the last step", TIMEOUT, || client.read(&format!("{HOME}/there")).is_ok())?;

        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(TIMEOUT)?;
        wait_until("the name has no owner", TIMEOUT, || !bus::owns(client, "dev.firezone.Client"))?;
        screen.find(APP, "label", NO_SERVICE)?;
        client.write(&format!("{HOME}/go"), "")?;
        screen.find(APP, "label", "The service is not running.")?;
        let _daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        wait_for_state(stand, "connected")
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn app_started_before_the_bus_finds_it() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut desktop = Desktop::log_in(stand)?;
        let screen = desktop.accessibility(stand)?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "label", NO_SERVICE)?;
        // No systemd runs here that could start it.
        screen.click(APP, "button", "Start Service…")?;
        screen.find(APP, "label", "Something went wrong")?;
        // The library repeats the label in the name of the toast's button.
        let mut details = None;
        wait_until("the toast has a button", TIMEOUT, || {
            let nodes = screen.tree(APP).unwrap_or_default();
            details = nodes.into_iter().find(|it| it.role == "button" && it.name.contains("Details"));
            details.is_some()
        })?;
        screen.act(&details.context("find the button")?)?;
        screen.click(APP, "button", "_Close Close")?;
        desktop.act(stand, "diagnostics")?;
        screen.find(APP, "label", "The service is not running. Only checks that need no privileges were run.")?;
        desktop.act(stand, "close")?;

        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        screen.find(APP, "button", SIGN_IN)?;
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn hanging_service_does_not_block_the_app() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "switch", "Internet")?;
        daemon.signal(Signal::SIGSTOP)?;
        // The app waits for the answer meanwhile.
        screen.click(APP, "switch", "Internet")?;
        desktop.act(stand, "preferences")?;
        screen.find(APP, "switch", "Connect at start")?;
        desktop.act(stand, "quit")?;
        assert!(desktop.app()?.wait(TIMEOUT)?.success());
        daemon.signal(Signal::SIGCONT)?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn leaving_and_joining_the_group_is_noticed() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "switch", "Internet")?;
        stand.client().program("gpasswd --delete anna firezone").check()?;
        // The app notices it when a request is denied.
        screen.click(APP, "switch", "Internet")?;
        screen.find(APP, "label", "You Don't Have Permission to Use Firezone")?;
        stand.client().program("usermod --append --groups firezone anna").check()?;
        // While the window is open, the app notices the membership by itself.
        screen.find(APP, "switch", "Internet")?;
        Ok(())
    })
}
