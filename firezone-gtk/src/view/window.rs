//! Which page the window shows, and what is on it.

use dbus_api::State;
use gettextrs::gettext;

use super::resources::{self, Row};
use crate::{
    model::{Attempt, Daemon, Model, Session, SomebodyElse, condemns_token},
    strings,
};

/// Everything the window shows.
#[derive(Clone, PartialEq, Debug)]
pub enum View {
    /// The daemon has not answered yet.
    Loading,
    /// Something is in the way, and this is the way out.
    Problem(Problem),
    /// Nobody is signed in.
    SignIn(SignIn),
    /// Something is under way.
    Waiting(Waiting),
    /// There is a session.
    Session(Box<SessionView>),
}

/// Something in the way of everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// An icon of the theme or of ours.
    pub icon: &'static str,
    /// What it is.
    pub title: String,
    /// What to do about it.
    pub text: String,
    /// What this app can do about it, if an administrator agrees.
    pub remedy: Option<Remedy>,
    /// A command for a terminal that helps, or empty.
    pub command: String,
}

/// A button that helps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remedy {
    /// What is on it.
    pub label: String,
    /// What it does, as in `app.NAME`.
    pub action: &'static str,
}

/// The page of somebody who is not signed in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SignIn {
    /// The account to start with.
    pub account_slug: String,
    /// Whether the administrator has chosen that account for everybody.
    pub is_account_fixed: bool,
    /// Why the last session ended, or who ended it, or empty.
    pub remark: String,
    /// Whether a kept token makes the browser unnecessary.
    pub can_connect: bool,
}

/// The page while something is under way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// What is under way.
    pub title: String,
    /// What to do meanwhile, or empty.
    pub text: String,
    /// Whether it can be given up.
    pub can_cancel: bool,
    /// Whether the network wants to see a browser.
    pub can_browse: bool,
}

/// The page of a session.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionView {
    /// The icon of the state.
    pub icon: &'static str,
    /// The state in words.
    pub title: String,
    /// Who is signed in, or why the state is what it is.
    pub subtitle: String,
    /// What does not work as it should, one sentence each.
    pub warnings: Vec<String>,
    /// The Internet resource, and whether it is switched on.
    pub internet: Option<(Row, bool)>,
    /// All other resources.
    pub resources: Vec<Row>,
}

/// The window for a model.
#[must_use]
pub fn view(model: &Model) -> View {
    match &model.daemon {
        Daemon::Unknown => View::Loading,
        Daemon::Absent => View::Problem(Problem {
            icon: "firezone-problem-symbolic",
            title: gettext("The service is not running"),
            text: gettext("Firezone's service does the work in the background. Ask your administrator to start it."),
            remedy: Some(Remedy { label: gettext("_Start the service…"), action: "app.start-service" }),
            command: "sudo systemctl start firezone-client".to_owned(),
        }),
        Daemon::Managed(state) => View::Problem(Problem {
            icon: icon(state),
            title: gettext("This computer signs in by itself"),
            text: gettext(
                "It has a token of its own (service mode), so nobody can sign in or out here. To sign in as a person, \
                 an administrator has to remove that token and to restart the service.",
            ),
            remedy: None,
            command: "firezonectl status".to_owned(),
        }),
        Daemon::Serving(session) if !session.may_command => View::Problem(Problem {
            icon: "firezone-problem-symbolic",
            title: gettext("You may not use Firezone here"),
            text: gettext(
                "Ask your administrator to add you to the group “firezone”. There is no need to log in again.",
            ),
            remedy: model
                .can_join_group
                .then(|| Remedy { label: gettext("_Join the group…"), action: "app.join-group" }),
            command: "sudo usermod --append --groups firezone \"$USER\"".to_owned(),
        }),
        Daemon::Serving(session) => serving(model, session),
    }
}

fn serving(model: &Model, session: &Session) -> View {
    let why = if session.reason.is_empty() { String::new() } else { strings::reason(&session.reason) };
    let waiting = |title, text| View::Waiting(Waiting { title, text, can_cancel: true, can_browse: false });
    match (&session.state, model.attempt) {
        (State::SignedOut, Attempt::Browser) => {
            waiting(gettext("Sign in in your browser"), gettext("Come back here when you are done."))
        }
        (State::SignedOut, Attempt::HandedOver) => waiting(strings::state(&State::Connecting), String::new()),
        (State::SignedOut | State::Other(_), _) => View::SignIn(SignIn {
            account_slug: model.fixed_account().unwrap_or(&model.account_slug).to_owned(),
            is_account_fixed: model.fixed_account().is_some(),
            remark: if why.is_empty() { signed_out_by(model) } else { why },
            can_connect: model.has_token && !condemns_token(&session.reason),
        }),
        (state @ State::WaitingForNetwork, _) => {
            waiting(strings::state(state), gettext("Firezone goes on by itself as soon as there is one."))
        }
        (State::Connecting, _) if session.reason == "captive_portal" => {
            let title = gettext("Sign in to this network");
            View::Waiting(Waiting { title, text: why, can_cancel: true, can_browse: true })
        }
        (state @ State::Connecting, _) => waiting(strings::state(state), why),
        (state @ State::SigningOut, _) => View::Waiting(Waiting { title: strings::state(state), ..Waiting::default() }),
        (State::Connected | State::Reconnecting, _) => View::Session(Box::new(session_view(model, session))),
    }
}

/// What another user, or the same one elsewhere, has done.
fn signed_out_by(model: &Model) -> String {
    match model.signed_out_by() {
        Some(SomebodyElse::Other(name)) => gettext("{user} has signed out.").replace("{user}", name),
        Some(SomebodyElse::SameUser) => gettext("You have signed out with another program."),
        None => String::new(),
    }
}

fn session_view(model: &Model, session: &Session) -> SessionView {
    let status = session.status.clone().unwrap_or_default();
    SessionView {
        icon: icon(&session.state),
        title: strings::state(&session.state),
        subtitle: subtitle(session, status.actor_name.as_deref(), status.account_slug.as_deref()),
        warnings: status.warnings.into_iter().map(|warning| warning.text).collect(),
        internet: resources::internet(model).map(|row| (row, session.internet_resource_active)),
        resources: resources::rows(model),
    }
}

fn subtitle(session: &Session, actor: Option<&str>, account: Option<&str>) -> String {
    if session.state == State::Reconnecting {
        return gettext("The portal is away. What is connected goes on.");
    }
    match (actor, account) {
        // Translators: a person and an account, as in “Kim Doe at example”.
        (Some(actor), Some(account)) => {
            gettext("{actor} at {account}").replace("{actor}", actor).replace("{account}", account)
        }
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    }
}

/// The icon of a state. Each has a shape of its own, so that colour says nothing alone.
#[must_use]
pub fn icon(state: &State) -> &'static str {
    match state {
        State::Connected => "firezone-connected-symbolic",
        State::Connecting | State::Reconnecting | State::SigningOut => "firezone-busy-symbolic",
        State::WaitingForNetwork => "firezone-waiting-symbolic",
        State::SignedOut | State::Other(_) => "firezone-signed-out-symbolic",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::resources::tests::dns;

    fn serving(state: State, reason: &str) -> Model {
        let session = Session { state, reason: reason.into(), may_command: true, ..Session::default() };
        Model { daemon: Daemon::Serving(Box::new(session)), ..Model::default() }
    }

    #[test]
    fn each_problem_has_a_way_out() {
        let stranger = Model { daemon: Daemon::Serving(Box::default()), ..Model::default() };
        let absent = Model { daemon: Daemon::Absent, ..Model::default() };
        let managed = Model { daemon: Daemon::Managed(State::Connected), ..Model::default() };
        for model in [stranger, absent, managed] {
            let View::Problem(problem) = view(&model) else { panic!("{model:?}") };
            assert!(!problem.text.is_empty() && !problem.command.is_empty());
        }
    }

    #[test]
    fn the_app_joins_the_group_where_something_can_ask_for_a_password() {
        for can_join_group in [true, false] {
            let model = Model { can_join_group, daemon: Daemon::Serving(Box::default()), ..Model::default() };
            let View::Problem(problem) = view(&model) else { panic!() };
            assert_eq!(problem.remedy.is_some(), can_join_group);
        }
    }

    #[test]
    fn a_kept_token_makes_the_browser_unnecessary_unless_the_portal_condemned_it() {
        for (reason, expected) in [("", true), ("tun_busy", true), ("invalid_token", false)] {
            let model = Model { has_token: true, ..serving(State::SignedOut, reason) };
            let View::SignIn(page) = view(&model) else { panic!() };
            assert_eq!(page.can_connect, expected, "{reason}");
        }
    }

    #[test]
    fn while_the_portal_is_away_the_resources_stay() {
        let mut model = serving(State::Reconnecting, "portal_unreachable");
        model.resources = vec![dns("1", "wiki")];
        let View::Session(page) = view(&model) else { panic!() };
        assert_eq!(page.resources.len(), 1);
        assert!(page.subtitle.contains("goes on"));
    }

    #[test]
    fn waiting_for_the_browser_ends_with_the_session() {
        let model = Model { attempt: Attempt::Browser, ..serving(State::SignedOut, "") };
        assert!(matches!(view(&model), View::Waiting(_)));
        let model = Model { attempt: Attempt::Browser, ..serving(State::Connected, "") };
        assert!(matches!(view(&model), View::Session(_)));
    }

    #[test]
    fn what_others_have_done_is_told() {
        let by = |name: &str, signed_out_here| {
            let mut model = Model { user: "anna".into(), signed_out_here, ..serving(State::SignedOut, "") };
            if let Daemon::Serving(session) = &mut model.daemon {
                session.status = Some(dbus_api::Status { asked_by: Some(name.into()), ..dbus_api::Status::default() });
            }
            let View::SignIn(page) = view(&model) else { panic!() };
            page.remark
        };
        assert!(by("bob", false).contains("bob"));
        assert!(by("anna", false).contains("another program"));
        assert_eq!(by("anna", true), "");
    }

    #[test]
    fn an_account_of_the_administrator_counts_more_than_the_users() {
        let fixed = dbus_api::Setting { value: "acme".into(), ..dbus_api::Setting::default() };
        let settings = [("account-slug".to_owned(), fixed)].into();
        let model = Model { settings, account_slug: "mine".into(), ..serving(State::SignedOut, "") };
        let View::SignIn(page) = view(&model) else { panic!() };
        assert_eq!((page.account_slug.as_str(), page.is_account_fixed), ("acme", true));
    }

    #[test]
    fn a_network_that_wants_a_browser_gets_one() {
        for (reason, expected) in [("captive_portal", true), ("portal_unreachable", false)] {
            let View::Waiting(page) = view(&serving(State::Connecting, reason)) else { panic!() };
            assert_eq!(page.can_browse, expected, "{reason}");
        }
    }

    #[test]
    fn every_state_has_a_page() {
        for state in [
            State::SignedOut,
            State::WaitingForNetwork,
            State::Connecting,
            State::Connected,
            State::Reconnecting,
            State::SigningOut,
            State::Other("dreaming".to_owned()),
        ] {
            assert_ne!(view(&serving(state, "")), View::Loading);
        }
    }
}
