//! Reality for Firezone: network namespaces, a real bus, a real relay, and our own portal and gateway.
//!
//! The stand uses the same doors as users: the programs, the bus, the network. It never reaches into them.
//!
//! * [`netns`], [`process`], [`logs`] – hosts, programs, and what they write
//! * [`topology`] – the little internet: who is where, and who can reach whom
//! * [`bus`] – a private system bus with polkit
//! * [`permissions`] – who may what, by asking
//! * [`transfer`] – a download whose pauses are measured while something happens to the network
//! * [`account`], [`stand`] – who may reach what; and all of it, ready for a story
//! * [`desktop`] – the session of a person: display, keyring, browser, and what assistive programs see
//! * [`machine`] – a Debian that boots, with the client's network
//! * [`container`] – our image, run as container engines do it
//! * [`portal`], [`gateway`], [`web`] – programs of our own: control plane, far end of tunnels, private server

#![forbid(unsafe_code)]

pub mod account;
pub mod bus;
pub mod checkout;
pub mod container;
pub mod desktop;
pub mod gateway;
pub mod leaks;
pub mod logs;
pub mod machine;
pub mod netns;
pub mod permissions;
pub mod portal;
pub mod process;
pub mod stand;
pub mod topology;
pub mod transfer;
pub mod web;
