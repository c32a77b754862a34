//! Whoever is at the other end of the private socket: the kernel says which user, the user database whether a member.
//!
//! The same table as with polkit: root may everything, members of the group `firezone` may everything, a gateway's
//! user and others nothing. There is nobody who could ask for a password.

use super::{guard::Verdict, people::People};

/// The other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// Its user.
    pub(super) uid: u32,
    /// What its connection is called among us.
    pub(super) name: String,
}

impl Peer {
    /// What this user may do, as of now. Whom the user database does not know may nothing.
    pub(super) async fn verdict(&self, people: &People) -> Verdict {
        if self.uid == 0 || people.is_member(self.uid).await == Some(true) { Verdict::Yes } else { Verdict::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn root_may_and_whom_nobody_knows_may_not() {
        let people = People::default();
        let peer = |uid| Peer { uid, name: String::new() };
        assert_eq!(peer(0).verdict(&people).await, Verdict::Yes);
        assert_eq!(peer(u32::MAX - 7).verdict(&people).await, Verdict::No);
    }
}
