//! All that the user can do, from wherever it is done: window, menu, tray, notification, keyboard.

use gtk::{gio, glib::VariantTy, prelude::*};

use crate::view::tray::Act;

/// One action of the app.
#[derive(Debug)]
pub struct Action {
    /// Its name, as in `app.NAME`.
    pub name: &'static str,
    /// What it needs to know: nothing or a text.
    pub needs_text: bool,
    /// The keys for it.
    pub keys: &'static [&'static str],
}

/// All actions, except the switch of the Internet resource, which has a state.
pub const ACTIONS: [Action; 22] = [
    plain("open", &[]),
    with_text("sign-in", &[]),
    plain("connect", &[]),
    plain("cancel", &["Escape"]),
    plain("sign-out", &[]),
    with_text("copy", &[]),
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

/// Makes the actions of `app`. `act` is told the name and the text, if there is one.
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
        // The state changes when the daemon says so.
        if let Some(wanted) = wanted.and_then(|it| it.get::<bool>()) {
            act(&action.name(), Some(wanted.to_string()));
        }
    });
    app.add_action(&internet);
}

/// The action and the text for a line of the tray's menu.
#[must_use]
pub fn of(act: Act) -> (&'static str, Option<String>) {
    match act {
        Act::Open => ("open", None),
        Act::SignIn => ("sign-in", Some(String::new())),
        Act::Connect => ("connect", None),
        Act::Cancel => ("cancel", None),
        Act::SignOut => ("sign-out", None),
        Act::SetInternet(active) => (INTERNET, Some(active.to_string())),
        Act::Copy(text) => ("copy", Some(text)),
        Act::OpenLink(link) => ("open-link", Some(link)),
        Act::ToggleFavourite(id) => ("favourite", Some(id)),
        Act::Quit => ("quit", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tray_uses_actions_that_exist_and_gives_them_what_they_need() {
        let text = || "text".to_owned();
        for act in [
            Act::Open,
            Act::SignIn,
            Act::Connect,
            Act::Cancel,
            Act::SignOut,
            Act::Copy(text()),
            Act::OpenLink(text()),
            Act::ToggleFavourite(text()),
            Act::Quit,
        ] {
            let (name, text) = of(act);
            let action = ACTIONS.iter().find(|action| action.name == name).unwrap();
            assert_eq!(action.needs_text, text.is_some(), "{name}");
        }
        assert_eq!(of(Act::SetInternet(true)).0, INTERNET);
    }

    #[test]
    fn every_key_is_in_the_list_of_keys() {
        let list = include_str!("../data/ui/shortcuts.ui").replace("&lt;", "<").replace("&gt;", ">");
        for key in ACTIONS.iter().flat_map(|action| action.keys) {
            assert!(list.contains(&format!(">{key}</property>")), "{key}");
        }
    }
}
