//! The conversation with the portal, without its sockets.
//!
//! * [`url`], [`user_agent`], [`login`] – how we introduce ourselves
//! * [`rejection`], [`lost`], [`end`] – what a refusal means, why a connection went away, what ends a session
//! * [`backoff`] – when to try again
//! * [`message`] – frames to values and back
//! * [`held`] – candidates that wait while the portal is away
//! * [`connection`] – the machine that ties all of it together
//! * [`sign_in`] – where tokens of people come from
//!
//! Whoever owns a socket drives [`Connection`]: it says when to dial and what to write, and is told what came of it.

#![forbid(unsafe_code)]

pub mod backoff;
mod channel;
pub mod connection;
pub mod end;
pub mod held;
pub mod login;
pub mod lost;
pub mod message;
pub mod rejection;
pub mod sign_in;
pub mod url;
pub mod user_agent;

pub use connection::{Action, Connection, Event, Frame, Socket};
pub use end::{End, Verdict};
pub use login::{Login, Request, external_id};
pub use lost::{DialError, Lost, Outage, Retry};
pub use rejection::Rejection;
pub use url::{ApiUrl, Dialect, InvalidApiUrl};
pub use user_agent::UserAgent;
