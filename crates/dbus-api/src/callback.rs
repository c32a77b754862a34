//! What front ends of one user promise each other on the session bus: the desktop app is what opens the address with which a
//! browser ends a sign-in, and hands it over to whoever else has begun that sign-in.
//!
//! Whoever waits owns the name for as long as it waits. The address is worth nothing to others: it has half of a token, and
//! the other half never leaves the one who waits.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

/// The name that whoever waits owns on the session bus.
pub const BUS_NAME: &str = "dev.firezone.SignIn";
/// Its one object.
pub const PATH: &str = "/dev/firezone/SignIn";
/// The one interface of that object.
pub const INTERFACE: &str = "dev.firezone.SignIn1";

/// Somebody who has begun a sign-in, and waits for its end.
#[zbus::proxy(
    interface = "dev.firezone.SignIn1",
    default_service = "dev.firezone.SignIn",
    default_path = "/dev/firezone/SignIn",
    gen_blocking = false
)]
pub trait SignInWaiter {
    /// Hands over the address with which the browser called back.
    fn call_back(&self, address: &str) -> zbus::Result<()>;
}
