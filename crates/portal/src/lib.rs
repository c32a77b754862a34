//! The portal's protocol, without sockets.
//!
//! This crate owns the upgrade request, the Phoenix channel, the meaning of errors and rejections, and the sign-in of a
//! user. It must not know sockets, clocks, or what the tunnel does with a message. The owner of a socket drives
//! [`Connection`]: it returns when to dial and what to write, and receives the results.
//!
//! * [`url`], [`user_agent`], [`login`] – the upgrade request
//! * [`rejection`], [`connection_error`], [`session_end`] – HTTP rejections, transient errors, final errors
//! * [`backoff`] – delays between attempts
//! * [`message`] – frames and their payloads
//! * [`pending_candidates`] – changes of ICE candidates while the portal is unreachable
//! * [`connection`] – the state machine that combines them
//! * [`sign_in`] – sign-in of a user in a browser

#![forbid(unsafe_code)]

pub mod backoff;
mod channel;
pub mod connection;
pub mod connection_error;
pub mod login;
pub mod message;
pub mod pending_candidates;
pub mod rejection;
pub mod session_end;
pub mod sign_in;
pub mod url;
pub mod user_agent;

pub use connection::{Action, Connection, Event, Frame, Socket};
pub use connection_error::{ConnectionError, DialError, Outage, Retry};
pub use login::{Login, Request, external_id};
pub use rejection::Rejection;
pub use session_end::{SessionEnd, TokenRejection};
pub use url::{ApiUrl, ApiVersion, InvalidApiUrl};
pub use user_agent::UserAgent;
