//! The user database: names of users, and the current members of the group `firezone`.
//!
//! The database may be remote or hang, and its interface has no timeout. So separate threads query it, and callers wait for
//! [`LOOKUP_TIMEOUT`] at most. The look-ups of one user are sequential, so a database that hangs for one user occupies one
//! thread and does not delay others.

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

/// The user of a Firezone gateway on this host, whose primary group has the name [`dbus_api::GROUP`], too.
const GATEWAY_USER: &str = "firezone";

/// How long a look-up may take. Without a result by then, the answer is unknown.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
/// Concurrent look-ups.
const MAX_THREADS: usize = 16;

/// Access to the user database.
#[derive(Clone, Debug)]
pub struct UserDatabase {
    /// Serializes the look-ups of each user. Only users with a look-up have an entry.
    locks: Arc<Mutex<BTreeMap<u32, Weak<Semaphore>>>>,
    threads: Arc<Semaphore>,
    /// The last name that was looked up. Names of users do not change, and a session has one user.
    last_name: Arc<Mutex<Option<(u32, String)>>>,
}

impl Default for UserDatabase {
    fn default() -> Self {
        Self { locks: Arc::default(), threads: Arc::new(Semaphore::new(MAX_THREADS)), last_name: Arc::default() }
    }
}

impl UserDatabase {
    /// Whether this user is a member now, whatever groups its processes have. `None` if that is unknown.
    pub(super) async fn is_member(&self, uid: u32) -> Option<bool> {
        self.look_up(uid, membership).await
    }

    /// The name of this user, or the number if the name is unknown.
    pub(super) async fn name(&self, uid: u32) -> String {
        let last = || self.last_name.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last().as_ref().filter(|(known, _)| *known == uid).map(|(_, name)| name.clone());
        if let Some(name) = known {
            return name;
        }
        let Some(user) = self.look_up(uid, |uid| User::from_uid(uid).ok().flatten()).await else {
            return uid.to_string();
        };
        *last() = Some((uid, user.name.clone()));
        user.name
    }

    /// Looks something up in a separate thread. A thread that hangs keeps the lock of its user.
    async fn look_up<T: Send + 'static>(
        &self,
        uid: u32,
        query: impl FnOnce(Uid) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let result = async {
            let lock = self.lock(uid).acquire_owned().await.ok()?;
            let thread = Arc::clone(&self.threads).acquire_owned().await.ok()?;
            let (sender, receiver) = oneshot::channel();
            let run = move || {
                let found = query(Uid::from_raw(uid));
                drop((lock, thread));
                // After a timeout, there is no receiver.
                drop(sender.send(found));
            };
            let started: io::Result<_> = thread::Builder::new().name("user-db".to_owned()).spawn(run);
            started.ok()?;
            receiver.await.ok()?
        };
        let result = tokio::time::timeout(LOOKUP_TIMEOUT, result).await;
        result.unwrap_or_else(|_| {
            tracing::debug!("the user database does not respond");
            None
        })
    }

    fn lock(&self, uid: u32) -> Arc<Semaphore> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&uid).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Semaphore::new(1));
        locks.insert(uid, Arc::downgrade(&lock));
        lock
    }
}

fn membership(uid: Uid) -> Option<bool> {
    // A user without an entry, such as a dynamic user of a service, may have groups by other means.
    let user = User::from_uid(uid).ok()??;
    let Some(group) = Group::from_name(dbus_api::GROUP).ok()? else { return Some(false) };
    let groups = getgrouplist(&CString::new(user.name.as_str()).ok()?, user.gid).ok()?;
    Some(is_permitted_member(&user.name, group.gid, &groups))
}

fn is_permitted_member(user: &str, wanted: Gid, groups: &[Gid]) -> bool {
    user != GATEWAY_USER && groups.contains(&wanted)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn members_are_permitted_except_the_gateway_user() {
        let [ours, others] = [995, 100].map(Gid::from_raw);
        assert!(is_permitted_member("anna", ours, &[others, ours]));
        assert!(!is_permitted_member("bob", ours, &[others]));
        assert!(!is_permitted_member("firezone", ours, &[ours]));
        assert!(!is_permitted_member("bob", ours, &[]));
    }

    #[tokio::test]
    async fn unknown_users_are_named_by_their_number() {
        let users = UserDatabase::default();
        assert_eq!(users.name(0).await, "root");
        assert_eq!(users.name(u32::MAX - 7).await, (u32::MAX - 7).to_string());
    }

    #[tokio::test]
    async fn membership_of_an_unknown_user_is_unknown() {
        assert_eq!(UserDatabase::default().is_member(u32::MAX - 7).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn hanging_lookup_of_one_user_does_not_delay_others() {
        let users = UserDatabase::default();
        let (resume, wait) = mpsc::channel::<()>();
        let hangs = users.look_up(1, move |_| wait.recv().err().map(drop)).await;
        assert_eq!(hangs, None);
        assert_eq!(users.look_up(1, |_| Some(())).await, None, "the lock of the user is taken");
        tokio::time::resume();
        assert_eq!(users.look_up(2, |_| Some(())).await, Some(()));
        drop(resume);
        assert_eq!(users.look_up(1, |_| Some(())).await, Some(()), "the lock is released");
    }

    #[tokio::test]
    async fn locks_without_lookups_are_removed() {
        let users = UserDatabase::default();
        for uid in 0..10_000 {
            drop(users.lock(uid));
        }
        assert_eq!(users.locks.lock().unwrap().len(), 1);
    }
}
