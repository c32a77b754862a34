//! A keyring that is locked, missing, or full of what the existing client left: signing in and out works all the same.

use anyhow::Context as _;
use integration_tests::{
    account::{AUTH_URL, CLIENT_TOKEN},
    bus,
    desktop::{
        APP, Desktop, HOME, PATIENCE, USER,
        accessibility::{Accessibility, Is},
        vault::{Format, Whose},
    },
    process::{Running, eventually},
    stand::Stand,
};
use nix::sys::signal::Signal;

use super::{at_the_desktop, is, property};

const SIGN_IN: &str = "Sign in with the browser";
/// What asks for the password of a keyring.
const QUESTION: &str = "gcr-prompter";
const NOT_KEPT: &str = "The keyring does not keep the sign-in. It lasts until the app ends.";
const NOT_FORGOTTEN: &str = "The keyring still has the sign-in, which will not be used any more.";
/// Where the existing client has its files.
const THEIR_FILES: &str = "/run/anna/.local/share/dev.firezone.client/data";

fn serve(stand: &Stand) -> anyhow::Result<Running> {
    stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))
}

fn has(person: &Accessibility, whose: Whose, count: usize) -> anyhow::Result<()> {
    let what = format!("the keyring has {count} items: {whose:?}");
    eventually(&what, PATIENCE, || person.vault().count(whose).is_ok_and(|it| it == count))
}

/// Answers the question for the password.
fn unlock(person: &Accessibility) -> anyhow::Result<()> {
    let unlock = person.find(QUESTION, "button", "Unlock")?;
    let nodes = person.tree(QUESTION)?;
    let password = nodes.iter().find(|it| it.role == "password text" && it.is(Is::Focused));
    person.write(password.context("nobody asks for a password")?, "the password of the login")?;
    person.act(&unlock)
}

/// Does not want to be asked.
fn dismiss(person: &Accessibility) -> anyhow::Result<()> {
    person.click(QUESTION, "button", "Cancel")
}

fn quit(stand: &Stand, desktop: &mut Desktop) -> anyhow::Result<()> {
    desktop.act(stand, "quit")?;
    desktop.app()?.wait(PATIENCE)?;
    Ok(())
}

#[test]
#[ignore = "needs root: make integration"]
fn a_locked_keyring_is_asked_for_and_whoever_does_not_open_it_signs_in_all_the_same() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let _daemon = serve(stand)?;
        desktop.start_app(stand, &[])?;
        person.click(APP, "button", SIGN_IN)?;
        is(stand, "connected")?;
        has(person, Whose::Ours, 1)?;
        quit(stand, desktop)?;
        stand.ctl(USER, "disconnect --wait").check()?;

        // What is in it is used as soon as somebody opens it; nothing waits meanwhile.
        person.vault().lock()?;
        desktop.start_app(stand, &[])?;
        person.find(APP, "button", SIGN_IN)?;
        unlock(person)?;
        is(stand, "connected")?;
        quit(stand, desktop)?;
        stand.ctl(USER, "disconnect --wait").check()?;

        // Nobody opens it.
        person.vault().lock()?;
        desktop.start_app(stand, &[])?;
        dismiss(person)?;
        person.click(APP, "button", SIGN_IN)?;
        is(stand, "connected")?;
        dismiss(person)?;
        person.find(APP, "label", NOT_KEPT)?;
        assert_eq!(property(stand, "State"), "s \"connected\"");

        // Whoever signs out then is signed out, at the next start too.
        person.click(APP, "button", "Sign out")?;
        is(stand, "signed-out")?;
        dismiss(person)?;
        person.find(APP, "label", NOT_FORGOTTEN)?;
        assert_eq!(person.vault().count(Whose::Ours)?, 1);
        quit(stand, desktop)?;
        desktop.start_app(stand, &[])?;
        unlock(person)?;
        has(person, Whose::Ours, 0)?;
        person.find(APP, "button", SIGN_IN)?;
        person.lose(APP, "button", "Connect")?;
        assert_eq!(property(stand, "State"), "s \"signed-out\"");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn without_a_keyring_a_sign_in_lasts_until_the_app_ends() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let mut daemon = serve(stand)?;
        desktop.remove_keyring(stand)?;
        desktop.start_app(stand, &[])?;
        person.click(APP, "button", SIGN_IN)?;
        is(stand, "connected")?;
        person.find(APP, "label", NOT_KEPT)?;

        // The app has it still.
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(PATIENCE)?;
        eventually("nobody owns the name", PATIENCE, || !bus::owns(stand.client(), "dev.firezone.Client"))?;
        let _daemon = serve(stand)?;
        is(stand, "connected")?;

        stand.ctl(USER, "disconnect --wait").check()?;
        quit(stand, desktop)?;
        desktop.start_app(stand, &[])?;
        person.find(APP, "button", SIGN_IN)?;
        person.lose(APP, "button", "Connect")?;

        // Signing out has nothing to complain about.
        person.click(APP, "button", SIGN_IN)?;
        is(stand, "connected")?;
        person.find(APP, "label", NOT_KEPT)?;
        person.lose(APP, "label", NOT_KEPT)?;
        person.click(APP, "button", "Sign out")?;
        is(stand, "signed-out")?;
        person.find(APP, "button", SIGN_IN)?;
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn what_the_existing_client_has_kept_signs_in_and_becomes_ours() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let _daemon = serve(stand)?;
        let client = stand.client();
        let write = |name: &str, text: &str| client.write(&format!("{THEIR_FILES}/{name}"), text);
        for format in [Format::New, Format::Old] {
            client.program("rm -rf").arg(THEIR_FILES).check()?;
            person.vault().keep_theirs(format, CLIENT_TOKEN)?;

            // Without the actor's file, or with a session file that makes no sense, that client was signed out.
            desktop.start_app(stand, &[])?;
            person.find(APP, "button", SIGN_IN)?;
            quit(stand, desktop)?;
            client.program(&format!("install -d -o {USER} {THEIR_FILES}")).check()?;
            write("actor_name.txt", "Anna")?;
            write("session_data.json", "{")?;
            desktop.start_app(stand, &[])?;
            person.find(APP, "button", SIGN_IN)?;
            assert_eq!(property(stand, "State"), "s \"signed-out\"", "{format:?}");
            quit(stand, desktop)?;
            assert_eq!(person.vault().count(Whose::Theirs)?, 1, "{format:?}");

            write("session_data.json", r#"{"account_slug":"example","actor_name":"Anna L"}"#)?;
            desktop.start_app(stand, &[])?;
            is(stand, "connected")?;
            person.find(APP, "label", "Anna L at example")?;
            has(person, Whose::Theirs, 0)?;
            has(person, Whose::Ours, 1)?;
            person.click(APP, "button", "Sign out")?;
            is(stand, "signed-out")?;
            has(person, Whose::Ours, 0)?;
            quit(stand, desktop)?;
        }
        assert!(client.in_files(|| std::path::Path::new(HOME).join(".local").is_dir())?);
        Ok(())
    })
}
