//! Frames of the Phoenix protocol 1.0.0.
//!
//! A frame is one JSON object with `topic`, `event`, `payload` and `ref`. The portal delivers results as separate pushes;
//! replies matter only to the join and to heartbeats.

pub mod incoming;
pub mod outgoing;
mod payload;

/// The topic of everything but heartbeats.
pub(crate) const TOPIC: &str = "client";
/// The topic of heartbeats.
pub(crate) const PHOENIX: &str = "phoenix";
