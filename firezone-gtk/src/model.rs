//! All that the app knows, and the one way in which it changes.

use std::collections::BTreeSet;

use dbus_api::{Resource, State, Status};

/// Everything the app knows. Views are made of it and of nothing else.
#[derive(Debug, Default)]
pub struct Model {
    /// The daemon, as last heard of.
    pub daemon: Daemon,
    /// What can be reached, in the daemon's order.
    pub resources: Vec<Resource>,
    /// Whether somebody is signing in.
    pub attempt: Attempt,
    /// Whether a token is kept that could be used without the browser.
    pub has_token: bool,
    /// Identities of resources that the user likes.
    pub favourites: BTreeSet<String>,
    /// The account that the sign-in page starts with.
    pub account_slug: String,
    /// Resources whose going offline was told in this session.
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
}

/// Something worth a notification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The session that the user had is over, and only a new sign-in helps. The code says why.
    SignInAgain(String),
    /// The connection is lost, and the daemon tries to get it back.
    ConnectionLost,
    /// All gateways of a resource are away.
    Offline {
        /// Its identity.
        id: String,
        /// What it is called.
        name: String,
        /// Where it is.
        site: String,
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
            Daemon::Serving(session) => session.state,
            Daemon::Managed(state) => *state,
            Daemon::Unknown | Daemon::Absent => State::SignedOut,
        }
    }

    /// Whether there is a session that has not come about yet.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self.state(), State::Connecting | State::WaitingForNetwork)
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
        self.resources.clear();
        self.told_offline.clear();
        if self.attempt == Attempt::HandedOver {
            self.attempt = Attempt::None;
        }
    }

    fn enter(&mut self, session: Box<Session>) -> Vec<Consequence> {
        let mut consequences = Vec::new();
        let (was, is) = (self.state(), session.state);
        let is_new_daemon = self.session().is_none();

        if is == State::SignedOut {
            self.resources.clear();
            self.told_offline.clear();
            if condemns_token(&session.reason) && (was != State::SignedOut || is_new_daemon) {
                consequences.push(Consequence::ForgetToken);
                if !is_new_daemon {
                    consequences.push(Consequence::Notify(Notice::SignInAgain(session.reason.clone())));
                }
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
        let mut consequences = Vec::new();
        for resource in resources.iter().filter(|it| it.status == "offline") {
            let was_known = self.resources.iter().any(|it| it.id == resource.id && it.status != "offline");
            if was_known && self.told_offline.insert(resource.id.clone()) {
                consequences.push(Consequence::Notify(Notice::Offline {
                    id: resource.id.clone(),
                    name: resource.name.clone(),
                    site: resource.sites.first().cloned().unwrap_or_default(),
                }));
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
        Resource { id: id.into(), name: id.into(), status: status.into(), ..Resource::default() }
    }

    #[test]
    fn only_the_portals_verdict_throws_a_token_away() {
        for (reason, forgotten) in
            [("invalid_token", true), ("token_expired", true), ("tun_busy", false), ("portal_unreachable", false)]
        {
            let mut model = Model { has_token: true, ..Model::default() };
            model.update(session(State::Connected, ""));
            let consequences = model.update(session(State::SignedOut, reason));
            assert_eq!(consequences.contains(&Consequence::ForgetToken), forgotten, "{reason}");
        }
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
    fn whoever_signs_out_elsewhere_is_not_signed_in_again_by_us() {
        let mut model = Model { has_token: true, ..Model::default() };
        model.update(session(State::Connected, ""));
        model.update(session(State::SigningOut, ""));
        assert_eq!(model.update(session(State::SignedOut, "")), []);
    }

    #[test]
    fn an_offline_resource_is_told_once_per_session() {
        let mut model = Model::default();
        model.update(session(State::Connected, ""));
        model.update(News::Resources(vec![resource("a", "online")]));
        assert_eq!(model.update(News::Resources(vec![resource("a", "offline")])).len(), 1);
        model.update(News::Resources(vec![resource("a", "online")]));
        assert_eq!(model.update(News::Resources(vec![resource("a", "offline")])), []);
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
