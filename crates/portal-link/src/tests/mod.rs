//! Tests on loopback with a virtual clock.

mod link;
mod names;
mod portal_double;
