//! The file that the daemon keeps for programs that cannot ask it over the bus: in service mode there is none.

use serde::{Deserialize, Serialize};

use crate::{Resource, Status, vocabulary::vocabulary};

/// Where the file is. Only root and the group `firezone` can read it; it is replaced as a whole.
pub const PATH: &str = "/run/dev.firezone.client/status.json";
/// The version of the format. Keys are only added under the same version.
pub const SCHEMA: u32 = 1;

vocabulary! {
    /// Who controls the daemon.
    #[derive(Default)]
    pub enum Mode {
        /// Users, over the bus.
        #[default]
        User = "user",
        /// The administrator: it has a token of its own and takes no commands.
        Service = "service",
    }
}

/// The file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who controls the daemon.
    pub mode: Mode,
    /// The daemon's version.
    pub version: String,
    /// The daemon's process id, by which a file of a daemon that has died is recognized.
    pub pid: u32,
    /// Whether the Internet resource is switched on.
    pub internet_resource_active: bool,
    /// The private part of the state.
    #[serde(flatten)]
    pub status: Status,
    /// The resources.
    pub resources: Vec<Resource>,
}
