//! Notifications and the tray, as a desktop's shell is told of them.

use integration_tests::{
    account::{CLIENT_TOKEN, PRIVATE_NAME},
    desktop::{
        APP, PATIENCE,
        accessibility::Accessibility,
        at_desktop,
        shell::{Notice, Shell},
    },
    process::eventually,
    stand::Stand,
};
use serde_json::json;

use super::{at_the_desktop, is};

/// Whether there is a window.
fn is_open(person: &Accessibility) -> bool {
    person.tree(APP).is_ok_and(|nodes| nodes.len() > 1)
}

/// Whether a resource is `status`, by whatever is tried.
fn is_wiki(stand: &Stand, status: &str) -> anyhow::Result<()> {
    eventually(&format!("the resource is {status}"), PATIENCE, || {
        let fetch = stand.fetch(&format!("http://{PRIVATE_NAME}/bytes/1")).arg("--max-time").arg("2");
        let _tried = fetch.run();
        let resources = stand.ctl("anna", "--json resources Company").run().map(|it| it.text()).unwrap_or_default();
        resources.contains(&format!("\"status\": \"{status}\""))
            || resources.contains(&format!("\"status\":\"{status}\""))
    })
}

fn titled(shell: &Shell, title: &str) -> Vec<Notice> {
    shell.notices().into_iter().filter(|it| it.title == title).collect()
}

#[test]
#[ignore = "needs root: make integration"]
fn a_shell_is_told_what_concerns_the_user_and_a_click_leads_to_the_app() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let shell = desktop.shell(stand)?;
        shell.show_tray()?;
        let _daemon = stand.serve_bus(stand.daemon())?;
        desktop.start_app(stand, &["--background"])?;
        eventually("the app is in the tray", PATIENCE, || shell.tray().is_ok_and(|it| it.len() == 1))?;
        stand.sign_in("anna")?;
        is_wiki(stand, "online")?;

        stand.stop_gateway()?;
        is_wiki(stand, "offline")?;
        // All resources there are concerned, which is one thing to tell.
        let offline = "Berlin cannot be reached";
        eventually("it is told", PATIENCE, || titled(&shell, offline).len() == 1)?;
        let notice = titled(&shell, offline).remove(0);
        assert_eq!(notice.body, "All gateways of the site Berlin are offline. Your administrator can help.");
        assert_eq!(notice.program, "Firezone");
        assert_eq!(notice.actions.first().map(String::as_str), Some("default"), "{notice:?}");

        // The click on somebody else's is not for us.
        shell.click(notice.id + 1000)?;
        desktop.describe(stand)?;
        assert!(!is_open(person));
        shell.click(notice.id)?;
        eventually("the window is there", PATIENCE, || is_open(person))?;

        // Once in a session is enough.
        stand.start_gateway()?;
        is_wiki(stand, "online")?;
        stand.stop_gateway()?;
        is_wiki(stand, "offline")?;
        stand.start_gateway()?;

        // A portal that is away for a moment is nothing to worry about.
        stand.stop_portal()?;
        is(stand, "reconnecting")?;
        stand.start_portal()?;
        is(stand, "connected")?;

        stand.portal("POST", "/tokens/expire", Some(&json!({"token": CLIENT_TOKEN})))?;
        is(stand, "signed-out")?;
        eventually("that is told", PATIENCE, || titled(&shell, "Sign in again").len() == 1)?;
        let titles: Vec<String> = shell.notices().into_iter().map(|it| it.title).collect();
        assert_eq!(titles, [offline, "Sign in again"]);
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn while_there_is_a_tray_the_app_needs_no_window() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let shell = desktop.shell(stand)?;
        let _daemon = stand.serve_bus(stand.daemon())?;
        desktop.start_app(stand, &[])?;
        eventually("the window is there", PATIENCE, || is_open(person))?;
        // A tray may come late, go, and come again.
        for round in 1..=2 {
            shell.show_tray()?;
            eventually("the app is in the tray", PATIENCE, || shell.tray().is_ok_and(|it| it.len() == round))?;
            desktop.act(stand, "close")?;
            eventually("the window is closed", PATIENCE, || !is_open(person))?;
            // Whoever starts it once more finds the one that runs.
            at_desktop(stand.client().program("firezone-gtk")).check()?;
            eventually("the window is there again", PATIENCE, || is_open(person))?;
            desktop.act(stand, "close")?;
            eventually("the window is closed again", PATIENCE, || !is_open(person))?;
            shell.hide_tray()?;
            eventually("the window takes its place", PATIENCE, || is_open(person))?;
        }
        // Without one, closing the window ends the app.
        desktop.act(stand, "close")?;
        assert!(desktop.app()?.wait(PATIENCE)?.success());
        Ok(())
    })
}
