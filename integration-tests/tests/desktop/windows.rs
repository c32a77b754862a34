//! Preferences, diagnostics and report: changes take effect, and failures are explained.

use integration_tests::{
    account::AUTH_URL,
    desktop::{
        APP, HOME, TIMEOUT,
        accessibility::{Accessibility, Is},
        call,
    },
    process::wait_until,
    stand::Stand,
};

use super::with_desktop;

/// The accessible name of the button in the library's dialog.
const SAVE: &str = "_Save Save";

fn setting(stand: &Stand, key: &str) -> String {
    let get = stand.ctl("anna", &format!("settings get {key}")).run();
    get.map(|it| it.text().trim().to_owned()).unwrap_or_default()
}

fn is_on(screen: &Accessibility, switch: &str, is_on: bool) -> anyhow::Result<()> {
    wait_until(&format!("{switch} is {is_on}"), TIMEOUT, || {
        screen.find(APP, "switch", switch).is_ok_and(|it| it.is(Is::Checked) == is_on)
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn preferences_change_settings_of_the_service_and_the_user() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let _daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        desktop.start_app(stand, &[])?;
        desktop.act(stand, "preferences")?;

        // The link is where desktops look for it.
        let link = format!("{HOME}/.config/autostart/dev.firezone.Gtk.desktop");
        is_on(screen, "Start at login", false)?;
        screen.click(APP, "switch", "Start at login")?;
        is_on(screen, "Start at login", true)?;
        assert!(stand.client().read(&link)?.contains("Exec=firezone-gtk"));
        screen.click(APP, "switch", "Start at login")?;
        is_on(screen, "Start at login", false)?;
        assert!(stand.client().read(&link).is_err());

        // An administrator's setting shows its source.
        screen.find(APP, "label", "Set by the administrator: FIREZONE_AUTH_BASE_URL · Locked")?;

        // A change here reaches the service, and a change elsewhere is shown here.
        let at_start = "Internet resource at start";
        is_on(screen, at_start, false)?;
        screen.click(APP, "switch", at_start)?;
        is_on(screen, at_start, true)?;
        assert!(setting(stand, "internet-resource").contains("true"), "{}", setting(stand, "internet-resource"));
        screen.click(APP, "button", "Reset to Default")?;
        is_on(screen, at_start, false)?;
        stand.ctl("anna", "settings set name attic").check()?;
        screen.find(APP, "text box", "Device name (Changed here)")?;
        stand.ctl("anna", "settings reset name").check()?;
        screen.find(APP, "text box", "Device name (Default)")?;

        // The service rejects an invalid value, and the current value is shown again.
        let time = "Keep tunnel without portal for (e.g. 5m) (Default)";
        screen.write(&screen.find(APP, "text box", time)?, "soon")?;
        call(stand, "org.gtk.Actions.Activate")
            .arg("change-setting")
            .arg("[<'max-partition-time=soon'>]")
            .arg("{}")
            .check()?;
        let why = "max-partition-time must be a time with a unit, as 90s, 5m, 1h or 30d";
        screen.find(APP, "label", &format!("Invalid value: {why}"))?;
        assert!(setting(stand, "max-partition-time").contains("default"));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn report_is_shown_before_it_is_saved() -> anyhow::Result<()> {
    with_desktop(|stand, desktop, screen| {
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        desktop.start_app(stand, &[])?;
        desktop.act(stand, "diagnostics")?;
        screen.click(APP, "button", "Create Report")?;
        screen.find(APP, "label", "This is the complete report.")?;
        screen.click(APP, "button", "Save…")?;
        // The library's own dialog, because no portal offers one.
        let save = |path: &str| -> anyhow::Result<()> {
            screen.write(&screen.find(APP, "text box", "Name:")?, path)?;
            screen.click(APP, "button", SAVE)
        };
        // A report that cannot be written stays open.
        save("/etc/report.json")?;
        screen.find(APP, "label", "Report Not Saved")?;
        screen.click(APP, "button", "_Close Close")?;
        screen.click(APP, "button", "Save…")?;
        save(&format!("{HOME}/report.json"))?;
        screen.lose(APP, "label", "This is the complete report.")?;
        let report = stand.client().read(&format!("{HOME}/report.json"))?;
        serde_json::from_str::<serde_json::Value>(&report)?;
        assert!(!report.contains("wiki"));
        Ok(())
    })
}
