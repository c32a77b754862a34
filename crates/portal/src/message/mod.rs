//! Frames and values.
//!
//! A frame is one JSON object with `topic`, `event`, `payload` and `ref` (the Phoenix framework's protocol 1.0.0). Answers of
//! the portal come as pushes of their own; replies matter only to the join and to heartbeats.

pub mod incoming;
pub mod outgoing;
mod payload;

/// The topic of everything but heartbeats.
pub(crate) const TOPIC: &str = "client";
/// The topic of heartbeats.
pub(crate) const PHOENIX: &str = "phoenix";
