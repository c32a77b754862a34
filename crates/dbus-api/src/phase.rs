//! State and reason as one value.

use crate::{
    State,
    reason::{ConnectionProblem, NetworkProblem, Reason, SignOutCause},
};

/// Where the session is and why. Combinations that the daemon never publishes cannot be expressed.
///
/// A front end that reads the two properties one after the other may see the state of one moment with the reason of the
/// next. Such a reason becomes the `Other` of its kind, and the signal that follows corrects it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// There is no session; with a cause if the portal ended it.
    SignedOut(Option<SignOutCause>),
    /// There is a session, but no network that could carry it.
    WaitingForNetwork(NetworkProblem),
    /// The portal or the tunnel is not ready yet; with a problem if an attempt has failed.
    Connecting(Option<ConnectionProblem>),
    /// Names and networks of the resources work.
    Connected,
    /// The portal is unreachable. Existing connections keep working.
    Reconnecting(Option<ConnectionProblem>),
    /// The session is being taken down.
    SigningOut,
    /// A state that this version does not know.
    Other {
        /// The state.
        state: String,
        /// The reason, if it has one.
        reason: Option<Reason>,
    },
}

impl Default for Phase {
    fn default() -> Self {
        Self::SignedOut(None)
    }
}

impl Phase {
    /// From what the daemon publishes.
    #[must_use]
    pub fn new(state: &State, reason: Option<&Reason>) -> Self {
        let code = reason.map(Reason::as_str);
        match state {
            State::SignedOut => Self::SignedOut(code.map(SignOutCause::from)),
            State::WaitingForNetwork => {
                Self::WaitingForNetwork(code.map_or(NetworkProblem::NoNetwork, NetworkProblem::from))
            }
            State::Connecting => Self::Connecting(code.map(ConnectionProblem::from)),
            State::Connected => Self::Connected,
            State::Reconnecting => Self::Reconnecting(code.map(ConnectionProblem::from)),
            State::SigningOut => Self::SigningOut,
            State::Other(state) => Self::Other { state: state.clone(), reason: reason.cloned() },
        }
    }

    /// The state alone.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::SignedOut(_) => State::SignedOut,
            Self::WaitingForNetwork(_) => State::WaitingForNetwork,
            Self::Connecting(_) => State::Connecting,
            Self::Connected => State::Connected,
            Self::Reconnecting(_) => State::Reconnecting,
            Self::SigningOut => State::SigningOut,
            Self::Other { state, .. } => State::Other(state.clone()),
        }
    }

    /// The reason alone, for a front end that has one sentence for each.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let code = match self {
            Self::SignedOut(cause) => cause.as_ref().map(SignOutCause::as_str),
            Self::WaitingForNetwork(problem) => Some(problem.as_str()),
            Self::Connecting(problem) | Self::Reconnecting(problem) => problem.as_ref().map(ConnectionProblem::as_str),
            Self::Connected | Self::SigningOut => None,
            Self::Other { reason, .. } => return reason.clone(),
        };
        code.map(Reason::from)
    }

    /// Whether the tunnel is up: names and networks of the resources work.
    #[must_use]
    pub fn has_tunnel(&self) -> bool {
        matches!(self, Self::Connected | Self::Reconnecting(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captive_portal_belongs_to_waiting_for_network_only() {
        let phase = |state| Phase::new(&state, Some(&Reason::CaptivePortal));
        assert_eq!(phase(State::WaitingForNetwork), Phase::WaitingForNetwork(NetworkProblem::CaptivePortal));
        let mixed = Phase::Connecting(Some(ConnectionProblem::Other("captive_portal".to_owned())));
        assert_eq!(phase(State::Connecting), mixed);
        assert_eq!(mixed.reason(), Some(Reason::CaptivePortal), "the sentence is still the right one");
        assert_eq!(phase(State::Connected), Phase::Connected);
    }

    #[test]
    fn unknown_words_are_kept() {
        let phase = Phase::new(&State::from("dreaming"), Some(&Reason::from("too_late")));
        assert_eq!((phase.state().as_str(), phase.reason().unwrap().as_str()), ("dreaming", "too_late"));
        let phase = Phase::new(&State::SignedOut, Some(&Reason::from("account_disabled")));
        assert_eq!(phase, Phase::SignedOut(Some(SignOutCause::Other("account_disabled".to_owned()))));
    }

    #[test]
    fn states_and_reasons_survive_the_round_trip() {
        for state in State::KNOWN {
            assert_eq!(Phase::new(state, None).state(), *state);
            assert_eq!(State::from(state.as_str()), *state);
        }
        for reason in Reason::KNOWN {
            let phase = Phase::new(&State::Connecting, Some(reason));
            assert_eq!(phase.reason().as_ref(), Some(reason));
        }
    }
}
