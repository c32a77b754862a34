//! A development gateway: the far end of tunnels, next to private servers.
//!
//! It has a network namespace of its own, forwards with the kernel, and shares no decision with the client that it is there
//! to judge; only the way to an encrypted connection is the same library, in the other role.
//!
//! * [`run`](fn@run) – the loop: sockets, TUN device, timers
//! * `link` – the WebSocket to the portal; `message` – what travels on it
//! * `far_end` – the machine in the middle: who is connected, what becomes of packets and messages
//! * `client` – what one client may do; `nat` – its DNS resources; `pattern` – which names these are
//! * `udp`, `tun`, `names` – sockets, device and look-ups

mod client;
mod far_end;
mod link;
mod message;
mod names;
mod nat;
mod pattern;
mod run;
mod tun;
mod udp;

pub use self::run::run;
pub use link::Login;
