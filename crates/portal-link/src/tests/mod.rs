//! Stories on loopback. Nobody waits: where a story needs time to pass, the clock is put forward.

mod names;
mod portal_double;
mod stories;
