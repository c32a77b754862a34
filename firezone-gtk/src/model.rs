//! All that the app knows, and the one way in which it changes.

use std::collections::{BTreeMap, BTreeSet};

use dbus_api::{Resource, Setting, State, Status};
use doctor::Check;

/// Everything the app knows. Views are made of it and of nothing else.
#[derive(Debug, Default)]
pub struct Model {
    /// The daemon, as last heard of.
    pub daemon: Daemon,
    /// What can be reached, in the daemon's order.
    pub resources: Vec<Resource>,
    /// How the gateways of these sites are reached: a word of the daemon.
    pub paths: BTreeMap<Vec<String>, String>,
    /// What the daemon was told, by key.
    pub settings: BTreeMap<String, Setting>,
    /// What was found the last time that somebody looked for problems.
    pub diagnosis: Diagnosis,
    /// What this user is called on this machine.
    pub user: String,
    /// Whether this app can have this user added to the group, if an administrator agrees.
    pub can_join_group: bool,
    /// Whether the last sign-out was asked for here.
    pub signed_out_here: bool,
    /// Whether the session is of a token that was handed over here.
    pub is_ours: bool,
    /// Whether somebody is signing in.
    pub attempt: Attempt,
    /// Whether a token is kept that could be used without the browser.
    pub has_token: bool,
    /// Identities of resources that the user likes.
    pub favourites: BTreeSet<String>,
    /// The account that the sign-in page starts with.
    pub account_slug: String,
    /// Sites whose going offline was told in this session.
    pub told_offline: BTreeSet<String>,
}

/// The daemon, as seen from here.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Daemon {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Nobody owns the name.
    Absent,
    /// The machine signs in by itself; a person has no say.
    Managed(State),
    /// It serves users.
    Serving(Box<Session>),
}

/// What a serving daemon says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Session {
    /// Where the session is.
    pub state: State,
    /// Why, as a code, or empty.
    pub reason: String,
    /// Whether the Internet resource is switched on.
    pub internet_resource_active: bool,
    /// The private part; absent if this user may not see it.
    pub status: Option<Status>,
    /// Whether this user may sign in and out.
    pub may_command: bool,
    /// Whether this user may change settings of the daemon.
    pub may_configure: bool,
    /// Whether this user may look deeper.
    pub may_diagnose: bool,
}

/// How far looking for problems has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Diagnosis {
    /// Nobody has asked.
    #[default]
    None,
    /// Somebody looks.
    Running,
    /// Nobody could.
    Failed,
    /// This was found.
    Done {
        /// All checks.
        checks: Vec<Check>,
        /// Whether the app has looked by itself, because the daemon does not run.
        is_local: bool,
    },
}

/// Who did something, if not this app.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SomebodyElse<'a> {
    /// The same user, with another program.
    SameUser,
    /// Another user, of this name.
    Other(&'a str),
}

/// How far an attempt to sign in has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Attempt {
    /// Nobody tries.
    #[default]
    None,
    /// The browser has the word.
    Browser,
    /// The daemon has been given the token and has not answered yet.
    HandedOver,
}

/// Whom a kept token signs in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Whose {
    /// The account.
    pub account_slug: Option<String>,
}

/// What the bus thread has to tell.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// Nobody owns the daemon's name, and it is not in service mode either.
    Absent,
    /// It is in service mode.
    Managed(State),
    /// It serves, and this is what it says.
    Session(Box<Session>),
    /// What can be reached.
    Resources(Vec<Resource>),
    /// How the sites in use are reached.
    Paths(BTreeMap<Vec<String>, String>),
    /// What the daemon was told.
    Settings(BTreeMap<String, Setting>),
    /// How far looking for problems has come.
    Diagnosis(Diagnosis),
}

/// What follows from news, beside a new view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Consequence {
    /// The portal does not accept the token any more: forget it.
    ForgetToken,
    /// The daemon is there and idle, and we have a token: hand it over again.
    HandOver,
    /// Tell the user.
    Notify(Notice),
    /// Somebody else has signed in on this machine.
    SignedInBy(String),
}

/// Something worth a notification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The session that the user had is over, and only a new sign-in helps. The code says why.
    SignInAgain(String),
    /// The connection is lost, and the daemon tries to get it back.
    ConnectionLost,
    /// All gateways of a site are away.
    Offline {
        /// The site.
        site: String,
        /// The resource there, if it is the only one.
        name: Option<String>,
    },
}

impl Model {
    /// Takes news in. What follows is for the caller to do.
    pub fn update(&mut self, news: News) -> Vec<Consequence> {
        match news {
            News::Absent => self.leave(Daemon::Absent),
            News::Managed(state) => self.leave(Daemon::Managed(state)),
            News::Session(session) => return self.enter(session),
            News::Resources(resources) => return self.list(resources),
            News::Paths(paths) => self.paths = paths,
            News::Settings(settings) => self.settings = settings,
            News::Diagnosis(diagnosis) => self.diagnosis = diagnosis,
        }
        Vec::new()
    }

    /// The session, if the daemon serves.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        match &self.daemon {
            Daemon::Serving(session) => Some(session),
            Daemon::Unknown | Daemon::Absent | Daemon::Managed(_) => None,
        }
    }

    /// Where the session is; signed out if there is no daemon.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.daemon {
            Daemon::Serving(session) => session.state.clone(),
            Daemon::Managed(state) => state.clone(),
            Daemon::Unknown | Daemon::Absent => State::SignedOut,
        }
    }

    /// Whether there is a session that has not come about yet.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self.state(), State::Connecting | State::WaitingForNetwork)
    }

    /// A setting of the daemon, if it says anything.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(|setting| setting.value.as_str()).filter(|value| !value.is_empty())
    }

    /// The account that the administrator has chosen for everybody.
    #[must_use]
    pub fn fixed_account(&self) -> Option<&str> {
        self.setting("account-slug")
    }

    /// Somebody else who ended the session: another user, or the same user elsewhere.
    #[must_use]
    pub fn signed_out_by(&self) -> Option<SomebodyElse<'_>> {
        let session = self.session().filter(|it| it.state == State::SignedOut && it.reason.is_empty())?;
        let name = session.status.as_ref()?.asked_by.as_deref()?;
        match name == self.user {
            true if self.signed_out_here => None,
            true => Some(SomebodyElse::SameUser),
            false => Some(SomebodyElse::Other(name)),
        }
    }

    /// A token is handed over from here.
    pub fn hand_over(&mut self) {
        self.attempt = Attempt::HandedOver;
        self.is_ours = true;
        self.signed_out_here = false;
    }

    /// Whether a token is kept. One that is found late, because the keyring was locked, is used as if it had been there.
    pub fn keep(&mut self, whose: Option<Whose>) -> Option<Consequence> {
        let was_there = std::mem::replace(&mut self.has_token, whose.is_some());
        if self.account_slug.is_empty() {
            self.account_slug = whose.and_then(|whose| whose.account_slug).unwrap_or_default();
        }
        let idle = self.session().filter(|it| it.state == State::SignedOut && it.reason.is_empty() && it.may_command);
        let is_found = self.has_token && !was_there && idle.is_some() && self.attempt == Attempt::None;
        is_found.then_some(Consequence::HandOver)
    }

    /// The end of the session is asked for from here.
    pub fn sign_out(&mut self) {
        self.signed_out_here = true;
    }

    /// The daemon has not taken what it was handed. Whoever is in the browser goes on.
    pub fn is_not_handed_over(&mut self) {
        if self.attempt == Attempt::HandedOver {
            self.attempt = Attempt::None;
        }
    }

    /// Nobody tries to sign in any more.
    pub fn give_up(&mut self) {
        self.attempt = Attempt::None;
    }

    /// The user likes a resource, or not any more.
    pub fn toggle_favourite(&mut self, id: &str) {
        if !self.favourites.remove(id) {
            self.favourites.insert(id.to_owned());
        }
    }

    fn leave(&mut self, daemon: Daemon) {
        self.daemon = daemon;
        self.is_ours = false;
        self.signed_out_here = false;
        self.settings.clear();
        self.paths.clear();
        self.resources.clear();
        self.told_offline.clear();
        self.is_not_handed_over();
    }

    fn enter(&mut self, session: Box<Session>) -> Vec<Consequence> {
        let mut consequences = Vec::new();
        let (was, is) = (self.state(), session.state.clone());
        let is_new_daemon = self.session().is_none();

        let asked_by = session.status.as_ref().and_then(|status| status.asked_by.as_deref());
        if is != State::SignedOut
            && let Some(other) = asked_by.filter(|name| *name != self.user && !self.user.is_empty())
        {
            let is_news = self.is_ours || was == State::SignedOut && !is_new_daemon;
            if is_news && is != State::SigningOut {
                consequences.push(Consequence::SignedInBy(other.to_owned()));
            }
            self.is_ours = false;
        }
        if is == State::SignedOut {
            self.resources.clear();
            self.paths.clear();
            self.told_offline.clear();
            if condemns_token(&session.reason) && was != State::SignedOut && !is_new_daemon {
                // A verdict about somebody else's token says nothing about ours.
                if self.is_ours {
                    consequences.push(Consequence::ForgetToken);
                }
                consequences.push(Consequence::Notify(Notice::SignInAgain(session.reason.clone())));
            } else if is_new_daemon && self.has_token && session.may_command {
                consequences.push(Consequence::HandOver);
            }
        }
        if was == State::Connected && matches!(is, State::Reconnecting | State::Connecting) {
            // Short outages of the portal hurt nobody: what is connected goes on.
            if is == State::Connecting {
                consequences.push(Consequence::Notify(Notice::ConnectionLost));
            }
        }
        if self.attempt == Attempt::HandedOver && (is != State::SignedOut || !session.reason.is_empty()) {
            self.attempt = Attempt::None;
        }
        self.daemon = Daemon::Serving(session);
        consequences
    }

    fn list(&mut self, resources: Vec<Resource>) -> Vec<Consequence> {
        // Gateways go away for all resources of their site at once: that is one thing to tell.
        let mut gone: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
        for resource in resources.iter().filter(|it| it.status == "offline") {
            let was_known = self.resources.iter().any(|it| it.id == resource.id && it.status != "offline");
            if let Some(site) = resource.sites.first().filter(|_| was_known) {
                gone.entry(site).or_default().push(resource);
            }
        }
        let mut consequences = Vec::new();
        for (site, resources) in gone {
            if self.told_offline.insert(site.to_owned()) {
                let name = <[&Resource; 1]>::try_from(resources).ok().map(|[resource]| resource.name.clone());
                consequences.push(Consequence::Notify(Notice::Offline { site: site.to_owned(), name }));
            }
        }
        self.resources = resources;
        consequences
    }
}

/// Whether a reason is the portal's word about the token itself: the only thing that makes a token worthless.
#[must_use]
pub fn condemns_token(reason: &str) -> bool {
    matches!(reason, "invalid_token" | "missing_token" | "token_expired")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(state: State, reason: &str) -> News {
        News::Session(Box::new(Session { state, reason: reason.into(), may_command: true, ..Session::default() }))
    }

    fn resource(id: &str, status: &str) -> Resource {
        let sites = vec!["Berlin".into()];
        Resource { id: id.into(), name: id.into(), status: status.into(), sites, ..Resource::default() }
    }

    #[test]
    fn only_the_portals_verdict_throws_a_token_away() {
        for (reason, forgotten) in
            [("invalid_token", true), ("token_expired", true), ("tun_busy", false), ("portal_unreachable", false)]
        {
            let mut model = Model { has_token: true, ..Model::default() };
            model.hand_over();
            model.update(session(State::Connected, ""));
            let consequences = model.update(session(State::SignedOut, reason));
            assert_eq!(consequences.contains(&Consequence::ForgetToken), forgotten, "{reason}");
        }
    }

    #[test]
    fn a_verdict_about_somebody_elses_token_leaves_ours() {
        let mut model = Model { has_token: true, user: "anna".into(), ..Model::default() };
        model.hand_over();
        model.update(session(State::Connected, ""));
        let status = Status { asked_by: Some("bob".into()), ..Status::default() };
        let News::Session(connected) = session(State::Connected, "") else { unreachable!() };
        let consequences = model.update(News::Session(Box::new(Session { status: Some(status), ..*connected })));
        assert_eq!(consequences, [Consequence::SignedInBy("bob".into())]);
        let consequences = model.update(session(State::SignedOut, "token_expired"));
        assert!(!consequences.contains(&Consequence::ForgetToken), "{consequences:?}");
    }

    #[test]
    fn a_daemon_that_restarts_is_given_the_token_again() {
        let mut model = Model { has_token: true, ..Model::default() };
        assert_eq!(model.update(session(State::SignedOut, "")), [Consequence::HandOver]);
        model.update(session(State::Connected, ""));
        model.update(News::Absent);
        assert_eq!(model.update(session(State::SignedOut, "")), [Consequence::HandOver]);
    }

    #[test]
    fn a_token_of_a_keyring_that_opens_late_is_handed_over_then() {
        let whose = || Some(Whose { account_slug: Some("example".into()) });
        let mut model = Model::default();
        assert_eq!(model.update(session(State::SignedOut, "")), []);
        assert_eq!(model.keep(None), None);
        assert_eq!(model.keep(whose()), Some(Consequence::HandOver));
        assert_eq!(model.keep(whose()), None, "it is there already");
        assert_eq!(model.account_slug, "example");

        // Whoever has begun to sign in meanwhile goes on.
        let mut model = Model { attempt: Attempt::HandedOver, ..Model::default() };
        model.update(session(State::SignedOut, ""));
        assert_eq!(model.keep(whose()), None);
    }

    #[test]
    fn whoever_signs_out_elsewhere_is_not_signed_in_again_by_us() {
        let mut model = Model { has_token: true, ..Model::default() };
        model.update(session(State::Connected, ""));
        model.update(session(State::SigningOut, ""));
        assert_eq!(model.update(session(State::SignedOut, "")), []);
    }

    #[test]
    fn an_offline_site_is_told_once_per_session() {
        let both = |status: &str| News::Resources(vec![resource("a", status), resource("b", status)]);
        let told = |name: Option<&str>| {
            [Consequence::Notify(Notice::Offline { site: "Berlin".into(), name: name.map(str::to_owned) })]
        };
        let mut model = Model::default();
        model.update(session(State::Connected, ""));
        model.update(both("online"));
        assert_eq!(model.update(both("offline")), told(None));
        model.update(both("online"));
        assert_eq!(model.update(both("offline")), []);

        // With one resource there, its name says more.
        model.update(session(State::SignedOut, ""));
        model.update(session(State::Connected, ""));
        model.update(News::Resources(vec![resource("a", "online")]));
        assert_eq!(model.update(News::Resources(vec![resource("a", "offline")])), told(Some("a")));
    }

    #[test]
    fn resources_leave_with_the_session() {
        let mut model = Model::default();
        model.update(session(State::Connected, ""));
        model.update(News::Resources(vec![resource("a", "online")]));
        model.update(session(State::SignedOut, ""));
        assert!(model.resources.is_empty());
    }
}
