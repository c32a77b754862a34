//! A keyring that is locked, missing, or contains the official client's token: sign-in and sign-out always work.

use anyhow::Context as _;
use integration_tests::{
    account::{AUTH_URL, CLIENT_TOKEN},
    bus,
    desktop::{
        APP, Desktop, HOME, TIMEOUT, USER,
        accessibility::{Accessibility, Is},
        vault::{Format, Owner},
    },
    process::{Running, wait_until},
    stand::Stand,
};
use nix::sys::signal::Signal;

use super::{property, wait_for_state, with_desktop};

const SIGN_IN: &str = "Sign In with Browser";
/// The program that prompts for the keyring's password.
const PROMPTER: &str = "gcr-prompter";
const NOT_STORED: &str = "The sign-in could not be saved in the keyring. It lasts until the app quits.";
const NOT_REMOVED: &str = "The sign-in could not be removed from the keyring. It will not be used again.";
/// Directory of the official client's files.
const OFFICIAL_CLIENT_FILES: &str = "/run/anna/.local/share/dev.firezone.client/data";

fn serve(stand: &Stand) -> anyhow::Result<Running> {
    stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))
}

fn has(screen: &Accessibility, owner: Owner, count: usize) -> anyhow::Result<()> {
    let what = format!("the keyring has {count} items: {owner:?}");
    wait_until(&what, TIMEOUT, || screen.vault().count(owner).is_ok_and(|it| it == count))
}

/// Types the password into the prompt.
fn unlock(screen: &Accessibility) -> anyhow::Result<()> {
    let unlock = screen.find(PROMPTER, "button", "Unlock")?;
    let nodes = screen.tree(PROMPTER)?;
    let password = nodes.iter().find(|it| it.role == "password text" && it.is(Is::Focused));
    screen.write(password.context("no password prompt is focused")?, "the password of the login")?;
    screen.act(&unlock)
}

/// Dismisses the prompt.
fn dismiss(screen: &Accessibility) -> anyhow::Result<()> {
    screen.click(PROMPTER, "button", "Cancel")
}

fn quit(stand: &Stand, desktop: &mut Desktop) -> anyhow::Result<()> {
    desktop.act(stand, "quit")?;
    desktop.app()?.wait(TIMEOUT)?;
    Ok(())
}

#[test]
#[ignore = "needs root: make integration"]
fn locked_keyring_prompts_and_dismissing_it_does_not_block_sign_in() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let _daemon = serve(stand)?;
        desktop.start_app(stand, &[])?;
        screen.click(APP, "button", SIGN_IN)?;
        wait_for_state(stand, "connected")?;
        has(screen, Owner::Ours, 1)?;
        quit(stand, desktop)?;
        stand.ctl(USER, "disconnect --wait").check()?;

        // The stored token is used as soon as the keyring is unlocked; nothing waits meanwhile.
        screen.vault().lock()?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "button", SIGN_IN)?;
        unlock(screen)?;
        wait_for_state(stand, "connected")?;
        quit(stand, desktop)?;
        stand.ctl(USER, "disconnect --wait").check()?;

        // The keyring stays locked.
        screen.vault().lock()?;
        desktop.start_app(stand, &[])?;
        dismiss(screen)?;
        screen.click(APP, "button", SIGN_IN)?;
        wait_for_state(stand, "connected")?;
        dismiss(screen)?;
        screen.find(APP, "label", NOT_STORED)?;
        assert_eq!(property(stand, "State"), "s \"connected\"");

        // Signing out works, and is remembered until the next start.
        screen.click(APP, "button", "Sign Out")?;
        wait_for_state(stand, "signed-out")?;
        dismiss(screen)?;
        screen.find(APP, "label", NOT_REMOVED)?;
        assert_eq!(screen.vault().count(Owner::Ours)?, 1);
        quit(stand, desktop)?;
        desktop.start_app(stand, &[])?;
        unlock(screen)?;
        has(screen, Owner::Ours, 0)?;
        screen.find(APP, "button", SIGN_IN)?;
        screen.lose(APP, "button", "Connect")?;
        assert_eq!(property(stand, "State"), "s \"signed-out\"");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn without_a_keyring_the_sign_in_lasts_until_the_app_quits() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let mut daemon = serve(stand)?;
        desktop.remove_keyring(stand)?;
        desktop.start_app(stand, &[])?;
        screen.click(APP, "button", SIGN_IN)?;
        wait_for_state(stand, "connected")?;
        screen.find(APP, "label", NOT_STORED)?;

        // The app still has the token in memory.
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(TIMEOUT)?;
        wait_until("the name has no owner", TIMEOUT, || !bus::owns(stand.client(), "dev.firezone.Client"))?;
        let _daemon = serve(stand)?;
        wait_for_state(stand, "connected")?;

        stand.ctl(USER, "disconnect --wait").check()?;
        quit(stand, desktop)?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "button", SIGN_IN)?;
        screen.lose(APP, "button", "Connect")?;

        // Signing out shows no error.
        screen.click(APP, "button", SIGN_IN)?;
        wait_for_state(stand, "connected")?;
        screen.find(APP, "label", NOT_STORED)?;
        screen.lose(APP, "label", NOT_STORED)?;
        screen.click(APP, "button", "Sign Out")?;
        wait_for_state(stand, "signed-out")?;
        screen.find(APP, "button", SIGN_IN)?;
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn token_of_the_official_client_signs_in_and_is_migrated() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let _daemon = serve(stand)?;
        let client = stand.client();
        let write = |name: &str, text: &str| client.write(&format!("{OFFICIAL_CLIENT_FILES}/{name}"), text);
        for format in [Format::New, Format::Old] {
            client.program("rm -rf").arg(OFFICIAL_CLIENT_FILES).check()?;
            screen.vault().store_for_official_client(format, CLIENT_TOKEN)?;

            // Without the actor's file, or with an invalid session file, that client was signed out.
            desktop.start_app(stand, &[])?;
            screen.find(APP, "button", SIGN_IN)?;
            quit(stand, desktop)?;
            client.program(&format!("install -d -o {USER} {OFFICIAL_CLIENT_FILES}")).check()?;
            write("actor_name.txt", "Anna")?;
            write("session_data.json", "{")?;
            desktop.start_app(stand, &[])?;
            screen.find(APP, "button", SIGN_IN)?;
            assert_eq!(property(stand, "State"), "s \"signed-out\"", "{format:?}");
            quit(stand, desktop)?;
            assert_eq!(screen.vault().count(Owner::OfficialClient)?, 1, "{format:?}");

            write("session_data.json", r#"{"account_slug":"example","actor_name":"Anna L"}"#)?;
            desktop.start_app(stand, &[])?;
            wait_for_state(stand, "connected")?;
            screen.find(APP, "label", "Anna L at example")?;
            has(screen, Owner::OfficialClient, 0)?;
            has(screen, Owner::Ours, 1)?;
            screen.click(APP, "button", "Sign Out")?;
            wait_for_state(stand, "signed-out")?;
            has(screen, Owner::Ours, 0)?;
            quit(stand, desktop)?;
        }
        assert!(client.in_files(|| std::path::Path::new(HOME).join(".local").is_dir())?);
        Ok(())
    })
}
