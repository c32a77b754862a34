//! Icon and menu of the tray, in types of our own.

use dbus_api::State;
use gettextrs::gettext;

use super::{
    resources::{self, Row},
    window,
};
use crate::{
    model::{Attempt, Daemon, Model},
    strings,
};

/// More resources than this are in the window, which can be searched.
const MOST_RESOURCES: usize = 20;

/// The tray.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tray {
    /// The icon of the state.
    pub icon: &'static str,
    /// The state in words.
    pub title: String,
    /// From top to bottom.
    pub menu: Vec<Item>,
}

/// One line of the menu.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// Says something and does nothing.
    Text(String),
    /// Does something.
    Button(String, Act),
    /// Switches something.
    Check(String, bool, Act),
    /// More lines.
    Menu(String, Vec<Item>),
    /// A line between groups.
    Separator,
}

/// What a line does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Show the window.
    Open,
    /// Sign in by browser.
    SignIn,
    /// Connect with the kept token.
    Connect,
    /// Give up signing in.
    Cancel,
    /// Sign out.
    SignOut,
    /// Switch the Internet resource on or off.
    SetInternet(bool),
    /// Put a text on the clipboard.
    Copy(String),
    /// Open a link.
    OpenLink(String),
    /// Like a resource, or not any more.
    ToggleFavourite(String),
    /// End the app.
    Quit,
}

/// The tray for a model.
#[must_use]
pub fn view(model: &Model) -> Tray {
    let state = model.state();
    let mut menu = top(model);
    if matches!(state, State::Connected | State::Reconnecting) && matches!(model.daemon, Daemon::Serving(_)) {
        menu.push(Item::Separator);
        menu.extend(resource_part(model));
    }
    menu.push(Item::Separator);
    menu.push(Item::Button(gettext("Open Firezone"), Act::Open));
    menu.push(Item::Button(gettext("Quit"), Act::Quit));
    Tray { icon: window::icon(&state), title: title(model), menu }
}

fn title(model: &Model) -> String {
    match &model.daemon {
        Daemon::Unknown => gettext("Looking for the service"),
        Daemon::Absent => gettext("The service is not running"),
        Daemon::Managed(_) => gettext("This computer signs in by itself"),
        Daemon::Serving(session) if !session.may_command => gettext("You may not use Firezone here"),
        Daemon::Serving(session) => strings::state(&session.state),
    }
}

fn top(model: &Model) -> Vec<Item> {
    let mut items = vec![Item::Text(title(model))];
    let Some(session) = model.session().filter(|session| session.may_command) else { return items };
    match &session.state {
        State::SignedOut | State::Other(_) if model.attempt == Attempt::None => {
            if model.has_token {
                items.push(Item::Button(gettext("Connect"), Act::Connect));
            }
            items.push(Item::Button(gettext("Sign in"), Act::SignIn));
        }
        State::SignedOut | State::Other(_) => items.push(Item::Button(gettext("Cancel"), Act::Cancel)),
        State::WaitingForNetwork | State::Connecting | State::Connected | State::Reconnecting => {
            items.push(Item::Button(gettext("Sign out"), Act::SignOut));
        }
        State::SigningOut => {}
    }
    items
}

fn resource_part(model: &Model) -> Vec<Item> {
    let mut items = Vec::new();
    if resources::internet(model).is_some() {
        let is_active = model.session().is_some_and(|session| session.internet_resource_active);
        items.push(Item::Check(gettext("Internet"), is_active, Act::SetInternet(!is_active)));
        items.push(Item::Separator);
    }
    let (favourites, others): (Vec<Row>, Vec<Row>) =
        resources::rows(model).into_iter().partition(|row| row.is_favourite);
    if favourites.is_empty() {
        items.push(Item::Text(gettext("Resources")));
        items.extend(some(&others));
    } else {
        items.push(Item::Text(gettext("Favourites")));
        items.extend(some(&favourites));
        items.push(Item::Menu(gettext("Other resources"), some(&others)));
    }
    items
}

/// As many as a menu can bear, and the way to the rest.
fn some(rows: &[Row]) -> Vec<Item> {
    let mut items: Vec<Item> = rows.iter().take(MOST_RESOURCES).map(resource).collect();
    if rows.is_empty() {
        items.push(Item::Text(gettext("None")));
    } else if rows.len() > MOST_RESOURCES {
        let rest = (rows.len() - MOST_RESOURCES).to_string();
        items.push(Item::Button(gettext("Search {n} more…").replace("{n}", &rest), Act::Open));
    }
    items
}

fn resource(row: &Row) -> Item {
    let mut items = Vec::new();
    if !row.link.is_empty() {
        items.push(Item::Button(row.link.clone(), Act::OpenLink(row.link.clone())));
    }
    if !row.description.is_empty() {
        items.push(Item::Button(row.description.clone(), Act::Copy(row.description.clone())));
    }
    if !row.address.is_empty() {
        items.push(Item::Button(
            gettext("Copy {address}").replace("{address}", &row.address),
            Act::Copy(row.address.clone()),
        ));
    }
    items.push(Item::Check(gettext("Favourite"), row.is_favourite, Act::ToggleFavourite(row.id.clone())));
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
        let session = Session { state: State::Connected, may_command: true, ..Session::default() };
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
    fn nobody_is_signed_in() {
        let mut model = connected(Vec::new());
        model.daemon = Daemon::Serving(Box::new(Session { may_command: true, ..Session::default() }));
        assert_eq!(labels(&view(&model).menu), ["Signed out", "Sign in", "-", "Open Firezone", "Quit"]);
        model.has_token = true;
        assert_eq!(labels(&view(&model).menu)[1..3], ["Connect", "Sign in"]);
        model.attempt = Attempt::Browser;
        assert_eq!(labels(&view(&model).menu)[1], "Cancel");
    }

    #[test]
    fn without_favourites_all_are_listed() {
        let model = connected(vec![dns("1", "wiki"), dns("2", "git_lab")]);
        let labels = labels(&view(&model).menu);
        assert_eq!(
            labels,
            ["Connected", "Sign out", "-", "Resources", "wiki", "git_lab", "-", "Open Firezone", "Quit"]
        );
    }

    #[test]
    fn favourites_come_first_and_the_rest_is_one_menu() {
        let mut model = connected(vec![dns("1", "wiki"), dns("2", "git")]);
        model.toggle_favourite("2");
        let menu = view(&model).menu;
        assert_eq!(labels(&menu)[3..6], ["Favourites", "git", "Other resources"]);
        model.toggle_favourite("1");
        let menu = view(&model).menu;
        let Some(Item::Menu(_, others)) =
            menu.iter().find(|it| matches!(it, Item::Menu(label, _) if label == "Other resources"))
        else {
            panic!("{menu:?}")
        };
        assert_eq!(labels(others), ["None"]);
    }

    #[test]
    fn five_hundred_resources_are_a_short_menu_and_a_search() {
        let model = connected((0..500).map(|n| dns(&n.to_string(), &format!("host-{n}"))).collect());
        let menu = view(&model).menu;
        assert!(menu.len() < 30);
        assert!(labels(&menu).contains(&"Search 480 more…".to_owned()));
    }

    #[test]
    fn the_internet_resource_is_a_switch() {
        let model = connected(vec![Resource { kind: "internet".into(), ..Resource::default() }]);
        assert!(view(&model).menu.contains(&Item::Check("Internet".into(), false, Act::SetInternet(true))));
    }

    #[test]
    fn a_person_without_permission_is_offered_nothing() {
        let model = Model { daemon: Daemon::Serving(Box::default()), ..Model::default() };
        assert_eq!(labels(&view(&model).menu), ["You may not use Firezone here", "-", "Open Firezone", "Quit"]);
    }
}
