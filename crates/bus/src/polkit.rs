//! Asks polkit about the senders of messages.
//!
//! With each question polkit is told whether the sender's user is a member of the group `firezone` ([`super::people`]);
//! its rule makes something of it. What polkit says is remembered as [`super::callers`] tells, and nothing else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::{task::JoinHandle, time::Instant};
use zbus::{Connection, message::Header, proxy::CacheProperties};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::{
    callers::Callers,
    guard::{Action, Verdict},
    people::People,
    turns::Turns,
};

/// How long polkit may take to look something up, including its own start.
const LOOK_UP: Duration = Duration::from_secs(10);
/// How long a person may take to find a password.
const INTERACTION: Duration = Duration::from_secs(120);

/// Whether the sender's user is in the group `firezone`: `true` or `false`, and nothing if that is not known. Polkit takes
/// such details from root and from an action's owner only, so no user can say it of themselves.
const MEMBER: &str = "firezone.member";
/// Told by polkit with a "yes" for which a person was asked a while ago.
const TEMPORARY: &str = "polkit.temporary_authorization_id";

/// The authority, as far as it is asked.
#[derive(Clone, Debug)]
pub(super) struct Polkit {
    authority: AuthorityProxy<'static>,
    turns: Turns,
    people: People,
    callers: Callers,
    _listener: Arc<Listener>,
}

/// Hears when polkit changes its mind.
#[derive(Debug)]
struct Listener(JoinHandle<()>);

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("the message has no sender")]
    NoSender(#[source] zbus_polkit::Error),
    #[error(transparent)]
    Failed(#[from] zbus::Error),
    #[error("no answer in time")]
    TimedOut,
}

impl Polkit {
    /// Polkit on this bus. `callers` are told what they may.
    pub(super) async fn new(bus: &Connection, people: People, callers: Callers) -> zbus::Result<Self> {
        let authority = AuthorityProxy::builder(bus).cache_properties(CacheProperties::No).build().await?;
        let listener = Arc::new(Listener::start(&authority, callers.clone()).await?);
        Ok(Self { authority, turns: Turns::default(), people, callers, _listener: listener })
    }

    /// Whether polkit has just let this sender do that.
    pub(super) fn has_let(&self, header: &Header<'_>, action: Action) -> bool {
        let is_let = |name: &str| self.callers.may_read(name, Instant::now());
        action == Action::Read && header.sender().is_some_and(|name| is_let(name))
    }

    /// What it says about the sender of this message, who is a process of user `uid`.
    pub(super) async fn verdict(
        &self,
        uid: u32,
        header: &Header<'_>,
        action: Action,
        interactive: bool,
    ) -> Result<Verdict, Unanswered> {
        let turns = self.turns.of(uid);
        let turn = turns.quick().await;
        let asked = self.callers.ask(Instant::now());
        // Of root it does not matter.
        let is_member = if uid == 0 { None } else { self.people.is_member(uid).await };
        let answer = self.ask(header, action, is_member, false).await;
        if !matches!(answer, Ok((Verdict::Yes, _))) {
            turns.refused();
        }
        drop(turn);
        let (verdict, is_lasting) = answer?;
        if let (Verdict::Yes, true, Action::Read, Some(name)) = (verdict, is_lasting, action, header.sender()) {
            self.callers.let_read(name, asked);
        }
        if verdict != Verdict::Challenge || !interactive {
            return Ok(verdict);
        }
        let _turn = turns.dialog().await;
        Ok(self.ask(header, action, is_member, true).await?.0)
    }

    /// The verdict, and whether it is polkit's own.
    async fn ask(
        &self,
        header: &Header<'_>,
        action: Action,
        is_member: Option<bool>,
        interactive: bool,
    ) -> Result<(Verdict, bool), Unanswered> {
        let subject = Subject::new_for_message_header(header).map_err(Unanswered::NoSender)?;
        let (flags, patience) = if interactive {
            (CheckAuthorizationFlags::AllowUserInteraction.into(), INTERACTION)
        } else {
            (Default::default(), LOOK_UP)
        };
        let details: HashMap<_, _> =
            is_member.map(|it| (MEMBER, if it { "true" } else { "false" })).into_iter().collect();
        let question = self.authority.check_authorization(&subject, action.id(), &details, flags, "");
        let answer = tokio::time::timeout(patience, question).await.map_err(|_| Unanswered::TimedOut)??;
        let verdict = match (answer.is_authorized, answer.is_challenge) {
            (true, _) => Verdict::Yes,
            (false, true) => Verdict::Challenge,
            (false, false) => Verdict::No,
        };
        Ok((verdict, !answer.details.contains_key(TEMPORARY)))
    }
}

impl Listener {
    /// Rules, sessions and grants change; and there may be another polkit, or none any more.
    async fn start(authority: &AuthorityProxy<'static>, callers: Callers) -> zbus::Result<Self> {
        let changes = authority.receive_changed().await?.map(drop);
        let owners = authority.inner().receive_owner_changed().await?.map(drop);
        let mut news = stream::select(changes, owners);
        Ok(Self(tokio::spawn(async move {
            while let Some(()) = news.next().await {
                callers.forget_permissions();
            }
        })))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}
