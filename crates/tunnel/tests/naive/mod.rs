//! A naive client, the scenarios it runs in, and the comparison with the real client.

pub(crate) mod client;
pub(crate) mod comparison;
pub(crate) mod scenario;
