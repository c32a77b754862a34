//! A complete session at the desktop, through the accessibility bus.

use integration_tests::{
    account::{ACCOUNT, ACTOR, AUTH_URL, WIKI, dns_resource},
    bus,
    desktop::{APP, TIMEOUT, accessibility::Is, keyring_has_our_item},
    portal::config::Resource,
    process::wait_until,
};
use nix::sys::signal::Signal;

use super::{property, wait_for_state, with_desktop};

const SIGN_IN: &str = "Sign In with Browser";

#[test]
#[ignore = "needs root: make integration"]
fn browser_sign_in_session_and_sign_out_work() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let mut daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        desktop.start_app(stand, &[])?;

        // Without an account ID the portal asks for it. The desktop passes the callback to the app.
        screen.click(APP, "button", SIGN_IN)?;
        wait_for_state(stand, "connected")?;
        screen.find(APP, "label", &format!("{ACTOR} at {ACCOUNT}"))?;
        screen.find(APP, "label", "Company wiki")?;
        screen.find(APP, "label", "wiki.corp.example")?;
        screen.lose(APP, "button", SIGN_IN)?;

        // A search shows only matching resources.
        screen.click(APP, "button", "Search Resources")?;
        let search = screen.find(APP, "search box", "Search Resources")?;
        screen.write(&search, "lab")?;
        screen.lose(APP, "label", "Company wiki")?;
        screen.find(APP, "label", "Lab")?;
        screen.write(&search, "nothing like that")?;
        screen.find(APP, "label", "No Results")?;
        screen.write(&search, "wiki")?;
        screen.find(APP, "label", "Company wiki")?;

        // A copied address can be pasted.
        screen.lose(APP, "label", "Lab")?;
        screen.click(APP, "button", "Copy Address")?;
        screen.find(APP, "label", "Copied")?;
        screen.write(&search, "")?;
        desktop.press(stand, "ctrl+f")?;
        let has_keyboard = || screen.find(APP, "search box", "Search Resources").is_ok_and(|it| it.is(Is::Focused));
        wait_until("the search has the keyboard", TIMEOUT, has_keyboard)?;
        desktop.press(stand, "ctrl+v")?;
        screen.lose(APP, "label", "Lab")?;
        screen.find(APP, "label", "Company wiki")?;
        screen.write(&search, "")?;

        // The switch shows the current state, whichever program changed it.
        let switch = |is_on: bool| {
            let is_so = || screen.find(APP, "switch", "Internet").is_ok_and(|it| it.is(Is::Checked) == is_on);
            wait_until(&format!("the switch is on: {is_on}"), TIMEOUT, is_so)
        };
        switch(false)?;
        screen.click(APP, "switch", "Internet")?;
        switch(true)?;
        assert_eq!(property(stand, "InternetResourceActive"), "b true");
        stand.ctl("anna", "internet off").check()?;
        switch(false)?;

        // A change in the portal is shown at once.
        stand.portal(
            "PUT",
            &format!("/resources/{WIKI}"),
            Some(&serde_json::to_value(Resource {
                address_description: Some("ask Kim first".to_owned()),
                ..dns_resource("Company encyclopaedia", "wiki.corp.example")
            })?),
        )?;
        screen.find(APP, "label", "Company encyclopaedia")?;

        // A daemon that is killed and restarts gets the token again.
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(TIMEOUT)?;
        wait_until("the name has no owner", TIMEOUT, || !bus::owns(stand.client(), "dev.firezone.Client"))?;
        screen.find(APP, "label", "The Service Is Not Running")?;
        let _daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        wait_for_state(stand, "connected")?;
        screen.find(APP, "label", "Company encyclopaedia")?;

        // An app that is killed and restarts shows the same session.
        desktop.kill_app()?;
        assert_eq!(property(stand, "State"), "s \"connected\"");
        desktop.start_app(stand, &[])?;
        screen.find(APP, "label", &format!("{ACTOR} at {ACCOUNT}"))?;

        // Without session and app, the token in the keyring signs in again without a prompt.
        stand.ctl("anna", "disconnect").check()?;
        wait_for_state(stand, "signed-out")?;
        desktop.kill_app()?;
        desktop.start_app(stand, &[])?;
        wait_for_state(stand, "connected")?;

        // Signing out deletes the token; the next start shows the sign-in page.
        screen.click(APP, "button", "Sign Out")?;
        wait_for_state(stand, "signed-out")?;
        screen.find(APP, "button", SIGN_IN)?;
        screen.lose(APP, "button", "Connect")?;
        desktop.kill_app()?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "button", SIGN_IN)?;
        screen.lose(APP, "button", "Connect")?;
        assert_eq!(property(stand, "State"), "s \"signed-out\"");
        assert!(stand.host_state()?.is_empty());

        let mut log = stand.client().read("/run/anna/browser.log")?;
        log.retain(|letter| letter != '\r');
        assert_eq!(log, "opened\nchose an account\ncalls back\n");
        desktop.act(stand, "quit")?;
        assert!(desktop.app()?.wait(TIMEOUT)?.success());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn hanging_keyring_does_not_block_sign_in_and_sign_out() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let _daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        desktop.keyring()?.signal(Signal::SIGSTOP)?;
        desktop.start_app(stand, &[])?;
        screen.click(APP, "button", SIGN_IN)?;
        wait_for_state(stand, "connected")?;

        // The token is stored when the keyring responds.
        desktop.keyring()?.signal(Signal::SIGCONT)?;
        wait_until("the token is kept", TIMEOUT, || keyring_has_our_item(stand))?;
        desktop.keyring()?.signal(Signal::SIGSTOP)?;
        screen.click(APP, "button", "Sign Out")?;
        wait_for_state(stand, "signed-out")?;
        screen.find(APP, "button", SIGN_IN)?;
        desktop.keyring()?.signal(Signal::SIGCONT)?;
        wait_until("the token is forgotten", TIMEOUT, || !keyring_has_our_item(stand))
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn forged_links_change_nothing_and_are_explained() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let _daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "button", SIGN_IN)?;
        let scheme = "firezone-fd0020211111";
        let good = "account_slug=a&actor_name=b&fragment=.c&state=d";
        let host = "handle_client_sign_in_callback";
        let refused = "This is not a valid sign-in link.";
        for link in [
            format!("{scheme}://somebody_else?{good}"),
            format!("{scheme}://{host}/other?{good}"),
            format!("{scheme}://{host}?account_slug=a&actor_name=b&state=d"),
            format!("{scheme}://{host}?{good}&fragment=.e"),
            format!("{scheme}://{host}?{good}&more={}", "x".repeat(1 << 16)),
        ] {
            desktop.open_link(stand, &link)?;
            screen.find(APP, "label", refused)?;
            screen.lose(APP, "label", refused)?;
        }
        // A link that is too long for the arguments of a program arrives over the bus.
        let long = format!("{scheme}://{host}?{good}&more={}", "x".repeat(1 << 20));
        screen.send_link("dev.firezone.Gtk", "/dev/firezone/Gtk", &long)?;
        screen.find(APP, "label", refused)?;
        // No sign-in is in progress for this one.
        desktop.open_link(stand, &format!("{scheme}://{host}?{good}"))?;
        desktop.describe(stand)?;
        screen.find(APP, "button", SIGN_IN)?;
        assert_eq!(property(stand, "State"), "s \"signed-out\"");
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}
