//! The conversation with the portal, without its sockets.
//!
//! * [`url`], [`user_agent`], [`login`] – how we introduce ourselves
//! * [`rejection`], [`lost`], [`end`] – what a refusal means, why a connection went away, what ends a session
//! * [`backoff`] – when to try again
//!
//! Whoever owns a socket is told when to dial and what to write, and is told what came of it.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod end;
pub mod login;
pub mod lost;
pub mod rejection;
pub mod url;
pub mod user_agent;

pub use end::{End, Verdict};
pub use login::{Login, Request, external_id};
pub use lost::{DialError, Lost, Outage, Retry};
pub use rejection::Rejection;
pub use url::{ApiUrl, Dialect, InvalidApiUrl};
pub use user_agent::UserAgent;
