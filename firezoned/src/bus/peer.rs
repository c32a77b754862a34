//! Whoever is at the other end of the private socket: the kernel says which user, the user database which groups.
//!
//! The same table as with polkit: root may everything, members of the group `firezone` may everything, a gateway's
//! user and others nothing. There is nobody who could ask for a password.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::guard::Verdict;

/// The group of the users who may command.
const GROUP: &str = "firezone";
/// A Firezone gateway on this host runs as this user, whose own group bears the name of ours.
const GATEWAY: &str = "firezone";

/// The other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// Its user.
    pub(super) uid: u32,
    /// What its connection is called among us.
    pub(super) name: String,
}

impl Peer {
    /// What this user may do, as of now. The user database may be far away, so it is asked on another thread; whom it
    /// does not know may nothing.
    pub(super) async fn verdict(&self) -> Verdict {
        let uid = Uid::from_raw(self.uid);
        if uid.is_root() {
            return Verdict::Yes;
        }
        match tokio::task::spawn_blocking(move || is_member(uid)).await {
            Ok(true) => Verdict::Yes,
            Ok(false) | Err(_) => Verdict::No,
        }
    }
}

/// What the user database calls this user, or else the number.
pub(super) async fn name(uid: u32) -> String {
    let found = tokio::task::spawn_blocking(move || User::from_uid(Uid::from_raw(uid)).ok().flatten()).await;
    found.ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn is_member(uid: Uid) -> bool {
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    let Ok(Some(group)) = Group::from_name(GROUP) else { return false };
    let Ok(name) = CString::new(user.name.as_str()) else { return false };
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    decide(&user.name, group.gid, &groups)
}

fn decide(user: &str, wanted: Gid, groups: &[Gid]) -> bool {
    user != GATEWAY && groups.contains(&wanted)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(name(0).await, "root");
        assert_eq!(name(u32::MAX - 7).await, (u32::MAX - 7).to_string());
    }

    #[tokio::test]
    async fn root_may_and_whom_nobody_knows_may_not() {
        let peer = |uid| Peer { uid, name: String::new() };
        assert_eq!(peer(0).verdict().await, Verdict::Yes);
        assert_eq!(peer(u32::MAX - 7).verdict().await, Verdict::No);
    }
}
