//! The desktop app: a window, a tray icon and sign-in with the browser.
//!
//! The app displays the daemon's state. A user action becomes a request, and the screen changes when the daemon
//! publishes a new state:
//!
//! ```text
//! daemon ⇄ D-Bus thread ⇄ channel ⇄ main thread: Model → view → widgets
//!                                                      ↘ view::tray → menu
//! ```
//!
//! * [`app`]      – `GApplication`: activation, links, and the one place where the model changes
//! * [`actions`]  – all user actions, with their keyboard shortcuts
//! * [`model`]    – the state of the app
//! * [`view`]     – what is displayed, as pure functions of the model; does not know GTK
//! * `bus`      – the D-Bus thread, which also stores the token: requests in, events out
//! * [`window`], [`preferences`], [`diagnostics`], `pages`, `rows` – widgets; they do not know the daemon
//! * `tray`     – displays the tray view as a StatusNotifierItem
//! * [`settings`], [`autostart`], `link_handler`, `notifications`, `administration` – other services of the
//!   desktop
//! * [`strings`]  – translated texts

#![forbid(unsafe_code)]

mod accessible;
pub mod actions;
mod administration;
pub mod app;
pub mod autostart;
mod bus;
pub mod diagnostics;
mod link_handler;
pub mod model;
mod notifications;
mod pages;
pub mod preferences;
mod rows;
pub mod settings;
pub mod strings;
mod toast;
mod tray;
pub mod view;
pub mod window;

/// The app's ID: its name on the session bus, and the name of its desktop file and settings schema.
pub const APP_ID: &str = "dev.firezone.Gtk";
