//! The desktop app beside the other front ends: it follows the daemon, and commands it.

use integration_tests::{
    account::SITE,
    bus,
    desktop::{Desktop, PATIENCE, accessibility::Accessibility, call},
    process::eventually,
    stand::{Stand, tell},
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

/// A desktop with the app, in a network with everything, and nobody signed in.
fn at_the_desktop(
    story: impl FnOnce(&mut Stand, &mut Desktop, &Accessibility) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let everything = json!({"type": "internet", "site": SITE});
        stand.portal("PUT", &format!("/resources/{EVERYTHING}"), Some(&everything))?;
        let mut desktop = Desktop::log_in(stand)?;
        let person = desktop.accessibility(stand)?;
        story(stand, &mut desktop, &person)?;
        assert_eq!(desktop.complaints(), [""; 0], "what the libraries complain about");
        Ok(())
    })
}

fn is(stand: &Stand, state: &str) -> anyhow::Result<()> {
    eventually(&format!("the daemon is {state}"), PATIENCE, || property(stand, "State") == format!("s {state:?}"))
}

#[test]
#[ignore = "needs root: make integration"]
fn the_app_follows_the_daemon_and_commands_it() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let mut daemon = stand.serve_bus(stand.daemon())?;
        let mut desktop = Desktop::log_in(stand)?;
        desktop.start_app(stand, &[])?;

        // What the command line does is known to the app: the switch of the Internet resource starts from what is.
        stand.sign_in("anna")?;
        desktop.act(stand, "internet")?;
        eventually("the Internet resource is on", PATIENCE, || property(stand, "InternetResourceActive") == "b true")?;
        eventually("the app shows that it is on", PATIENCE, || {
            desktop.describe(stand).is_ok_and(|text| text.contains("'internet': (true, '', [<true>])"))
        })?;
        desktop.act(stand, "sign-out")?;
        eventually("the session is over", PATIENCE, || property(stand, "State") == "s \"signed-out\"")?;

        // A link that somebody made up changes nothing.
        stand.sign_in("anna")?;
        let link = "['firezone-fd0020211111://handle_client_sign_in_callback?account_slug=a&actor_name=b&fragment=.c&state=d']";
        call(stand, "org.freedesktop.Application.Open").arg(link).arg("{}").check()?;
        desktop.describe(stand)?;
        assert_eq!(property(stand, "State"), "s \"connected\"");

        // A daemon that dies and comes back is found again.
        daemon.signal(nix::sys::signal::Signal::SIGKILL)?;
        daemon.wait(PATIENCE)?;
        eventually("nobody owns the name", PATIENCE, || !bus::owns(stand.client(), "dev.firezone.Client"))?;
        let _daemon = stand.serve_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        eventually("the app signs out by the new daemon", PATIENCE, || {
            let _asked = desktop.act(stand, "sign-out");
            property(stand, "State") == "s \"signed-out\""
        })?;
        assert!(desktop.app()?.is_running());
        desktop.act(stand, "quit")?;
        let status = desktop.app()?.wait(PATIENCE)?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn root_has_no_desktop() -> anyhow::Result<()> {
    tell(|stand| {
        let outcome = stand.client().program("firezone-gtk").run()?;
        assert_eq!(outcome.status.code(), Some(1));
        assert!(outcome.complaint().contains("not for root"), "{}", outcome.complaint());
        Ok(())
    })
}
