//! Preferences, diagnostics and report: what is done there happens, and what cannot be is said.

use integration_tests::{
    account::AUTH_URL,
    desktop::{
        APP, HOME, PATIENCE,
        accessibility::{Accessibility, Is},
        call,
    },
    process::eventually,
    stand::Stand,
};

use super::at_the_desktop;

/// What the library calls the button of its dialog.
const SAVE: &str = "_Save Save";

fn setting(stand: &Stand, key: &str) -> String {
    let get = stand.ctl("anna", &format!("settings get {key}")).run();
    get.map(|it| it.text().trim().to_owned()).unwrap_or_default()
}

fn is_on(person: &Accessibility, switch: &str, is_on: bool) -> anyhow::Result<()> {
    eventually(&format!("{switch} is {is_on}"), PATIENCE, || {
        person.find(APP, "switch", switch).is_ok_and(|it| it.is(Is::Checked) == is_on)
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn preferences_are_the_services_and_the_users() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let _daemon = stand.serve_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        desktop.start_app(stand, &[])?;
        desktop.act(stand, "preferences")?;

        // The link is where desktops look for it.
        let link = format!("{HOME}/.config/autostart/dev.firezone.Gtk.desktop");
        is_on(person, "Start with the session", false)?;
        person.click(APP, "switch", "Start with the session")?;
        is_on(person, "Start with the session", true)?;
        assert!(stand.client().read(&link)?.contains("Exec=firezone-gtk"));
        person.click(APP, "switch", "Start with the session")?;
        is_on(person, "Start with the session", false)?;
        assert!(stand.client().read(&link).is_err());

        // What the administrator has set says who set it.
        person.find(APP, "label", "Set by the administrator: FIREZONE_AUTH_BASE_URL · Locked")?;

        // What is changed here is the service's, and what is changed elsewhere is seen here.
        let at_start = "Internet resource at start";
        is_on(person, at_start, false)?;
        person.click(APP, "switch", at_start)?;
        is_on(person, at_start, true)?;
        assert!(setting(stand, "internet-resource").contains("true"), "{}", setting(stand, "internet-resource"));
        person.click(APP, "button", "Back to the default")?;
        is_on(person, at_start, false)?;
        stand.ctl("anna", "settings set name attic").check()?;
        person.find(APP, "text box", "Name of this device (Changed here)")?;
        stand.ctl("anna", "settings reset name").check()?;
        person.find(APP, "text box", "Name of this device (Default)")?;

        // What makes no sense is refused by the service, and what counts is shown again.
        let time = "Time without the portal (Default)";
        person.write(&person.find(APP, "text box", time)?, "soon")?;
        call(stand, "org.gtk.Actions.Activate")
            .arg("change-setting")
            .arg("[<'max-partition-time=soon'>]")
            .arg("{}")
            .check()?;
        let why = "max-partition-time must be a time with a unit, as 90s, 5m, 1h or 30d";
        person.find(APP, "label", &format!("That value is not possible: {why}"))?;
        assert!(setting(stand, "max-partition-time").contains("default"));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_report_is_seen_before_it_is_saved() -> anyhow::Result<()> {
    at_the_desktop(|stand, desktop, person| {
        let _daemon = stand.serve_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        desktop.start_app(stand, &[])?;
        desktop.act(stand, "diagnostics")?;
        person.click(APP, "button", "Make a report")?;
        person.find(APP, "label", "This is all that the report says.")?;
        person.click(APP, "button", "Save…")?;
        // The library's own dialog, where nobody else offers one.
        let save = |path: &str| -> anyhow::Result<()> {
            person.write(&person.find(APP, "text box", "Name:")?, path)?;
            person.click(APP, "button", SAVE)
        };
        // What cannot be written leaves the report where it is.
        save("/etc/report.json")?;
        person.find(APP, "label", "The report is not saved")?;
        person.click(APP, "button", "_Close Close")?;
        person.click(APP, "button", "Save…")?;
        save(&format!("{HOME}/report.json"))?;
        person.lose(APP, "label", "This is all that the report says.")?;
        let report = stand.client().read(&format!("{HOME}/report.json"))?;
        serde_json::from_str::<serde_json::Value>(&report)?;
        assert!(!report.contains("wiki"));
        Ok(())
    })
}
