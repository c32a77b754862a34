//! Requests to the session whose replies are outstanding.

use std::collections::BTreeMap;

use session::{Refused, RequestId};
use tokio::sync::oneshot;

/// The receivers of replies by the id of their request.
#[derive(Debug, Default)]
pub(crate) struct PendingReplies {
    last_id: u64,
    senders: BTreeMap<RequestId, oneshot::Sender<Result<(), Refused>>>,
}

impl PendingReplies {
    /// Assigns an id to a request that waits for its reply.
    pub(crate) fn add(&mut self, sender: oneshot::Sender<Result<(), Refused>>) -> RequestId {
        let id = self.new_id();
        self.senders.insert(id, sender);
        id
    }

    /// Assigns an id to a request whose reply is discarded.
    pub(crate) fn new_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    /// Delivers a reply.
    pub(crate) fn send(&mut self, id: RequestId, reply: Result<(), Refused>) {
        if let Some(sender) = self.senders.remove(&id) {
            // The caller may be gone; the request takes effect all the same.
            let _gone = sender.send(reply);
        }
    }
}
