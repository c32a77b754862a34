//! The desktop app together with the other front ends: it follows the daemon, and controls it.

use integration_tests::{
    account::SITE,
    bus,
    desktop::{Desktop, TIMEOUT, accessibility::Accessibility, call},
    process::wait_until,
    stand::{Stand, with_stand},
};
use serde_json::json;
use uuid::{Uuid, uuid};

#[path = "desktop/browser.rs"]
mod browser;
#[path = "desktop/choices.rs"]
mod choices;
#[path = "desktop/keyring.rs"]
mod keyring;
#[path = "desktop/language.rs"]
mod language;
#[path = "desktop/notices.rs"]
mod notices;
#[path = "desktop/phases.rs"]
mod phases;
#[path = "desktop/trouble.rs"]
mod trouble;
#[path = "desktop/walk.rs"]
mod walk;
#[path = "desktop/windows.rs"]
mod windows;

const EVERYTHING: Uuid = uuid!("e7e70000-0000-4000-8000-000000000001");

fn property(stand: &Stand, name: &str) -> String {
    let property = "busctl --system get-property dev.firezone.Client /dev/firezone/Client dev.firezone.Client1";
    let answer = stand.client().program(property).as_user("bob").arg(name).run();
    answer.map(|it| it.text().trim().to_owned()).unwrap_or_default()
}

/// A desktop with the app, in a network with all components; the user is signed out.
fn with_desktop(
    story: impl FnOnce(&mut Stand, &mut Desktop, &Accessibility) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let everything = json!({"type": "internet", "site": SITE});
        stand.portal("PUT", &format!("/resources/{EVERYTHING}"), Some(&everything))?;
        let mut desktop = Desktop::log_in(stand)?;
        let screen = desktop.accessibility(stand)?;
        story(stand, &mut desktop, &screen)?;
        assert_eq!(desktop.library_warnings(), [""; 0], "warnings of the libraries");
        Ok(())
    })
}

fn wait_for_state(stand: &Stand, state: &str) -> anyhow::Result<()> {
    wait_until(&format!("the daemon is {state}"), TIMEOUT, || property(stand, "State") == format!("s {state:?}"))
}

#[test]
#[ignore = "needs root: make integration"]
fn app_follows_the_daemon_and_controls_it() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let mut daemon = stand.start_on_bus(stand.daemon())?;
        let mut desktop = Desktop::log_in(stand)?;
        desktop.start_app(stand, &[])?;

        // The app follows the command line: its switch of the Internet resource starts from the current state.
        stand.sign_in("anna")?;
        desktop.act(stand, "internet")?;
        wait_until("the Internet resource is on", TIMEOUT, || property(stand, "InternetResourceActive") == "b true")?;
        wait_until("the app shows that it is on", TIMEOUT, || {
            desktop.describe(stand).is_ok_and(|text| text.contains("'internet': (true, '', [<true>])"))
        })?;
        desktop.act(stand, "sign-out")?;
        wait_until("the session is over", TIMEOUT, || property(stand, "State") == "s \"signed-out\"")?;

        // A forged link changes nothing.
        stand.sign_in("anna")?;
        let link = "['firezone-fd0020211111://handle_client_sign_in_callback?account_slug=a&actor_name=b&fragment=.c&state=d']";
        call(stand, "org.freedesktop.Application.Open").arg(link).arg("{}").check()?;
        desktop.describe(stand)?;
        assert_eq!(property(stand, "State"), "s \"connected\"");

        // A daemon that is killed and restarts is found again.
        daemon.signal(nix::sys::signal::Signal::SIGKILL)?;
        daemon.wait(TIMEOUT)?;
        wait_until("the name has no owner", TIMEOUT, || !bus::owns(stand.client(), "dev.firezone.Client"))?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        wait_until("the app signs out by the new daemon", TIMEOUT, || {
            let _asked = desktop.act(stand, "sign-out");
            property(stand, "State") == "s \"signed-out\""
        })?;
        assert!(desktop.app()?.is_running());
        desktop.act(stand, "quit")?;
        let status = desktop.app()?.wait(TIMEOUT)?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn root_cannot_start_the_app() -> anyhow::Result<()> {
    with_stand(|stand| {
        let outcome = stand.client().program("firezone-gtk").run()?;
        assert_eq!(outcome.status.code(), Some(1));
        assert!(outcome.error_text().contains("not for root"), "{}", outcome.error_text());
        Ok(())
    })
}
