//! Whatever is in the app's way is said, and it goes on.

use integration_tests::{
    account::AUTH_URL,
    bus,
    desktop::{APP, Desktop, HOME, PATIENCE},
    process::eventually,
    stand::tell,
};
use nix::sys::signal::Signal;

use super::{at_the_desktop, is};

const SIGN_IN: &str = "Sign in with the browser";
const NO_SERVICE: &str = "The service is not running";

#[test]
#[ignore = "needs root: make integration"]
fn without_a_browser_the_app_says_what_helps_and_does_not_wait() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let client = stand.client();
        let _daemon = stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        client
            .program(&format!("rm {HOME}/.config/mimeapps.list {HOME}/.local/share/applications/browser.desktop"))
            .check()?;
        desktop.start_app(stand, &[])?;
        person.click(APP, "button", SIGN_IN)?;
        let what = "No browser could be opened. At a terminal, “firezonectl sign-in” needs none.";
        person.find(APP, "label", what)?;
        person.find(APP, "button", SIGN_IN)?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_token_that_comes_while_the_service_is_away_is_for_the_next_one() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let mut daemon = stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        // A person who takes some time.
        let client = stand.client();
        let slow = client
            .read(&format!("{HOME}/browser"))?
            .replace("echo \"calls back\"", "touch there; while [ ! -e go ]; do sleep 0.1; done");
        client.write(&format!("{HOME}/browser"), &slow)?;
        desktop.start_app(stand, &[])?;
        person.click(APP, "button", SIGN_IN)?;
        eventually("the person is at the last step", PATIENCE, || client.read(&format!("{HOME}/there")).is_ok())?;

        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(PATIENCE)?;
        eventually("nobody owns the name", PATIENCE, || !bus::owns(client, "dev.firezone.Client"))?;
        person.find(APP, "label", NO_SERVICE)?;
        client.write(&format!("{HOME}/go"), "")?;
        person.find(APP, "label", &format!("{NO_SERVICE}."))?;
        let _daemon = stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        is(stand, "connected")
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn an_app_that_was_there_before_the_bus_finds_it() -> anyhow::Result<()> {
    tell(|stand| {
        let mut desktop = Desktop::log_in(stand)?;
        let person = desktop.accessibility(stand)?;
        desktop.start_app(stand, &[])?;
        person.find(APP, "label", NO_SERVICE)?;
        // Here is no systemd that could.
        person.click(APP, "button", "Start the service…")?;
        person.find(APP, "label", "That did not work. The log of the service may know why.")?;
        desktop.act(stand, "diagnostics")?;
        person.find(APP, "label", "The service does not run, so only what everybody can see was looked at.")?;
        desktop.act(stand, "close")?;

        stand.start_bus()?;
        let _daemon = stand.serve_bus(stand.daemon())?;
        person.find(APP, "button", SIGN_IN)?;
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_service_that_hangs_does_not_keep_the_app() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let daemon = stand.serve_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        desktop.start_app(stand, &[])?;
        person.find(APP, "switch", "Internet")?;
        daemon.signal(Signal::SIGSTOP)?;
        // It waits for an answer meanwhile.
        person.click(APP, "switch", "Internet")?;
        desktop.act(stand, "preferences")?;
        person.find(APP, "switch", "Connect at start")?;
        desktop.act(stand, "quit")?;
        assert!(desktop.app()?.wait(PATIENCE)?.success());
        daemon.signal(Signal::SIGCONT)?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn whoever_leaves_the_group_is_told_and_comes_back() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let _daemon = stand.serve_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        desktop.start_app(stand, &[])?;
        person.find(APP, "switch", "Internet")?;
        stand.client().program("gpasswd --delete anna firezone").check()?;
        // It is noticed as soon as something is not allowed.
        person.click(APP, "switch", "Internet")?;
        person.find(APP, "label", "You may not use Firezone here")?;
        stand.client().program("usermod --append --groups firezone anna").check()?;
        // While its window is open the app notices by itself.
        person.find(APP, "switch", "Internet")?;
        Ok(())
    })
}
