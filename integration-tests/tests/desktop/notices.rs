//! Notifications and the tray, as the desktop's shell sees them.

use integration_tests::{
    account::{CLIENT_TOKEN, PRIVATE_NAME},
    desktop::{
        APP, TIMEOUT,
        accessibility::Accessibility,
        at_desktop,
        shell::{Notice, Shell},
    },
    process::wait_until,
    stand::Stand,
};
use serde_json::json;

use super::{wait_for_state, with_desktop};

/// Whether the app has a window.
fn is_open(screen: &Accessibility) -> bool {
    screen.tree(APP).is_ok_and(|nodes| nodes.len() > 1)
}

/// Waits until the resource has this status, while traffic is sent to it.
fn is_wiki(stand: &Stand, status: &str) -> anyhow::Result<()> {
    wait_until(&format!("the resource is {status}"), TIMEOUT, || {
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
fn notifications_are_few_and_a_click_opens_the_app() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let shell = desktop.shell(stand)?;
        shell.show_tray()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        desktop.start_app(stand, &["--background"])?;
        wait_until("the app is in the tray", TIMEOUT, || shell.tray().is_ok_and(|it| it.len() == 1))?;
        stand.sign_in("anna")?;
        is_wiki(stand, "online")?;

        stand.stop_gateway()?;
        is_wiki(stand, "offline")?;
        // All resources of the site are affected: one notification.
        let offline = "Berlin cannot be reached";
        wait_until("it is received", TIMEOUT, || titled(&shell, offline).len() == 1)?;
        let notice = titled(&shell, offline).remove(0);
        assert_eq!(notice.body, "All gateways of the site Berlin are offline. Contact your administrator.");
        assert_eq!(notice.program, "Firezone");
        assert_eq!(notice.actions.first().map(String::as_str), Some("default"), "{notice:?}");

        // A click on another program's notification has no effect.
        shell.click(notice.id + 1000)?;
        desktop.describe(stand)?;
        assert!(!is_open(screen));
        shell.click(notice.id)?;
        wait_until("the window is there", TIMEOUT, || is_open(screen))?;

        // No second notification in the same session.
        stand.start_gateway()?;
        is_wiki(stand, "online")?;
        stand.stop_gateway()?;
        is_wiki(stand, "offline")?;
        stand.start_gateway()?;

        // A short outage of the portal causes no notification.
        stand.stop_portal()?;
        wait_for_state(stand, "reconnecting")?;
        stand.start_portal()?;
        wait_for_state(stand, "connected")?;

        stand.portal("POST", "/tokens/expire", Some(&json!({"token": CLIENT_TOKEN})))?;
        wait_for_state(stand, "signed-out")?;
        wait_until("that is received", TIMEOUT, || titled(&shell, "Sign In Again").len() == 1)?;
        let titles: Vec<String> = shell.notices().into_iter().map(|it| it.title).collect();
        assert_eq!(titles, [offline, "Sign In Again"]);
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn app_runs_without_a_window_while_a_tray_is_shown() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let shell = desktop.shell(stand)?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        desktop.start_app(stand, &[])?;
        wait_until("the window is there", TIMEOUT, || is_open(screen))?;
        // A tray may appear late, disappear and appear again.
        for round in 1..=2 {
            shell.show_tray()?;
            wait_until("the app is in the tray", TIMEOUT, || shell.tray().is_ok_and(|it| it.len() == round))?;
            desktop.act(stand, "close")?;
            wait_until("the window is closed", TIMEOUT, || !is_open(screen))?;
            // A second start shows the window of the running app.
            at_desktop(stand.client().program("firezone-gtk")).check()?;
            wait_until("the window is there again", TIMEOUT, || is_open(screen))?;
            desktop.act(stand, "close")?;
            wait_until("the window is closed again", TIMEOUT, || !is_open(screen))?;
            shell.hide_tray()?;
            wait_until("the window takes its place", TIMEOUT, || is_open(screen))?;
        }
        // Without a tray, closing the window quits the app.
        desktop.act(stand, "close")?;
        assert!(desktop.app()?.wait(TIMEOUT)?.success());
        Ok(())
    })
}
