//! The daemon as the main process of a container: the required privileges, and the duties of the first process.

use std::{env, fmt, path::Path};

use rustix::{
    process::{WaitOptions, getpid, wait},
    thread::{CapabilitySet, capabilities},
};

use dataplane::{Tun, TunError};

/// Whether a container runtime has started this process, rather than a service manager that grants the privileges.
#[must_use]
pub fn is_present() -> bool {
    env::var_os("container").is_some_and(|value| !value.is_empty())
        || env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || ["/.dockerenv", "/run/.containerenv"].iter().any(|marker| Path::new(marker).exists())
}

/// The missing privileges of this container. It has to be started with them.
#[derive(Debug)]
pub struct IncompleteContainer {
    is_net_admin_missing: bool,
    /// The error of the TUN device.
    device: Option<TunError>,
}

/// Checks the privileges that a tunnel needs.
///
/// # Errors
/// A privilege is missing.
pub fn check() -> Result<(), IncompleteContainer> {
    let is_net_admin_missing = !capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN));
    let device = Tun::look_for_device().err();
    if is_net_admin_missing || device.is_some() {
        Err(IncompleteContainer { is_net_admin_missing, device })
    } else {
        Ok(())
    }
}

impl fmt::Display for IncompleteContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this container cannot have a tunnel: ")?;
        if self.is_net_admin_missing {
            f.write_str("CAP_NET_ADMIN is missing (docker run --cap-add NET_ADMIN)")?;
        }
        if let Some(error) = &self.device {
            if self.is_net_admin_missing {
                f.write_str(", and ")?;
            }
            write!(f, "{error} (docker run --device /dev/net/tun)")?;
        }
        Ok(())
    }
}

impl std::error::Error for IncompleteContainer {}

/// Whether this is the first process, which inherits processes whose parents have ended.
#[must_use]
pub(crate) fn is_first_process() -> bool {
    getpid().is_init()
}

/// Reaps the processes that have ended. This process starts none whose exit status is needed.
pub(crate) fn reap_children() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn missing_privileges_are_named_with_their_remedy() {
        let text = |is_net_admin_missing, device| IncompleteContainer { is_net_admin_missing, device }.to_string();
        assert_eq!(
            text(true, None),
            "this container cannot have a tunnel: CAP_NET_ADMIN is missing (docker run --cap-add NET_ADMIN)"
        );
        let gone = TunError::NoNode(io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            text(true, Some(gone)),
            "this container cannot have a tunnel: CAP_NET_ADMIN is missing (docker run --cap-add NET_ADMIN), and \
             /dev/net/tun does not exist and cannot be created (docker run --device /dev/net/tun)"
        );
        assert_eq!(
            text(false, Some(TunError::Unusable(io::ErrorKind::PermissionDenied.into()))),
            "this container cannot have a tunnel: /dev/net/tun cannot be opened (docker run --device /dev/net/tun)"
        );
    }
}
