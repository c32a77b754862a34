//! The desktop app: a window, a tray icon and the sign-in by browser.
//!
//! The app is a reader of the daemon. What the user does becomes an action, an action becomes a request, and the screen
//! changes when the daemon says so:
//!
//! ```text
//! daemon ⇄ bus thread ⇄ channel ⇄ main thread: Model → view → widgets
//!                                                    ↘ view::tray → menu
//! ```
//!
//! * [`app`]      – `GApplication`: activation, deep links, and the one place where the model changes
//! * [`actions`]  – all that the user can do, with the keys for it
//! * [`model`]    – all that the app knows
//! * [`view`]     – what is seen, as pure functions of the model; knows no GTK
//! * [`bus`]      – the thread that speaks D-Bus, and keeps the token: requests in, reports out
//! * [`window`], [`preferences`], [`diagnostics`], `pages`, `rows` – widgets that know no daemon
//! * [`tray`]     – the view of the tray, translated to a StatusNotifierItem
//! * [`settings`], [`autostart`], [`handler`], [`notices`], [`strings`] – the desktop's other services, and texts

#![forbid(unsafe_code)]

mod accessible;
pub mod actions;
pub mod app;
pub mod autostart;
pub mod bus;
pub mod diagnostics;
pub mod handler;
pub mod model;
pub mod notices;
mod pages;
pub mod preferences;
mod rows;
pub mod settings;
pub mod strings;
pub mod tray;
pub mod view;
pub mod window;

/// The identity of the app on the session bus, of its desktop file and of its settings.
pub const APP_ID: &str = "dev.firezone.Gtk";
