//! The test stand: network namespaces, a system bus, a TURN relay, and a development portal and gateway.
//!
//! Tests use the interfaces that users have: the programs, the bus, the network.
//!
//! * [`netns`], [`process`], [`logs`] – hosts, programs, and their output
//! * [`topology`] – the network: hosts, addresses and reachability
//! * [`bus`] – a private system bus with polkit
//! * [`permissions`] – the permission table, filled by calls
//! * [`transfer`] – a download whose pauses are measured while the network changes
//! * [`account`], [`stand`] – the account at the portal; and everything together, for a test
//! * [`desktop`] – a desktop session: display, keyring, browser, accessibility bus
//! * [`machine`] – a booted Debian on the client's network
//! * [`container`] – our image in a container runtime
//! * [`portal`], [`gateway`], [`web`] – development programs: control plane, gateway, private web server

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
