//! A whole life at the desktop, by what assistive programs see and do.

use integration_tests::{
    account::{ACCOUNT, ACTOR, AUTH_URL, WIKI, dns_resource},
    bus,
    desktop::{APP, PATIENCE, accessibility::Is, keeps_something},
    portal::config::Resource,
    process::eventually,
};
use nix::sys::signal::Signal;

use super::{at_the_desktop, is, property};

const SIGN_IN: &str = "Sign in with the browser";

#[test]
#[ignore = "needs root: make integration"]
fn a_person_signs_in_with_the_browser_uses_what_is_there_and_signs_out() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let mut daemon = stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        desktop.start_app(stand, &[])?;

        // Without an account the portal asks for it. The browser finds its way back by the desktop's own rules.
        person.click(APP, "button", SIGN_IN)?;
        is(stand, "connected")?;
        person.find(APP, "label", &format!("{ACTOR} at {ACCOUNT}"))?;
        person.find(APP, "label", "Company wiki")?;
        person.find(APP, "label", "wiki.corp.example")?;
        person.lose(APP, "button", SIGN_IN)?;

        // A search shows what is searched for, and nothing else.
        person.click(APP, "button", "Search resources")?;
        let search = person.find(APP, "search box", "Search resources")?;
        person.write(&search, "lab")?;
        person.lose(APP, "label", "Company wiki")?;
        person.find(APP, "label", "Lab")?;
        person.write(&search, "nothing like that")?;
        person.find(APP, "label", "Nothing found")?;
        person.write(&search, "wiki")?;
        person.find(APP, "label", "Company wiki")?;

        // What is copied can be pasted.
        person.lose(APP, "label", "Lab")?;
        person.click(APP, "button", "Copy the address")?;
        person.find(APP, "label", "Copied")?;
        person.write(&search, "")?;
        desktop.press(stand, "ctrl+f")?;
        let has_keyboard = || person.find(APP, "search box", "Search resources").is_ok_and(|it| it.is(Is::Focused));
        eventually("the search has the keyboard", PATIENCE, has_keyboard)?;
        desktop.press(stand, "ctrl+v")?;
        person.lose(APP, "label", "Lab")?;
        person.find(APP, "label", "Company wiki")?;
        person.write(&search, "")?;

        // A switch shows what is, whoever turned it.
        let switch = |is_on: bool| {
            let is_so = || person.find(APP, "switch", "Internet").is_ok_and(|it| it.is(Is::Checked) == is_on);
            eventually(&format!("the switch is on: {is_on}"), PATIENCE, is_so)
        };
        switch(false)?;
        person.click(APP, "switch", "Internet")?;
        switch(true)?;
        assert_eq!(property(stand, "InternetResourceActive"), "b true");
        stand.ctl("anna", "internet off").check()?;
        switch(false)?;

        // What the portal changes is there at once.
        stand.portal(
            "PUT",
            &format!("/resources/{WIKI}"),
            Some(&serde_json::to_value(Resource {
                address_description: Some("ask Kim first".to_owned()),
                ..dns_resource("Company encyclopaedia", "wiki.corp.example")
            })?),
        )?;
        person.find(APP, "label", "Company encyclopaedia")?;

        // A daemon that is killed and comes back is given the token again.
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(PATIENCE)?;
        eventually("nobody owns the name", PATIENCE, || !bus::owns(stand.client(), "dev.firezone.Client"))?;
        person.find(APP, "label", "The service is not running")?;
        let _daemon = stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        is(stand, "connected")?;
        person.find(APP, "label", "Company encyclopaedia")?;

        // An app that is killed changes nothing, and finds everything as it was.
        desktop.kill_app()?;
        assert_eq!(property(stand, "State"), "s \"connected\"");
        desktop.start_app(stand, &[])?;
        person.find(APP, "label", &format!("{ACTOR} at {ACCOUNT}"))?;

        // Both away: the keyring remembers, and nobody is asked.
        stand.ctl("anna", "disconnect").check()?;
        is(stand, "signed-out")?;
        desktop.kill_app()?;
        desktop.start_app(stand, &[])?;
        is(stand, "connected")?;

        // Signing out forgets the token, for the next start too.
        person.click(APP, "button", "Sign out")?;
        is(stand, "signed-out")?;
        person.find(APP, "button", SIGN_IN)?;
        person.lose(APP, "button", "Connect")?;
        desktop.kill_app()?;
        desktop.start_app(stand, &[])?;
        person.find(APP, "button", SIGN_IN)?;
        person.lose(APP, "button", "Connect")?;
        assert_eq!(property(stand, "State"), "s \"signed-out\"");
        assert!(stand.traces()?.is_empty());

        let mut log = stand.client().read("/run/anna/browser.log")?;
        log.retain(|letter| letter != '\r');
        assert_eq!(log, "opened\nchose an account\ncalls back\n");
        desktop.act(stand, "quit")?;
        assert!(desktop.app()?.wait(PATIENCE)?.success());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_silent_keyring_keeps_nobody_from_signing_in_and_out() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let _daemon = stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        desktop.keyring()?.signal(Signal::SIGSTOP)?;
        desktop.start_app(stand, &[])?;
        person.click(APP, "button", SIGN_IN)?;
        is(stand, "connected")?;

        // It is told when it answers again.
        desktop.keyring()?.signal(Signal::SIGCONT)?;
        eventually("the token is kept", PATIENCE, || keeps_something(stand))?;
        desktop.keyring()?.signal(Signal::SIGSTOP)?;
        person.click(APP, "button", "Sign out")?;
        is(stand, "signed-out")?;
        person.find(APP, "button", SIGN_IN)?;
        desktop.keyring()?.signal(Signal::SIGCONT)?;
        eventually("the token is forgotten", PATIENCE, || !keeps_something(stand))
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn links_that_somebody_made_up_change_nothing_and_the_app_says_why() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let _daemon = stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        desktop.start_app(stand, &[])?;
        person.find(APP, "button", SIGN_IN)?;
        let scheme = "firezone-fd0020211111";
        let good = "account_slug=a&actor_name=b&fragment=.c&state=d";
        let host = "handle_client_sign_in_callback";
        let refused = "That link is not the end of a sign-in.";
        for link in [
            format!("{scheme}://somebody_else?{good}"),
            format!("{scheme}://{host}/other?{good}"),
            format!("{scheme}://{host}?account_slug=a&actor_name=b&state=d"),
            format!("{scheme}://{host}?{good}&fragment=.e"),
            format!("{scheme}://{host}?{good}&more={}", "x".repeat(1 << 16)),
        ] {
            desktop.open_link(stand, &link)?;
            person.find(APP, "label", refused)?;
            person.lose(APP, "label", refused)?;
        }
        // One that is longer than any argument of a program can be comes over the bus.
        let long = format!("{scheme}://{host}?{good}&more={}", "x".repeat(1 << 20));
        person.send_link("dev.firezone.Gtk", "/dev/firezone/Gtk", &long)?;
        person.find(APP, "label", refused)?;
        // Nobody waits for this one.
        desktop.open_link(stand, &format!("{scheme}://{host}?{good}"))?;
        desktop.describe(stand)?;
        person.find(APP, "button", SIGN_IN)?;
        assert_eq!(property(stand, "State"), "s \"signed-out\"");
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}
