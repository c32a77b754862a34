//! What happens to a question.

use hickory_proto::{op::ResponseCode, rr::Record};

use crate::{Upstream, Via};

/// What the asker gets.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// This, at once.
    Answer(Answer),
    /// What another resolver says.
    Forward {
        /// Which one.
        to: Upstream,
        /// On which way.
        via: Via,
        /// To be handed back with the answer, see [`Stub::learn`](crate::Stub::learn).
        epoch: Epoch,
    },
    /// Nobody can be asked.
    ServFail,
}

/// An answer that we give ourselves.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// Whether the name exists.
    pub code: ResponseCode,
    /// The answer section, possibly empty.
    pub records: Vec<Record>,
}

/// A span of time in which resources and resolvers did not change. An answer that was asked for in an earlier epoch
/// must not be remembered: the name may belong to a resource by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Epoch(u64);

impl Answer {
    /// These records.
    #[must_use]
    pub fn records(records: Vec<Record>) -> Self {
        Self { code: ResponseCode::NoError, records }
    }

    /// The name exists, but not with such records.
    #[must_use]
    pub fn empty() -> Self {
        Self::records(Vec::new())
    }

    /// There is no such name.
    #[must_use]
    pub fn no_such_name() -> Self {
        Self { code: ResponseCode::NXDomain, records: Vec::new() }
    }
}

impl Epoch {
    pub(crate) fn advance(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }
}
