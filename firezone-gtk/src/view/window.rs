//! The page of the main window, and its content.

use dbus_api::{NetworkProblem, Phase, SignOutCause};
use gettextrs::gettext;

use super::resources::{self, Row};
use crate::{
    model::{Attempt, Daemon, Model, OtherActor, Session},
    strings,
};

/// The content of the main window.
#[derive(Clone, PartialEq, Debug)]
pub enum View {
    /// The daemon has not answered yet.
    Loading,
    /// The app cannot be used; the page explains how to fix that.
    Problem(Problem),
    /// The user can sign in.
    SignIn(SignIn),
    /// An operation is in progress.
    Waiting(Waiting),
    /// The session is connected.
    Session(Box<SessionView>),
}

/// A problem that prevents using the app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The icon's name.
    pub icon: &'static str,
    /// The title.
    pub title: String,
    /// An explanation, and what to do.
    pub text: String,
    /// What this app can do about it, with an administrator's password.
    pub remedy: Option<Remedy>,
    /// A command for a terminal that helps.
    pub command: String,
}

/// A button that fixes the problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remedy {
    /// Its label.
    pub label: String,
    /// Its action, as in `app.NAME`.
    pub action: &'static str,
}

/// The sign-in page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SignIn {
    /// The account ID to start with.
    pub account_slug: String,
    /// Whether the administrator has set the account ID for all users.
    pub is_account_fixed: bool,
    /// Why the last session ended, or who ended it, or empty.
    pub remark: String,
    /// Whether a stored token makes the browser unnecessary.
    pub can_connect: bool,
}

/// The page while an operation is in progress.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// The operation.
    pub title: String,
    /// What the user can do meanwhile, or empty.
    pub text: String,
    /// Whether it can be cancelled.
    pub can_cancel: bool,
    /// Whether to offer a browser for the network's sign-in page.
    pub can_browse: bool,
}

/// The session page.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionView {
    /// The icon of the state.
    pub icon: &'static str,
    /// The state, in words.
    pub title: String,
    /// Actor and account, or a remark about the state.
    pub subtitle: String,
    /// Warnings, one sentence each.
    pub warnings: Vec<String>,
    /// The Internet resource, and whether it is switched on.
    pub internet: Option<(Row, bool)>,
    /// All other resources.
    pub resources: Vec<Row>,
}

/// The content of the main window for a model.
#[must_use]
pub fn view(model: &Model) -> View {
    match &model.daemon {
        Daemon::Unknown => View::Loading,
        Daemon::NotRunning => View::Problem(Problem {
            icon: "firezone-problem-symbolic",
            title: gettext("The Service Is Not Running"),
            text: gettext("Firezone needs its background service. Ask an administrator to start it."),
            remedy: Some(Remedy { label: gettext("_Start Service…"), action: "app.start-service" }),
            command: "sudo systemctl start firezone-client".to_owned(),
        }),
        Daemon::ServiceMode(phase) => View::Problem(Problem {
            icon: icon(phase),
            title: gettext("This Computer Uses a Service Token"),
            text: gettext(
                "The service runs in service mode, so users cannot sign in or out. To sign in as a user, an administrator must remove the service token and restart the service.",
            ),
            remedy: None,
            command: "firezonectl status".to_owned(),
        }),
        Daemon::Serving(session) if !session.may_command => View::Problem(Problem {
            icon: "firezone-problem-symbolic",
            title: gettext("You Don't Have Permission to Use Firezone"),
            text: gettext("Ask an administrator to add you to the “firezone” group. You don't need to log in again."),
            remedy: model.can_join_group.then(|| Remedy { label: gettext("_Join Group…"), action: "app.join-group" }),
            command: "sudo usermod --append --groups firezone \"$USER\"".to_owned(),
        }),
        Daemon::Serving(session) => serving(model, session),
    }
}

fn serving(model: &Model, session: &Session) -> View {
    let why = session.phase.reason().map(|reason| strings::reason(&reason)).unwrap_or_default();
    let title = strings::state(&session.phase);
    let waiting = |title, text| View::Waiting(Waiting { title, text, can_cancel: true, can_browse: false });
    match (&session.phase, model.attempt) {
        (Phase::SignedOut(_), Attempt::Browser) => {
            waiting(gettext("Continue in Your Browser"), gettext("Return to this window when you are done."))
        }
        (Phase::SignedOut(_), Attempt::HandedOver) => waiting(strings::state(&Phase::Connecting(None)), String::new()),
        (Phase::SignedOut(cause), Attempt::None) => sign_in(model, why, cause.as_ref()),
        (Phase::Other { .. }, _) => sign_in(model, why, None),
        (Phase::WaitingForNetwork(NetworkProblem::CaptivePortal), _) => View::Waiting(Waiting {
            title: gettext("Sign In to This Network"),
            text: why,
            can_cancel: true,
            can_browse: true,
        }),
        (
            Phase::WaitingForNetwork(NetworkProblem::NoNetwork | NetworkProblem::Suspended | NetworkProblem::Other(_)),
            _,
        ) => waiting(title, gettext("Firezone continues as soon as a network is available.")),
        (Phase::Connecting(_), _) => waiting(title, why),
        (Phase::SigningOut, _) => View::Waiting(Waiting { title, ..Waiting::default() }),
        (Phase::Connected | Phase::Reconnecting(_), _) => View::Session(Box::new(session_view(model, session))),
    }
}

fn sign_in(model: &Model, why: String, cause: Option<&SignOutCause>) -> View {
    View::SignIn(SignIn {
        account_slug: model.fixed_account().unwrap_or(&model.account_slug).to_owned(),
        is_account_fixed: model.fixed_account().is_some(),
        remark: if why.is_empty() { signed_out_by(model) } else { why },
        can_connect: model.has_token && !cause.is_some_and(SignOutCause::condemns_token),
    })
}

/// Who ended the session, if it was not ended in this app.
fn signed_out_by(model: &Model) -> String {
    match model.signed_out_by() {
        Some(OtherActor::OtherUser(name)) => gettext("{user} has signed out.").replace("{user}", name),
        Some(OtherActor::SameUser) => gettext("You have signed out with another program."),
        None => String::new(),
    }
}

fn session_view(model: &Model, session: &Session) -> SessionView {
    let status = session.status.clone().unwrap_or_default();
    SessionView {
        icon: icon(&session.phase),
        title: strings::state(&session.phase),
        subtitle: subtitle(session, status.actor_name.as_deref(), status.account_slug.as_deref()),
        warnings: status.warnings.into_iter().map(|warning| warning.text).collect(),
        internet: resources::internet(model).map(|row| (row, session.internet_resource_active)),
        resources: resources::rows(model),
    }
}

fn subtitle(session: &Session, actor: Option<&str>, account: Option<&str>) -> String {
    if matches!(session.phase, Phase::Reconnecting(_)) {
        return gettext("Portal unreachable. Existing connections keep working.");
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

/// The icon of a state. Each state has a different shape, so that colour is never the only distinction.
#[must_use]
pub fn icon(phase: &Phase) -> &'static str {
    match phase {
        Phase::Connected => "firezone-connected-symbolic",
        Phase::Connecting(_) | Phase::Reconnecting(_) | Phase::SigningOut => "firezone-busy-symbolic",
        Phase::WaitingForNetwork(_) => "firezone-waiting-symbolic",
        Phase::SignedOut(_) | Phase::Other { .. } => "firezone-signed-out-symbolic",
    }
}

#[cfg(test)]
mod tests {
    use dbus_api::{ConnectionProblem, State};

    use super::*;
    use crate::view::resources::tests::dns;

    fn serving(phase: Phase) -> Model {
        let session = Session { phase, may_command: true, ..Session::default() };
        Model { daemon: Daemon::Serving(Box::new(session)), ..Model::default() }
    }

    #[test]
    fn each_problem_has_an_explanation_and_a_command() {
        let stranger = Model { daemon: Daemon::Serving(Box::default()), ..Model::default() };
        let absent = Model { daemon: Daemon::NotRunning, ..Model::default() };
        let managed = Model { daemon: Daemon::ServiceMode(Phase::Connected), ..Model::default() };
        for model in [stranger, absent, managed] {
            let View::Problem(problem) = view(&model) else { panic!("{model:?}") };
            assert!(!problem.text.is_empty() && !problem.command.is_empty());
        }
    }

    #[test]
    fn join_group_is_offered_if_a_password_can_be_asked() {
        for can_join_group in [true, false] {
            let model = Model { can_join_group, daemon: Daemon::Serving(Box::default()), ..Model::default() };
            let View::Problem(problem) = view(&model) else { panic!() };
            assert_eq!(problem.remedy.is_some(), can_join_group);
        }
    }

    #[test]
    fn stored_token_can_connect_unless_the_portal_rejected_it() {
        for (cause, expected) in [
            (None, true),
            (Some(SignOutCause::Other("account_disabled".to_owned())), true),
            (Some(SignOutCause::InvalidToken), false),
        ] {
            let model = Model { has_token: true, ..serving(Phase::SignedOut(cause.clone())) };
            let View::SignIn(page) = view(&model) else { panic!() };
            assert_eq!(page.can_connect, expected, "{cause:?}");
        }
    }

    #[test]
    fn reconnecting_session_keeps_showing_resources() {
        let mut model = serving(Phase::Reconnecting(Some(ConnectionProblem::PortalUnreachable)));
        model.resources = vec![dns("1", "wiki")];
        let View::Session(page) = view(&model) else { panic!() };
        assert_eq!(page.resources.len(), 1);
        assert!(page.subtitle.contains("keep working"));
    }

    #[test]
    fn connected_session_replaces_the_browser_page() {
        let model = Model { attempt: Attempt::Browser, ..serving(Phase::SignedOut(None)) };
        assert!(matches!(view(&model), View::Waiting(_)));
        let model = Model { attempt: Attempt::Browser, ..serving(Phase::Connected) };
        assert!(matches!(view(&model), View::Session(_)));
    }

    #[test]
    fn sign_out_by_others_is_explained() {
        let by = |name: &str, signed_out_here| {
            let mut model = Model { user: "anna".into(), signed_out_here, ..serving(Phase::SignedOut(None)) };
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
    fn administrators_account_overrides_the_users() {
        let fixed = dbus_api::Setting { value: "acme".into(), ..dbus_api::Setting::default() };
        let settings = [("account-slug".to_owned(), fixed)].into();
        let model = Model { settings, account_slug: "mine".into(), ..serving(Phase::SignedOut(None)) };
        let View::SignIn(page) = view(&model) else { panic!() };
        assert_eq!((page.account_slug.as_str(), page.is_account_fixed), ("acme", true));
    }

    #[test]
    fn captive_portal_page_offers_the_browser() {
        for (phase, expected) in [
            (Phase::WaitingForNetwork(NetworkProblem::CaptivePortal), true),
            (Phase::WaitingForNetwork(NetworkProblem::NoNetwork), false),
            (Phase::WaitingForNetwork(NetworkProblem::Suspended), false),
            (Phase::Connecting(Some(ConnectionProblem::PortalUnreachable)), false),
        ] {
            let View::Waiting(page) = view(&serving(phase.clone())) else { panic!() };
            assert_eq!(page.can_browse, expected, "{phase:?}");
        }
    }

    #[test]
    fn every_state_has_a_page() {
        for state in State::KNOWN.iter().cloned().chain([State::from("of a newer daemon")]) {
            assert_ne!(view(&serving(Phase::new(&state, None))), View::Loading, "{state}");
        }
    }
}
