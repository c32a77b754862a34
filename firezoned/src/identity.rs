//! The identity of this device: its id and name, and facts about the machine.
//!
//! The id is read where the official client stores it, so that a machine that switches to this client remains the same
//! device, with the same addresses in the tunnel and the same verification by an administrator. For the same reason, only
//! one of the two clients can be connected at a time.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use hmac::{Hmac, Mac as _};
use model::Secret;
use portal::{ApiUrl, Login, UserAgent, user_agent::SystemInfo};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The application's key for deriving an id from the machine id. The key is the text itself, not the bytes that it encodes.
const APPLICATION_KEY: &[u8] = b"e1e465ce763e4759945c650ac334501f";

/// The maximum size of the file with the id in bytes.
const MAX_ID_FILE_SIZE: usize = 64 << 10;

/// The identity that is sent to the portal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The id of the device at the portal.
    pub external_id: String,
    /// The name of the device.
    pub name: String,
    /// The user agent.
    pub user_agent: UserAgent,
    /// The machine's serial number, if it can be read.
    pub device_serial: Option<String>,
    /// The machine's UUID, if it can be read.
    pub device_uuid: Option<String>,
}

impl Identity {
    /// Determines the identity. A configured id (`FIREZONE_ID`) and name (`FIREZONE_NAME`) take precedence.
    ///
    /// # Errors
    /// No id exists and none can be stored.
    pub fn discover(id: Option<&str>, name: Option<&str>) -> anyhow::Result<Self> {
        IdentityPaths::default().identity(id, name)
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

/// The sources of the facts.
struct IdentityPaths {
    id_file: PathBuf,
    machine_id: PathBuf,
    os_release: [PathBuf; 2],
    firmware: PathBuf,
}

impl Default for IdentityPaths {
    fn default() -> Self {
        Self {
            id_file: PathBuf::from("/var/lib/dev.firezone.client/config/firezone-id.json"),
            machine_id: PathBuf::from("/etc/machine-id"),
            os_release: ["/etc/os-release", "/usr/lib/os-release"].map(PathBuf::from),
            firmware: PathBuf::from("/sys/class/dmi/id"),
        }
    }
}

impl IdentityPaths {
    fn identity(&self, id: Option<&str>, name: Option<&str>) -> anyhow::Result<Identity> {
        let id = match id.map(str::trim).filter(|id| !id.is_empty()) {
            Some(id) => id.to_owned(),
            None => self.device_id()?,
        };
        Ok(Identity {
            external_id: portal::external_id(&id),
            name: device_name(name),
            user_agent: self.user_agent(),
            device_serial: self.firmware_value("product_serial"),
            device_uuid: self.firmware_value("product_uuid"),
        })
    }

    /// The stored id, else an id derived from the machine id, else a new one that is stored.
    fn device_id(&self) -> anyhow::Result<String> {
        if let Some(id) = stored_id(&self.id_file) {
            // Files of older versions may be world-readable. The result is ignored, because another user may own the file.
            let _ = fs::set_permissions(&self.id_file, fs::Permissions::from_mode(0o640));
            return Ok(id);
        }
        if let Some(machine_id) = fs::read(&self.machine_id).ok().filter(|content| !content.trim_ascii().is_empty())
            && let Some(id) = derived_id(&machine_id)
        {
            return Ok(id);
        }
        store_new_id(&self.id_file).with_context(|| {
            format!("this machine has no {} and no id can be stored (set FIREZONE_ID)", self.machine_id.display())
        })
    }

    fn user_agent(&self) -> UserAgent {
        let release = self.os_release.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let uname = rustix::system::uname();
        let os = distribution(&release);
        let facts = SystemInfo {
            os: os.as_deref(),
            os_version: os_release_value(&release, "VERSION_ID"),
            architecture: uname.machine().to_str().ok(),
            kernel: uname.release().to_str().ok(),
        };
        UserAgent::new(&facts, env!("CARGO_PKG_VERSION"))
    }

    /// A value that only root can read, and that many machines do not have.
    fn firmware_value(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.firmware.join(name)).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// The id in the file, unchanged. An invalid file is ignored.
fn stored_id(path: &Path) -> Option<String> {
    let content = fs::read(path).ok().filter(|content| content.len() <= MAX_ID_FILE_SIZE)?;
    let content: serde_json::Value = serde_json::from_slice(&content)
        .inspect_err(|_| tracing::warn!("ignoring the invalid file with the id of the device"))
        .ok()?;
    content.get("id")?.as_str().filter(|id| !id.trim().is_empty()).map(str::to_owned)
}

/// `machine_id` is the whole file, including its line break.
fn derived_id(machine_id: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(APPLICATION_KEY).ok()?;
    mac.update(machine_id);
    Some(hex(&mac.finalize().into_bytes()))
}

/// Creates an id and stores it atomically, without replacing another one.
fn store_new_id(path: &Path) -> anyhow::Result<String> {
    let directory = path.parent().context("the file for the id has no directory")?;
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let id = hex(&Sha256::digest(Uuid::from_u128(random()?).hyphenated().to_string()));
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&draft);
    let stored = write_durably(&draft, &serde_json::json!({ "id": id }).to_string())
        .and_then(|()| fs::hard_link(&draft, path))
        .and_then(|()| fs::File::open(directory)?.sync_all());
    let _ = fs::remove_file(&draft);
    match stored {
        Ok(()) => Ok(id),
        // Another process has stored an id first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            stored_id(path).with_context(|| format!("{} is not valid", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("write {}", path.display())),
    }
}

fn write_durably(path: &Path, content: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// The configured name, else the host name, else a random one.
fn device_name(configured: Option<&str>) -> String {
    let host = rustix::system::uname().nodename().to_str().map(str::to_owned).unwrap_or_default();
    [configured.unwrap_or_default(), &host]
        .into_iter()
        .map(str::trim)
        .find(|name| !name.is_empty())
        .map(str::to_owned)
        .or_else(|| random().ok().map(|bits| Uuid::from_u128(bits).to_string()))
        .unwrap_or_else(|| "linux".to_owned())
}

/// The bits of a version 4 UUID.
fn random() -> anyhow::Result<u128> {
    use rand::TryRngCore as _;
    let mut bytes = [0; 16];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).context("read random bytes from the kernel")?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().as_u128())
}

/// The name of the distribution, as the official clients send it.
fn distribution(release: &str) -> Option<String> {
    let name = match os_release_value(release, "ID")? {
        "debian" => "Debian",
        "ubuntu" => "Ubuntu",
        "fedora" => "Fedora",
        "arch" => "Arch Linux",
        "alpine" => "Alpine Linux",
        id => os_release_value(release, "NAME").unwrap_or(id),
    };
    Some(name.to_owned())
}

/// os-release(5): shell-like assignments. The values that are read here contain no escapes.
fn os_release_value<'a>(release: &'a str, key: &str) -> Option<&'a str> {
    let value = release.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?.trim();
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then_some(value)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const DERIVED: &str = "25746dc26c1cc478780348a72316d3f4c2869a29b2a4836b38bc2ad3c3d69e8c";

    /// A machine in a directory; gone when dropped.
    struct Machine(PathBuf);

    impl Machine {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("firezoned-identity-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(path.join("config")).unwrap();
            Self(path)
        }

        fn with(self, name: &str, content: &str) -> Self {
            fs::write(self.0.join(name), content).unwrap();
            self
        }

        fn paths(&self) -> IdentityPaths {
            IdentityPaths {
                id_file: self.0.join("config/firezone-id.json"),
                machine_id: self.0.join("machine-id"),
                os_release: [self.0.join("os-release"), self.0.join("os-release-of-usr")],
                firmware: self.0.clone(),
            }
        }

        fn id(&self) -> String {
            self.paths().device_id().unwrap()
        }

        fn has_id_file(&self) -> bool {
            self.paths().id_file.exists()
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn machine() -> Machine {
        Machine::new().with("machine-id", "0123456789abcdef0123456789abcdef\n")
    }

    #[test]
    fn id_is_derived_from_the_machine_id_including_its_line_break() {
        assert_eq!(derived_id(b"0123456789abcdef0123456789abcdef\n").unwrap(), DERIVED);
        assert_eq!(
            derived_id(b"0123456789abcdef0123456789abcdef").unwrap(),
            "781ba286d96690ce0ebe943c29b5b19d495ee25232d1a02a5f5b1ad4609d5bb3"
        );
    }

    #[test]
    fn derived_id_is_not_stored() {
        let machine = machine();
        assert_eq!(machine.id(), DERIVED);
        assert!(!machine.has_id_file());
    }

    #[test]
    fn stored_id_takes_precedence_and_is_used_unchanged() {
        for (content, id) in [
            (r#"{"id":"6d2a3f60-3c0b-4c5e-9d0e-0a1b2c3d4e5f"}"#, "6d2a3f60-3c0b-4c5e-9d0e-0a1b2c3d4e5f"),
            (r#"{ "more": [1], "id": "my laptop" }"#, "my laptop"),
        ] {
            assert_eq!(machine().with("config/firezone-id.json", content).id(), id);
        }
    }

    #[test]
    fn invalid_id_file_is_ignored() {
        for content in ["", "{", "null", r#"{"id":7}"#, r#"{"id":""}"#, r#"{"name":"x"}"#] {
            assert_eq!(machine().with("config/firezone-id.json", content).id(), DERIVED, "{content}");
        }
    }

    #[test]
    fn world_readable_id_file_is_restricted() {
        let machine = machine().with("config/firezone-id.json", r#"{"id":"x"}"#);
        let path = machine.paths().id_file;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        machine.id();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn new_id_is_created_and_stored() {
        for machine in [Machine::new(), Machine::new().with("machine-id", "\n")] {
            let id = machine.id();
            assert_eq!(id.len(), 64);
            assert!(machine.has_id_file());
            assert_eq!(machine.id(), id);
            assert_eq!(fs::read_dir(machine.0.join("config")).unwrap().count(), 1, "no draft is left behind");
        }
    }

    #[test]
    fn existing_id_is_never_replaced() {
        let machine = Machine::new().with("config/firezone-id.json", r#"{"id":"first"}"#);
        assert_eq!(store_new_id(&machine.paths().id_file).unwrap(), "first");
    }

    #[test]
    fn configured_id_and_name_take_precedence() {
        let machine = machine().with("config/firezone-id.json", r#"{"id":"stored"}"#);
        let identity = machine.paths().identity(Some("chosen"), Some("Kim's box")).unwrap();
        assert_eq!((identity.external_id.as_str(), identity.name.as_str()), ("chosen", "Kim's box"));
        let identity = machine.paths().identity(Some("  "), Some("")).unwrap();
        assert_eq!(identity.external_id, "stored");
        assert!(!identity.name.is_empty());
    }

    #[test]
    fn uuid_is_hashed_for_the_portal() {
        let identity = machine().paths().identity(Some("6d2a3f60-3c0b-4c5e-9d0e-0a1b2c3d4e5f"), None).unwrap();
        assert_eq!(identity.external_id, "4454ebcacd79d2dd45eb15d06f40ea7ad6517a2f1caff2f32553c8132ce07f53");
    }

    #[test]
    fn distribution_has_the_name_of_the_official_client() {
        for (release, name, version) in [
            ("ID=debian\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n", Some("Debian"), Some("12")),
            ("NAME='Arch Linux'\nID=arch\n", Some("Arch Linux"), None),
            ("ID=nixos\nNAME=NixOS\nVERSION_ID=\"25.11\"", Some("NixOS"), Some("25.11")),
            ("VERSION_ID_X=1\nnonsense", None, None),
            ("", None, None),
        ] {
            assert_eq!(distribution(release).as_deref(), name);
            assert_eq!(os_release_value(release, "VERSION_ID"), version);
        }
    }

    #[test]
    fn firmware_values_are_sent_if_readable() {
        let machine = machine().with("product_serial", "PF2ABCDE\n").with("product_uuid", "\n");
        let identity = machine.paths().identity(None, None).unwrap();
        assert_eq!(identity.device_serial.as_deref(), Some("PF2ABCDE"));
        assert_eq!(identity.device_uuid, None);
    }
}
