//! Icon and menu of the tray, as plain data.

use dbus_api::Phase;
use gettextrs::gettext;

use super::{
    resources::{self, Row},
    window,
};
use crate::{
    model::{Attempt, Daemon, Model},
    strings,
};

/// The maximum number of resources in a menu. The window, which has a search, displays the rest.
const MAX_MENU_RESOURCES: usize = 20;

/// The content of the tray.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tray {
    /// The icon of the state.
    pub icon: &'static str,
    /// The state, in words.
    pub title: String,
    /// The menu, from top to bottom.
    pub menu: Vec<Item>,
}

/// One menu item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A text without an action.
    Text(String),
    /// An item with an action.
    Button(String, TrayAction),
    /// An item with a check mark.
    Check(String, bool, TrayAction),
    /// A submenu.
    Menu(String, Vec<Item>),
    /// A separator.
    Separator,
}

/// The action of a menu item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrayAction {
    /// Show the window.
    Open,
    /// Sign in by browser.
    SignIn,
    /// Connect with the stored token.
    Connect,
    /// Cancel the sign-in.
    Cancel,
    /// Sign out.
    SignOut,
    /// Switch the Internet resource on or off.
    SetInternet(bool),
    /// Copy a text to the clipboard.
    Copy(String),
    /// Open a link.
    OpenLink(String),
    /// Add a resource to the favourites, or remove it.
    ToggleFavourite(String),
    /// Quit the app.
    Quit,
}

/// The tray for a model.
#[must_use]
pub fn view(model: &Model) -> Tray {
    let mut menu = session_items(model);
    if model.session().is_some_and(|session| session.phase.has_tunnel()) {
        menu.push(Item::Separator);
        menu.extend(resource_items(model));
    }
    menu.push(Item::Separator);
    menu.push(Item::Button(gettext("Open Firezone"), TrayAction::Open));
    menu.push(Item::Button(gettext("Quit"), TrayAction::Quit));
    Tray { icon: window::icon(model.phase().unwrap_or(&Phase::SignedOut(None))), title: title(model), menu }
}

fn title(model: &Model) -> String {
    match &model.daemon {
        Daemon::Unknown => gettext("Contacting the service"),
        Daemon::NotRunning => gettext("The Service Is Not Running"),
        Daemon::ServiceMode(_) => gettext("This Computer Uses a Service Token"),
        Daemon::Serving(session) if !session.may_command => gettext("You Don't Have Permission to Use Firezone"),
        Daemon::Serving(session) => strings::state(&session.phase),
    }
}

fn session_items(model: &Model) -> Vec<Item> {
    let mut items = vec![Item::Text(title(model))];
    let Some(session) = model.session().filter(|session| session.may_command) else { return items };
    match &session.phase {
        Phase::SignedOut(_) | Phase::Other { .. } if model.attempt == Attempt::None => {
            if model.has_token {
                items.push(Item::Button(gettext("Connect"), TrayAction::Connect));
            }
            items.push(Item::Button(gettext("Sign In"), TrayAction::SignIn));
        }
        Phase::SignedOut(_) | Phase::Other { .. } => items.push(Item::Button(gettext("Cancel"), TrayAction::Cancel)),
        Phase::WaitingForNetwork(_) | Phase::Connecting(_) | Phase::Connected | Phase::Reconnecting(_) => {
            items.push(Item::Button(gettext("Sign Out"), TrayAction::SignOut));
        }
        Phase::SigningOut => {}
    }
    items
}

fn resource_items(model: &Model) -> Vec<Item> {
    let mut items = Vec::new();
    if resources::internet(model).is_some() {
        let is_active = model.session().is_some_and(|session| session.internet_resource_active);
        items.push(Item::Check(gettext("Internet"), is_active, TrayAction::SetInternet(!is_active)));
        items.push(Item::Separator);
    }
    let (favourites, others): (Vec<Row>, Vec<Row>) =
        resources::rows(model).into_iter().partition(|row| row.is_favourite);
    if favourites.is_empty() {
        items.push(Item::Text(gettext("Resources")));
        items.extend(bounded(&others));
    } else {
        items.push(Item::Text(gettext("Favourites")));
        items.extend(bounded(&favourites));
        items.push(Item::Menu(gettext("Other Resources"), bounded(&others)));
    }
    items
}

/// At most [`MAX_MENU_RESOURCES`] resources, and an item that leads to the rest.
fn bounded(rows: &[Row]) -> Vec<Item> {
    let mut items: Vec<Item> = rows.iter().take(MAX_MENU_RESOURCES).map(resource).collect();
    if rows.is_empty() {
        items.push(Item::Text(gettext("None")));
    } else if rows.len() > MAX_MENU_RESOURCES {
        let rest = (rows.len() - MAX_MENU_RESOURCES).to_string();
        items.push(Item::Button(gettext("Search {n} More…").replace("{n}", &rest), TrayAction::Open));
    }
    items
}

fn resource(row: &Row) -> Item {
    let mut items = Vec::new();
    if !row.link.is_empty() {
        items.push(Item::Button(row.link.clone(), TrayAction::OpenLink(row.link.clone())));
    }
    if !row.description.is_empty() {
        items.push(Item::Button(row.description.clone(), TrayAction::Copy(row.description.clone())));
    }
    if !row.address.is_empty() {
        items.push(Item::Button(
            gettext("Copy {address}").replace("{address}", &row.address),
            TrayAction::Copy(row.address.clone()),
        ));
    }
    items.push(Item::Check(gettext("Favourite"), row.is_favourite, TrayAction::ToggleFavourite(row.id.clone())));
    items.push(Item::Separator);
    items.push(Item::Text(if row.site.is_empty() {
        row.status_text.clone()
    } else {
        format!("{}: {}", row.site, row.status_text)
    }));
    Item::Menu(row.name.clone(), items)
}

#[cfg(test)]
mod tests {
    use dbus_api::Resource;

    use super::*;
    use crate::{model::Session, view::resources::tests::dns};

    fn connected(resources: Vec<Resource>) -> Model {
        let session = Session { phase: Phase::Connected, may_command: true, ..Session::default() };
        Model { daemon: Daemon::Serving(Box::new(session)), resources, ..Model::default() }
    }

    fn labels(items: &[Item]) -> Vec<String> {
        items
            .iter()
            .map(|item| match item {
                Item::Text(label) | Item::Button(label, _) | Item::Check(label, ..) | Item::Menu(label, _) => {
                    label.clone()
                }
                Item::Separator => "-".to_owned(),
            })
            .collect()
    }

    #[test]
    fn signed_out_menu_offers_sign_in() {
        let mut model = connected(Vec::new());
        model.daemon = Daemon::Serving(Box::new(Session { may_command: true, ..Session::default() }));
        assert_eq!(labels(&view(&model).menu), ["Signed out", "Sign In", "-", "Open Firezone", "Quit"]);
        model.has_token = true;
        assert_eq!(labels(&view(&model).menu)[1..3], ["Connect", "Sign In"]);
        model.attempt = Attempt::Browser;
        assert_eq!(labels(&view(&model).menu)[1], "Cancel");
    }

    #[test]
    fn without_favourites_all_resources_are_listed() {
        let model = connected(vec![dns("1", "wiki"), dns("2", "git_lab")]);
        let labels = labels(&view(&model).menu);
        assert_eq!(
            labels,
            ["Connected", "Sign Out", "-", "Resources", "wiki", "git_lab", "-", "Open Firezone", "Quit"]
        );
    }

    #[test]
    fn other_resources_are_a_submenu_below_favourites() {
        let mut model = connected(vec![dns("1", "wiki"), dns("2", "git")]);
        model.toggle_favourite("2");
        let menu = view(&model).menu;
        assert_eq!(labels(&menu)[3..6], ["Favourites", "git", "Other Resources"]);
        model.toggle_favourite("1");
        let menu = view(&model).menu;
        let Some(Item::Menu(_, others)) =
            menu.iter().find(|it| matches!(it, Item::Menu(label, _) if label == "Other Resources"))
        else {
            panic!("{menu:?}")
        };
        assert_eq!(labels(others), ["None"]);
    }

    #[test]
    fn long_resource_list_is_cut_and_leads_to_the_search() {
        let model = connected((0..500).map(|n| dns(&n.to_string(), &format!("host-{n}"))).collect());
        let menu = view(&model).menu;
        assert!(menu.len() < 30);
        assert!(labels(&menu).contains(&"Search 480 More…".to_owned()));
    }

    #[test]
    fn internet_resource_is_a_check_item() {
        let model = connected(vec![Resource { kind: "internet".into(), ..Resource::default() }]);
        assert!(view(&model).menu.contains(&Item::Check("Internet".into(), false, TrayAction::SetInternet(true))));
    }

    #[test]
    fn without_permission_the_menu_offers_no_action() {
        let model = Model { daemon: Daemon::Serving(Box::default()), ..Model::default() };
        assert_eq!(
            labels(&view(&model).menu),
            ["You Don't Have Permission to Use Firezone", "-", "Open Firezone", "Quit"]
        );
    }
}
