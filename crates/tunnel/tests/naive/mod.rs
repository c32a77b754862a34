//! A naive client, the universe that it lives in, and the judge that compares it with the real one.

pub(crate) mod client;
pub(crate) mod judge;
pub(crate) mod universe;
