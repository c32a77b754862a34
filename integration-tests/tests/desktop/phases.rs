//! The app's page for each phase that a daemon publishes. The daemon is simulated, but its session machine, its objects on
//! the bus and the app are the real ones.

use integration_tests::{
    desktop::{APP, Desktop},
    stand::with_stand,
};

/// A word in the token, which selects what happens to the simulated session, and the labels and buttons of the page.
/// Neighbours have different pages.
const PAGES: [(&str, &[&str], &[&str]); 12] = [
    ("good", &["Connected"], &["Sign Out"]),
    (
        "captive",
        &["Sign In to This Network", "This network requires you to sign in with a browser first."],
        &["Open Browser", "Cancel"],
    ),
    ("offline", &["Waiting for a network", "Firezone continues as soon as a network is available."], &["Cancel"]),
    ("unreachable", &["Connecting", "The portal does not answer."], &["Cancel"]),
    ("suspended", &["Waiting for a network", "Firezone continues as soon as a network is available."], &["Cancel"]),
    (
        "untrusted",
        &["Connecting", "The portal's certificate is not trusted. Check the clock of this computer."],
        &["Cancel"],
    ),
    ("lost", &["Reconnecting", "Portal unreachable. Existing connections keep working."], &["Sign Out"]),
    ("busy", &["Connecting", "Another program is using the network interface."], &["Cancel"]),
    ("intercepted", &["Reconnecting", "Portal unreachable. Existing connections keep working."], &["Sign Out"]),
    (
        "expired",
        &["Sign In to Firezone", "The sign-in has expired, or another device with the same device ID has connected."],
        &["Sign In with Browser"],
    ),
    ("invalid", &["Sign In to Firezone", "The portal no longer accepts the sign-in."], &["Sign In with Browser"]),
    (
        "revoked",
        &["Sign In to Firezone", "The sign-in has expired, or another device with the same device ID has connected."],
        &["Sign In with Browser"],
    ),
];

#[test]
#[ignore = "needs root: make integration"]
fn each_published_phase_has_its_page() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut desktop = Desktop::log_in(stand)?;
        let screen = desktop.accessibility(stand)?;
        // The end of a session is notified.
        let _shell = desktop.shell(stand)?;
        let _daemon = desktop.simulate_daemon(stand)?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "button", "Sign In with Browser")?;
        for (word, labels, buttons) in PAGES {
            desktop.sign_in_simulated(stand, word)?;
            for label in labels {
                screen.find(APP, "label", label)?;
            }
            for button in buttons {
                screen.find(APP, "button", button)?;
            }
            if word != "captive" {
                screen.lose(APP, "button", "Open Browser")?;
            }
        }
        assert_eq!(desktop.library_warnings(), [""; 0], "warnings of the libraries");
        Ok(())
    })
}
