//! Who are we? The device's id and name, and what is known about the machine.

use model::Secret;
use portal::{ApiUrl, Login, UserAgent};

/// What the portal learns about this device.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What identifies the device to the portal.
    pub external_id: String,
    /// What it is called.
    pub name: String,
    /// What we call ourselves.
    pub user_agent: UserAgent,
    /// The machine's serial number, if it can be read.
    pub device_serial: Option<String>,
    /// The machine's UUID, if it can be read.
    pub device_uuid: Option<String>,
}

impl Identity {
    /// Finds out, with the configured id (`FIREZONE_ID`) and name (`FIREZONE_NAME`) before everything else.
    pub fn discover(id: Option<&str>, name: Option<&str>) -> anyhow::Result<Self> {
        Ok(Self {
            external_id: portal::external_id(id.unwrap_or_default()),
            name: name.unwrap_or_default().to_owned(),
            user_agent: UserAgent::new(&portal::user_agent::Facts::default(), env!("CARGO_PKG_VERSION")),
            device_serial: None,
            device_uuid: None,
        })
    }

    /// The login for a session with this token.
    #[must_use]
    pub fn login(&self, portal: ApiUrl, token: Secret) -> Login {
        Login {
            portal,
            token,
            external_id: self.external_id.clone(),
            name: self.name.clone(),
            user_agent: self.user_agent.clone(),
            device_serial: self.device_serial.clone(),
            device_uuid: self.device_uuid.clone(),
        }
    }
}
