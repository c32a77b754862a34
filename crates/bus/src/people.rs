//! The user database: what users are called, and who of them is a member of the group `firezone`, as of now.
//!
//! It may be far away or hang, and gives no way to say how long to wait. So threads of their own ask it, and nobody waits
//! longer than [`PATIENCE`] for them. One user's questions come one after the other, so that a database that hangs for them
//! has one thread, and keeps nobody else.

use std::{
    collections::BTreeMap,
    ffi::CString,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::Duration,
};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::sync::{Semaphore, oneshot};

/// A Firezone gateway on this host runs as this user, whose own group bears the name of ours ([`dbus_api::GROUP`]).
const GATEWAY: &str = "firezone";

/// How long the database may take. What it has not said by then is not known.
const PATIENCE: Duration = Duration::from_secs(3);
/// Threads that may wait for it at a time.
const THREADS: usize = 16;

/// Whoever asks the user database.
#[derive(Clone, Debug)]
pub struct People {
    /// The turns of the users about whom somebody asks. Others are not remembered.
    turns: Arc<Mutex<BTreeMap<u32, Weak<Semaphore>>>>,
    threads: Arc<Semaphore>,
    /// Who was asked for by name last. Users keep their names, and it is the same one for as long as a session lasts.
    last_name: Arc<Mutex<Option<(u32, String)>>>,
}

impl Default for People {
    fn default() -> Self {
        Self { turns: Arc::default(), threads: Arc::new(Semaphore::new(THREADS)), last_name: Arc::default() }
    }
}

impl People {
    /// Whether this user is a member, whatever groups its processes have. Nothing if that cannot be found out.
    pub(super) async fn is_member(&self, uid: u32) -> Option<bool> {
        self.ask(uid, membership).await
    }

    /// What this user is called, or else the number.
    pub(super) async fn name(&self, uid: u32) -> String {
        let last = || self.last_name.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last().as_ref().filter(|(known, _)| *known == uid).map(|(_, name)| name.clone());
        if let Some(name) = known {
            return name;
        }
        let Some(user) = self.ask(uid, |uid| User::from_uid(uid).ok().flatten()).await else { return uid.to_string() };
        *last() = Some((uid, user.name.clone()));
        user.name
    }

    /// Has a thread ask, and waits a while for it. A thread that hangs keeps the turn of its user.
    async fn ask<T: Send + 'static>(
        &self,
        uid: u32,
        question: impl FnOnce(Uid) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let answer = async {
            let turn = self.turn(uid).acquire_owned().await.ok()?;
            let thread = Arc::clone(&self.threads).acquire_owned().await.ok()?;
            let (result, answer) = oneshot::channel();
            let look_up = move || {
                let found = question(Uid::from_raw(uid));
                drop((turn, thread));
                // Whoever has waited in vain does not take it any more.
                drop(result.send(found));
            };
            let started: io::Result<_> = thread::Builder::new().name("people".to_owned()).spawn(look_up);
            started.ok()?;
            answer.await.ok()?
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| {
            tracing::debug!("the user database does not answer");
            None
        })
    }

    fn turn(&self, uid: u32) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&uid).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Semaphore::new(1));
        turns.insert(uid, Arc::downgrade(&turn));
        turn
    }
}

fn membership(uid: Uid) -> Option<bool> {
    // Who is in no database, as users that are made up for a service, may have groups by other ways.
    let user = User::from_uid(uid).ok()??;
    let Some(group) = Group::from_name(dbus_api::GROUP).ok()? else { return Some(false) };
    let groups = getgrouplist(&CString::new(user.name.as_str()).ok()?, user.gid).ok()?;
    Some(decide(&user.name, group.gid, &groups))
}

fn decide(user: &str, wanted: Gid, groups: &[Gid]) -> bool {
    user != GATEWAY && groups.contains(&wanted)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn members_may_and_a_gateway_may_not() {
        let [ours, others] = [995, 100].map(Gid::from_raw);
        assert!(decide("anna", ours, &[others, ours]));
        assert!(!decide("bob", ours, &[others]));
        assert!(!decide("firezone", ours, &[ours]));
        assert!(!decide("bob", ours, &[]));
    }

    #[tokio::test]
    async fn users_have_names_or_at_least_numbers() {
        let people = People::default();
        assert_eq!(people.name(0).await, "root");
        assert_eq!(people.name(u32::MAX - 7).await, (u32::MAX - 7).to_string());
    }

    #[tokio::test]
    async fn of_whom_nobody_knows_nothing_is_said() {
        assert_eq!(People::default().is_member(u32::MAX - 7).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_hangs_for_one_user_keeps_nobody_else() {
        let people = People::default();
        let (go_on, wait) = mpsc::channel::<()>();
        let hangs = people.ask(1, move |_| wait.recv().err().map(drop)).await;
        assert_eq!(hangs, None);
        assert_eq!(people.ask(1, |_| Some(())).await, None, "that user's turn is taken");
        tokio::time::resume();
        assert_eq!(people.ask(2, |_| Some(())).await, Some(()));
        drop(go_on);
        assert_eq!(people.ask(1, |_| Some(())).await, Some(()), "it answers again");
    }

    #[tokio::test]
    async fn about_whom_nobody_asks_is_not_remembered() {
        let people = People::default();
        for uid in 0..10_000 {
            drop(people.turn(uid));
        }
        assert_eq!(people.turns.lock().unwrap().len(), 1);
    }
}
