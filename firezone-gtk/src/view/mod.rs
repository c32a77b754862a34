//! What is seen, as pure functions of the model. Nothing here knows GTK, and nothing here decides about the tunnel.
//!
//! * [`window`]    – which page, and what is on it
//! * [`diagnostics`] – what may be wrong on this machine
//! * [`resources`] – rows, their order and the search
//! * [`settings`]  – settings of the daemon, who said so, and what may be changed
//! * [`tray`]      – icon and menu of the tray

pub mod diagnostics;
pub mod resources;
pub mod settings;
pub mod tray;
pub mod window;
