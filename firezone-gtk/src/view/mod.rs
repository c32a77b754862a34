//! What is seen, as pure functions of the model. Nothing here knows GTK, and nothing here decides about the tunnel.
//!
//! * [`window`]    – which page, and what is on it
//! * [`resources`] – rows, their order and the search
//! * [`tray`]      – icon and menu of the tray

pub mod resources;
pub mod tray;
pub mod window;
