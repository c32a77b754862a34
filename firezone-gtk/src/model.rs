//! The state of the app, and the one function that changes it.

use std::collections::{BTreeMap, BTreeSet};

use dbus_api::{PathKind, Phase, Resource, ResourceStatus, Setting, SignOutCause, Status};
use doctor::Check;

/// The state of the app. Views are made from it and from nothing else.
#[derive(Debug, Default)]
pub struct Model {
    /// The daemon, as of its last update.
    pub daemon: Daemon,
    /// The resources, in the daemon's order.
    pub resources: Vec<Resource>,
    /// The path to the gateways of each group of sites.
    pub paths: BTreeMap<Vec<String>, PathKind>,
    /// The daemon's settings, by key.
    pub settings: BTreeMap<String, Setting>,
    /// The result of the latest run of the checks.
    pub diagnosis: Diagnosis,
    /// The user name on this machine.
    pub user: String,
    /// Whether the app can add this user to the group, with an administrator's password.
    pub can_join_group: bool,
    /// Whether the last sign-out was requested in this app.
    pub signed_out_here: bool,
    /// Whether the session uses a token that this app handed over.
    pub is_own_session: bool,
    /// The progress of a sign-in.
    pub attempt: Attempt,
    /// Whether a token is stored, so that no browser is needed.
    pub has_token: bool,
    /// IDs of the user's favourite resources.
    pub favourites: BTreeSet<String>,
    /// The account ID for the sign-in page.
    pub account_slug: String,
    /// Sites for which an offline notification was shown in this session.
    pub notified_offline_sites: BTreeSet<String>,
}

/// The daemon, as far as the app knows it.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Daemon {
    /// The daemon has not answered yet.
    #[default]
    Unknown,
    /// The daemon is not running.
    NotRunning,
    /// The daemon is in service mode: it uses its own token and takes no commands.
    ServiceMode(Phase),
    /// The daemon serves users.
    Serving(Box<Session>),
}

/// The session of a daemon that serves users.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Session {
    /// The state of the session, and its reason.
    pub phase: Phase,
    /// Whether the Internet resource is switched on.
    pub internet_resource_active: bool,
    /// The private part of the status; absent if this user may not see it.
    pub status: Option<Status>,
    /// Whether this user may sign in and out.
    pub may_command: bool,
    /// Whether this user may change settings of the daemon.
    pub may_configure: bool,
    /// Whether this user may run the daemon's checks and collect reports.
    pub may_diagnose: bool,
}

/// The progress and the result of running the checks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Diagnosis {
    /// No run was requested.
    #[default]
    None,
    /// The checks are running.
    Running,
    /// The checks could not run.
    Failed,
    /// The results.
    Done {
        /// All checks.
        checks: Vec<Check>,
        /// Whether the app ran the checks itself, because the daemon is not running.
        is_local: bool,
    },
}

/// Who ended the session, if not this app.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherActor<'a> {
    /// The same user, with another program.
    SameUser,
    /// Another user, with this name.
    OtherUser(&'a str),
}

/// The progress of a sign-in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Attempt {
    /// No sign-in is in progress.
    #[default]
    None,
    /// The app waits for the browser.
    Browser,
    /// The daemon has received the token and has not answered yet.
    HandedOver,
}

/// The owner of a stored token.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenOwner {
    /// The account.
    pub account_slug: Option<String>,
}

/// A change of the daemon's state.
#[derive(Clone, PartialEq, Debug)]
pub enum Update {
    /// The daemon is not running.
    NotRunning,
    /// The daemon is in service mode.
    ServiceMode(Phase),
    /// The daemon serves users, and this is the session.
    Session(Box<Session>),
    /// The resources.
    Resources(Vec<Resource>),
    /// The paths to the gateways of each group of sites.
    Paths(BTreeMap<Vec<String>, PathKind>),
    /// The daemon's settings.
    Settings(BTreeMap<String, Setting>),
    /// The progress and the result of running the checks.
    Diagnosis(Diagnosis),
}

/// What the caller of [`Model::apply`] has to do, besides displaying the new view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Delete the token: the portal no longer accepts it.
    ForgetToken,
    /// Hand over the stored token: the daemon is running and signed out.
    HandOver,
    /// Show a notification.
    Notify(Notification),
    /// Show that another user has signed in on this machine.
    SignedInBy(String),
}

/// A notification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notification {
    /// The portal has ended the session, and the user must sign in again.
    SignInAgain(SignOutCause),
    /// The connection is lost, and the daemon is reconnecting.
    ConnectionLost,
    /// All gateways of a site are offline.
    Offline {
        /// The site.
        site: String,
        /// The name of the resource there, if it is the only one.
        name: Option<String>,
    },
}

impl Model {
    /// Applies a change. The caller carries out the effects.
    pub fn apply(&mut self, update: Update) -> Vec<Effect> {
        match update {
            Update::NotRunning => self.leave_session(Daemon::NotRunning),
            Update::ServiceMode(state) => self.leave_session(Daemon::ServiceMode(state)),
            Update::Session(session) => return self.apply_session(session),
            Update::Resources(resources) => return self.apply_resources(resources),
            Update::Paths(paths) => self.paths = paths,
            Update::Settings(settings) => self.settings = settings,
            Update::Diagnosis(diagnosis) => self.diagnosis = diagnosis,
        }
        Vec::new()
    }

    /// The session, if the daemon serves users.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        match &self.daemon {
            Daemon::Serving(session) => Some(session),
            Daemon::Unknown | Daemon::NotRunning | Daemon::ServiceMode(_) => None,
        }
    }

    /// The state of the session; `None` if the daemon is not running.
    #[must_use]
    pub fn phase(&self) -> Option<&Phase> {
        match &self.daemon {
            Daemon::Serving(session) => Some(&session.phase),
            Daemon::ServiceMode(phase) => Some(phase),
            Daemon::Unknown | Daemon::NotRunning => None,
        }
    }

    /// Whether a session has been started and is not connected yet.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        matches!(self.phase(), Some(Phase::Connecting(_) | Phase::WaitingForNetwork(_)))
    }

    /// A setting of the daemon, if it is not empty.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(|setting| setting.value.as_str()).filter(|value| !value.is_empty())
    }

    /// The account ID that the administrator has set for all users.
    #[must_use]
    pub fn fixed_account(&self) -> Option<&str> {
        self.setting("account-slug")
    }

    /// Who ended the session, if it was not ended in this app.
    #[must_use]
    pub fn signed_out_by(&self) -> Option<OtherActor<'_>> {
        let session = self.session().filter(|it| it.phase == Phase::SignedOut(None))?;
        let name = session.status.as_ref()?.asked_by.as_deref()?;
        match name == self.user {
            true if self.signed_out_here => None,
            true => Some(OtherActor::SameUser),
            false => Some(OtherActor::OtherUser(name)),
        }
    }

    /// This app hands a token over to the daemon.
    pub fn token_handed_over(&mut self) {
        self.attempt = Attempt::HandedOver;
        self.is_own_session = true;
        self.signed_out_here = false;
    }

    /// Notes whether a token is stored. A token that is found late, because the keyring was locked, is used like one
    /// that was found at the start.
    pub fn set_token_owner(&mut self, owner: Option<TokenOwner>) -> Option<Effect> {
        let had_token = std::mem::replace(&mut self.has_token, owner.is_some());
        if self.account_slug.is_empty() {
            self.account_slug = owner.and_then(|owner| owner.account_slug).unwrap_or_default();
        }
        let idle = self.session().filter(|it| it.phase == Phase::SignedOut(None) && it.may_command);
        let is_usable = self.has_token && !had_token && idle.is_some() && self.attempt == Attempt::None;
        is_usable.then_some(Effect::HandOver)
    }

    /// This app requests the end of the session.
    pub fn sign_out_requested(&mut self) {
        self.signed_out_here = true;
    }

    /// Handing over the token failed. A sign-in in the browser continues.
    pub fn hand_over_failed(&mut self) {
        if self.attempt == Attempt::HandedOver {
            self.attempt = Attempt::None;
        }
    }

    /// Ends the sign-in that is in progress.
    pub fn cancel_attempt(&mut self) {
        self.attempt = Attempt::None;
    }

    /// Adds a resource to the favourites, or removes it.
    pub fn toggle_favourite(&mut self, id: &str) {
        if !self.favourites.remove(id) {
            self.favourites.insert(id.to_owned());
        }
    }

    fn leave_session(&mut self, daemon: Daemon) {
        self.daemon = daemon;
        self.is_own_session = false;
        self.signed_out_here = false;
        self.settings.clear();
        self.paths.clear();
        self.resources.clear();
        self.notified_offline_sites.clear();
        self.hand_over_failed();
    }

    fn apply_session(&mut self, session: Box<Session>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let is_new_daemon = self.session().is_none();
        let was = self.phase().cloned().unwrap_or_default();
        let was_signed_out = matches!(was, Phase::SignedOut(_));

        let asked_by = session.status.as_ref().and_then(|status| status.asked_by.as_deref());
        if !matches!(session.phase, Phase::SignedOut(_))
            && let Some(other) = asked_by.filter(|name| *name != self.user && !self.user.is_empty())
        {
            let is_new_to_user = self.is_own_session || was_signed_out && !is_new_daemon;
            if is_new_to_user && session.phase != Phase::SigningOut {
                effects.push(Effect::SignedInBy(other.to_owned()));
            }
            self.is_own_session = false;
        }
        if let Phase::SignedOut(cause) = &session.phase {
            self.resources.clear();
            self.paths.clear();
            self.notified_offline_sites.clear();
            let rejection = cause.as_ref().filter(|cause| cause.condemns_token());
            if let Some(rejection) = rejection.filter(|_| !was_signed_out && !is_new_daemon) {
                // Otherwise the portal rejected another user's token, not ours.
                if self.is_own_session {
                    effects.push(Effect::ForgetToken);
                }
                effects.push(Effect::Notify(Notification::SignInAgain(rejection.clone())));
            } else if is_new_daemon && self.has_token && session.may_command {
                effects.push(Effect::HandOver);
            }
        }
        // While reconnecting, existing connections keep working. That needs no notification.
        if was == Phase::Connected && matches!(session.phase, Phase::Connecting(_)) {
            effects.push(Effect::Notify(Notification::ConnectionLost));
        }
        if self.attempt == Attempt::HandedOver && session.phase != Phase::SignedOut(None) {
            self.attempt = Attempt::None;
        }
        self.daemon = Daemon::Serving(session);
        effects
    }

    fn apply_resources(&mut self, resources: Vec<Resource>) -> Vec<Effect> {
        // All resources of a site go offline together: show one notification.
        let mut newly_offline: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
        for resource in resources.iter().filter(|it| it.status == ResourceStatus::Offline) {
            let was_known =
                self.resources.iter().any(|it| it.id == resource.id && it.status != ResourceStatus::Offline);
            if let Some(site) = resource.sites.first().filter(|_| was_known) {
                newly_offline.entry(site).or_default().push(resource);
            }
        }
        let mut effects = Vec::new();
        for (site, resources) in newly_offline {
            if self.notified_offline_sites.insert(site.to_owned()) {
                let name = <[&Resource; 1]>::try_from(resources).ok().map(|[resource]| resource.name.clone());
                effects.push(Effect::Notify(Notification::Offline { site: site.to_owned(), name }));
            }
        }
        self.resources = resources;
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(phase: Phase) -> Update {
        Update::Session(Box::new(Session { phase, may_command: true, ..Session::default() }))
    }

    fn resource(id: &str, status: &str) -> Resource {
        let sites = vec!["Berlin".into()];
        Resource { id: id.into(), name: id.into(), status: status.into(), sites, ..Resource::default() }
    }

    #[test]
    fn token_is_forgotten_only_if_the_portal_rejects_it() {
        for (reason, forgotten) in
            [("invalid_token", true), ("token_expired", true), ("missing_token", true), ("account_disabled", false)]
        {
            let signed_out = Phase::SignedOut(Some(SignOutCause::from(reason)));
            let mut model = Model { has_token: true, ..Model::default() };
            model.token_handed_over();
            model.apply(session(Phase::Connected));
            let effects = model.apply(session(signed_out));
            assert_eq!(effects.contains(&Effect::ForgetToken), forgotten, "{reason}");
        }
    }

    #[test]
    fn rejection_of_another_users_token_keeps_ours() {
        let mut model = Model { has_token: true, user: "anna".into(), ..Model::default() };
        model.token_handed_over();
        model.apply(session(Phase::Connected));
        let status = Status { asked_by: Some("bob".into()), ..Status::default() };
        let Update::Session(connected) = session(Phase::Connected) else { unreachable!() };
        let effects = model.apply(Update::Session(Box::new(Session { status: Some(status), ..*connected })));
        assert_eq!(effects, [Effect::SignedInBy("bob".into())]);
        let effects = model.apply(session(Phase::SignedOut(Some(SignOutCause::TokenExpired))));
        assert!(!effects.contains(&Effect::ForgetToken), "{effects:?}");
    }

    #[test]
    fn restarted_daemon_gets_the_token_again() {
        let mut model = Model { has_token: true, ..Model::default() };
        assert_eq!(model.apply(session(Phase::SignedOut(None))), [Effect::HandOver]);
        model.apply(session(Phase::Connected));
        model.apply(Update::NotRunning);
        assert_eq!(model.apply(session(Phase::SignedOut(None))), [Effect::HandOver]);
    }

    #[test]
    fn token_of_a_late_keyring_is_handed_over() {
        let owner = || Some(TokenOwner { account_slug: Some("example".into()) });
        let mut model = Model::default();
        assert_eq!(model.apply(session(Phase::SignedOut(None))), []);
        assert_eq!(model.set_token_owner(None), None);
        assert_eq!(model.set_token_owner(owner()), Some(Effect::HandOver));
        assert_eq!(model.set_token_owner(owner()), None, "the token is known already");
        assert_eq!(model.account_slug, "example");

        // A sign-in that is already in progress continues.
        let mut model = Model { attempt: Attempt::HandedOver, ..Model::default() };
        model.apply(session(Phase::SignedOut(None)));
        assert_eq!(model.set_token_owner(owner()), None);
    }

    #[test]
    fn sign_out_elsewhere_does_not_sign_in_again() {
        let mut model = Model { has_token: true, ..Model::default() };
        model.apply(session(Phase::Connected));
        model.apply(session(Phase::SigningOut));
        assert_eq!(model.apply(session(Phase::SignedOut(None))), []);
    }

    #[test]
    fn offline_site_is_notified_once_per_session() {
        let both = |status: &str| Update::Resources(vec![resource("a", status), resource("b", status)]);
        let notified = |name: Option<&str>| {
            [Effect::Notify(Notification::Offline { site: "Berlin".into(), name: name.map(str::to_owned) })]
        };
        let mut model = Model::default();
        model.apply(session(Phase::Connected));
        model.apply(both("online"));
        assert_eq!(model.apply(both("offline")), notified(None));
        model.apply(both("online"));
        assert_eq!(model.apply(both("offline")), []);

        // If the site has one resource, the notification names it.
        model.apply(session(Phase::SignedOut(None)));
        model.apply(session(Phase::Connected));
        model.apply(Update::Resources(vec![resource("a", "online")]));
        assert_eq!(model.apply(Update::Resources(vec![resource("a", "offline")])), notified(Some("a")));
    }

    #[test]
    fn resources_are_cleared_at_sign_out() {
        let mut model = Model::default();
        model.apply(session(Phase::Connected));
        model.apply(Update::Resources(vec![resource("a", "online")]));
        model.apply(session(Phase::SignedOut(None)));
        assert!(model.resources.is_empty());
    }
}
