//! All user actions, whether triggered by window, menu, tray, notification or keyboard.

use gtk::{gio, glib::VariantTy, prelude::*};

use crate::view::tray::TrayAction;

/// An action of the app.
#[derive(Debug)]
pub struct Action {
    /// Its name, as in `app.NAME`.
    pub name: &'static str,
    /// Whether it takes a text parameter.
    pub needs_text: bool,
    /// Its keyboard shortcuts.
    pub keys: &'static [&'static str],
}

/// All actions except the switch of the Internet resource, which has a state.
pub const ACTIONS: [Action; 23] = [
    plain("open", &[]),
    with_text("sign-in", &[]),
    plain("connect", &[]),
    plain("cancel", &["Escape"]),
    plain("sign-out", &[]),
    with_text("copy", &[]),
    with_text("details", &[]),
    with_text("open-link", &[]),
    plain("open-network-page", &[]),
    plain("start-service", &[]),
    plain("join-group", &[]),
    with_text("favourite", &[]),
    with_text("change-setting", &[]),
    with_text("reset-setting", &[]),
    plain("search", &["<Control>f"]),
    plain("diagnostics", &["<Control>d"]),
    plain("examine", &["F5"]),
    plain("report", &[]),
    plain("preferences", &["<Control>comma"]),
    plain("shortcuts", &["<Control>question"]),
    plain("about", &[]),
    plain("close", &["<Control>w"]),
    plain("quit", &["<Control>q"]),
];

/// The switch of the Internet resource.
pub const INTERNET: &str = "internet";

const fn plain(name: &'static str, keys: &'static [&'static str]) -> Action {
    Action { name, needs_text: false, keys }
}

const fn with_text(name: &'static str, keys: &'static [&'static str]) -> Action {
    Action { name, needs_text: true, keys }
}

/// Adds all actions to `app`. `activate` gets the action's name and its text parameter, if any.
pub fn install(
    app: &(impl IsA<gtk::Application> + IsA<gio::ActionMap>),
    act: impl Fn(&str, Option<String>) + Clone + 'static,
) {
    for Action { name, needs_text, keys } in ACTIONS {
        let action = gio::SimpleAction::new(name, needs_text.then_some(VariantTy::STRING));
        let act = act.clone();
        action.connect_activate(move |action, text| act(&action.name(), text.and_then(|it| it.get::<String>())));
        app.add_action(&action);
        app.set_accels_for_action(&format!("app.{name}"), keys);
    }
    let internet = gio::SimpleAction::new_stateful(INTERNET, None, &false.to_variant());
    internet.connect_change_state(move |action, wanted| {
        // The state changes when the daemon confirms it.
        if let Some(wanted) = wanted.and_then(|it| it.get::<bool>()) {
            act(&action.name(), Some(wanted.to_string()));
        }
    });
    app.add_action(&internet);
}

/// The action and the parameter for a menu item of the tray.
#[must_use]
pub fn for_tray_action(action: TrayAction) -> (&'static str, Option<String>) {
    match action {
        TrayAction::Open => ("open", None),
        TrayAction::SignIn => ("sign-in", Some(String::new())),
        TrayAction::Connect => ("connect", None),
        TrayAction::Cancel => ("cancel", None),
        TrayAction::SignOut => ("sign-out", None),
        TrayAction::SetInternet(active) => (INTERNET, Some(active.to_string())),
        TrayAction::Copy(text) => ("copy", Some(text)),
        TrayAction::OpenLink(link) => ("open-link", Some(link)),
        TrayAction::ToggleFavourite(id) => ("favourite", Some(id)),
        TrayAction::Quit => ("quit", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tray_actions_exist_and_get_their_parameter() {
        let text = || "text".to_owned();
        for act in [
            TrayAction::Open,
            TrayAction::SignIn,
            TrayAction::Connect,
            TrayAction::Cancel,
            TrayAction::SignOut,
            TrayAction::Copy(text()),
            TrayAction::OpenLink(text()),
            TrayAction::ToggleFavourite(text()),
            TrayAction::Quit,
        ] {
            let (name, text) = for_tray_action(act);
            let action = ACTIONS.iter().find(|action| action.name == name).unwrap();
            assert_eq!(action.needs_text, text.is_some(), "{name}");
        }
        assert_eq!(for_tray_action(TrayAction::SetInternet(true)).0, INTERNET);
    }

    #[test]
    fn every_shortcut_is_in_the_shortcuts_window() {
        let list = include_str!("../data/ui/shortcuts.ui").replace("&lt;", "<").replace("&gt;", ">");
        for key in ACTIONS.iter().flat_map(|action| action.keys) {
            assert!(list.contains(&format!(">{key}</property>")), "{key}");
        }
    }
}
