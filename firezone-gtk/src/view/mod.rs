//! What the app displays, as pure functions of the model. Nothing here knows GTK, and nothing here decides about the
//! tunnel.
//!
//! * [`window`]    – the page of the main window, and its content
//! * [`diagnostics`] – the results of the checks
//! * [`resources`] – resource rows, their order and the search
//! * [`settings`]  – the daemon's settings, their source, and whether they can be changed
//! * [`tray`]      – icon and menu of the tray

pub mod diagnostics;
pub mod resources;
pub mod settings;
pub mod tray;
pub mod window;
