//! The decision about a question.

use hickory_proto::{op::ResponseCode, rr::Record};

use crate::{Upstream, Via};

/// How a question is answered.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// With this answer, immediately.
    Answer(Answer),
    /// By an upstream resolver.
    Forward {
        /// The resolver.
        to: Upstream,
        /// How the resolver is reached.
        via: Via,
        /// Passed back with the answer, see [`Stub::cache_response`](crate::Stub::cache_response).
        generation: CacheGeneration,
    },
    /// With SERVFAIL: no resolver is available for it.
    ServFail,
}

/// An answer that needs no upstream resolver.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The response code: whether the name exists.
    pub code: ResponseCode,
    /// The answer section, possibly empty.
    pub records: Vec<Record>,
}

/// A period in which neither resources nor resolvers changed. An answer to a question of an earlier generation must not
/// be cached, because the name may belong to a resource now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheGeneration(u64);

impl Answer {
    /// An answer with these records.
    #[must_use]
    pub fn records(records: Vec<Record>) -> Self {
        Self { code: ResponseCode::NoError, records }
    }

    /// The name exists but has no records of the queried type (NODATA).
    #[must_use]
    pub fn empty() -> Self {
        Self::records(Vec::new())
    }

    /// The name does not exist (NXDOMAIN).
    #[must_use]
    pub fn no_such_name() -> Self {
        Self { code: ResponseCode::NXDomain, records: Vec::new() }
    }
}

impl CacheGeneration {
    pub(crate) fn advance(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }
}
