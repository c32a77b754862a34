//! In a container that nobody but us lives in: what has to be given to it, and the duties of its first process.

use std::{env, fmt, path::Path};

use rustix::{
    process::{WaitOptions, getpid, wait},
    thread::{CapabilitySet, capabilities},
};

use dataplane::{Tun, TunError};

/// Whether a container runtime has started us, and no service manager that would give us what we need.
#[must_use]
pub fn is_around_us() -> bool {
    env::var_os("container").is_some_and(|value| !value.is_empty())
        || env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || ["/.dockerenv", "/run/.containerenv"].iter().any(|marker| Path::new(marker).exists())
}

/// What this container was not given. Only another start of it can mend that.
#[derive(Debug)]
pub struct Incomplete {
    /// `CAP_NET_ADMIN` is missing.
    is_powerless: bool,
    /// The device for tunnels is missing, or not for us.
    device: Option<TunError>,
}

/// Looks whether everything is there without which there is no tunnel.
///
/// # Errors
/// Something is missing.
pub fn inspect() -> Result<(), Incomplete> {
    let is_powerless = !capabilities(None).is_ok_and(|have| have.effective.contains(CapabilitySet::NET_ADMIN));
    let device = Tun::look_for_device().err();
    if is_powerless || device.is_some() { Err(Incomplete { is_powerless, device }) } else { Ok(()) }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this container cannot have a tunnel: ")?;
        if self.is_powerless {
            f.write_str("CAP_NET_ADMIN is missing (docker run --cap-add NET_ADMIN)")?;
        }
        if let Some(error) = &self.device {
            if self.is_powerless {
                f.write_str(", and ")?;
            }
            write!(f, "{error} (docker run --device /dev/net/tun)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Incomplete {}

/// Whether we are the first process, to which all others are left whose parents end.
#[must_use]
pub(crate) fn is_first_process() -> bool {
    getpid().is_init()
}

/// Lets those go that have ended. We have no children of our own that somebody else would wait for.
pub(crate) fn let_go() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_with_its_remedy() {
        let told = |is_powerless, device| Incomplete { is_powerless, device }.to_string();
        assert_eq!(
            told(true, None),
            "this container cannot have a tunnel: CAP_NET_ADMIN is missing (docker run --cap-add NET_ADMIN)"
        );
        let gone = TunError::NoNode(io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            told(true, Some(gone)),
            "this container cannot have a tunnel: CAP_NET_ADMIN is missing (docker run --cap-add NET_ADMIN), and \
             /dev/net/tun does not exist and cannot be created (docker run --device /dev/net/tun)"
        );
        assert_eq!(
            told(false, Some(TunError::Unusable(io::ErrorKind::PermissionDenied.into()))),
            "this container cannot have a tunnel: /dev/net/tun cannot be opened (docker run --device /dev/net/tun)"
        );
    }
}
