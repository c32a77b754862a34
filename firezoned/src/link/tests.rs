//! Stories on loopback.
