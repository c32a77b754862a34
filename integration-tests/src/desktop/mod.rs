//! The desktop of a user on the client: display, session bus, keyring, browser, and the installed app.
//!
//! Everything is real except the browser, which is a script, and the display.

pub mod accessibility;
pub mod shell;
pub mod vault;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;

use self::{accessibility::Accessibility, shell::Shell};
use crate::{
    account::ANNA,
    checkout::source_dir,
    logs::Log,
    netns::FILES,
    process::{Program, Running, wait_until},
    stand::Stand,
};

/// Timeout of everything at the desktop.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// The app's name on the accessibility bus.
pub const APP: &str = "firezone-gtk";
/// The user of the desktop.
pub const USER: &str = "anna";
/// The user's home and runtime directory.
pub const HOME: &str = "/run/anna";

const BUS: &str = "/run/anna/bus";
const DISPLAY: &str = ":99";
const BROWSER: &str = include_str!("browser.sh");
const BROWSER_ENTRY: &str = "[Desktop Entry]\nType=Application\nName=Browser\nExec=/run/anna/browser %u\n";
const DEFAULTS: &str = "[Default Applications]\nx-scheme-handler/http=browser.desktop\n";

/// The session of a user who has just logged in.
#[derive(Debug)]
pub struct Desktop {
    /// The app, if it was started.
    app: Option<Running>,
    keyring: Option<Running>,
    /// The logs of all started apps.
    logs: Vec<Arc<Log>>,
    /// The user's languages.
    language: String,
    /// Whether the app uses a simulated daemon.
    has_simulated_daemon: bool,
    _session: Vec<Running>,
}

impl Desktop {
    /// Logs in. The keyring is unlocked; the app is not running yet.
    pub fn log_in(stand: &Stand) -> anyhow::Result<Self> {
        let client = stand.client();
        client.program(&format!("install -d -o {USER} -m 0700 {HOME}")).check()?;
        install(stand)?;
        create_user_files(stand)?;
        let display = client.program(&format!("Xvfb {DISPLAY} -nolisten tcp -screen 0 1024x800x24"));
        let display = display.as_user(USER).start("xvfb", stand.logs.open("xvfb"))?;
        wait_until("the display is there", TIMEOUT, || exists(stand, "/tmp/.X11-unix/X99"))?;
        let bus = client.program(&format!("dbus-daemon --session --nofork --nopidfile --address=unix:path={BUS}"));
        let bus = at_desktop(bus).start("session-bus", stand.logs.open("session-bus"))?;
        wait_until("the session bus is there", TIMEOUT, || exists(stand, BUS))?;
        let mut desktop = Self {
            app: None,
            keyring: None,
            logs: Vec::new(),
            language: String::new(),
            has_simulated_daemon: false,
            _session: vec![display, bus],
        };
        desktop.open_keyring(stand)?;
        Ok(desktop)
    }

    /// Starts the keyring, and unlocks it with the login password.
    fn open_keyring(&mut self, stand: &Stand) -> anyhow::Result<()> {
        let keyring = stand.client().program("gnome-keyring-daemon --foreground --components=secrets --unlock");
        let keyring = at_desktop(keyring).input("the password of the login");
        self.keyring = Some(keyring.start("gnome-keyring", stand.logs.open("gnome-keyring"))?);
        wait_until("the keyring is there", TIMEOUT, || owns(stand, "org.freedesktop.secrets"))
    }

    /// The keyring's process.
    pub fn keyring(&mut self) -> anyhow::Result<&mut Running> {
        self.keyring.as_mut().context("no keyring was started")
    }

    /// Changes the user's language, from the next start of the app on.
    pub fn set_language(&mut self, language: &str) {
        language.clone_into(&mut self.language);
    }

    /// Removes the settings schema, from the next start of the app on.
    pub fn remove_schema(stand: &Stand) -> anyhow::Result<()> {
        stand
            .client()
            .program("rm")
            .arg(data().join("glib-2.0/schemas/gschemas.compiled").to_string_lossy())
            .check()?;
        Ok(())
    }

    /// Starts a simulated daemon on the session bus. The app finds it there from its next start on.
    pub fn simulate_daemon(&mut self, stand: &Stand) -> anyhow::Result<Running> {
        self.has_simulated_daemon = true;
        let daemon = at_desktop(stand.client().program("firezoned --sim --sim-calm"));
        let daemon = daemon.start("simulated", stand.logs.open("simulated"))?;
        wait_until("the simulated daemon is on the session bus", TIMEOUT, || owns(stand, "dev.firezone.Client"))?;
        Ok(daemon)
    }

    /// Signs in to the simulated daemon. A word in the token selects what happens to the session.
    pub fn sign_in_simulated(&self, stand: &Stand, token: &str) -> anyhow::Result<()> {
        let program = at_desktop(stand.client().program("firezonectl sign-in --token-stdin"));
        on_simulated_system_bus(program).input(token).check()?;
        Ok(())
    }

    /// Starts the app, with or without its window.
    pub fn start_app(&mut self, stand: &Stand, arguments: &[&str]) -> anyhow::Result<()> {
        let program = arguments.iter().fold(stand.client().program("firezone-gtk"), |program, it| program.arg(*it));
        let mut program = program.env("LANGUAGE", &self.language);
        if self.has_simulated_daemon {
            program = on_simulated_system_bus(program);
        }
        let log = stand.logs.open("firezone-gtk");
        self.logs.push(Arc::clone(&log));
        self.app = Some(at_desktop(program).start("firezone-gtk", log)?);
        wait_until("the app is on the session bus", TIMEOUT, || self.describe(stand).is_ok())
    }

    /// Warnings of the libraries in the logs of all started apps.
    #[must_use]
    pub fn library_warnings(&self) -> Vec<String> {
        let texts = self.logs.iter().map(|log| log.text());
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains("-WARNING **") || line.contains("-CRITICAL **")).collect()
    }

    /// Kills the app.
    pub fn kill_app(&mut self) -> anyhow::Result<()> {
        if let Some(mut app) = self.app.take() {
            app.signal(nix::sys::signal::Signal::SIGKILL)?;
            app.wait(TIMEOUT)?;
        }
        Ok(())
    }

    /// The app.
    pub fn app(&mut self) -> anyhow::Result<&mut Running> {
        self.app.as_mut().context("the app was not started")
    }

    /// Activates an action of the app.
    pub fn act(&self, stand: &Stand, action: &str) -> anyhow::Result<()> {
        call(stand, "org.gtk.Actions.Activate").arg(action).arg("[]").arg("{}").check()?;
        Ok(())
    }

    /// All actions of the app, with their state.
    pub fn describe(&self, stand: &Stand) -> anyhow::Result<String> {
        Ok(call(stand, "org.gtk.Actions.DescribeAll").check()?.text())
    }

    /// Opens a link as a browser does.
    pub fn open_link(&self, stand: &Stand, link: &str) -> anyhow::Result<()> {
        at_desktop(stand.client().program("gio open").arg(link)).check()?;
        Ok(())
    }

    /// Presses keys, as in `ctrl+f`.
    pub fn press(&self, stand: &Stand, keys: &str) -> anyhow::Result<()> {
        at_desktop(stand.client().program("xdotool key --clearmodifiers").arg(keys)).check()?;
        Ok(())
    }

    /// Removes the keyring, and prevents the bus from starting another.
    pub fn remove_keyring(&mut self, stand: &Stand) -> anyhow::Result<()> {
        const SERVICE: &str = "/usr/share/dbus-1/services/org.freedesktop.secrets.service";
        stand.client().program("mount --bind /dev/null").arg(SERVICE).check()?;
        let reload = "gdbus call --session --dest org.freedesktop.DBus --object-path /org/freedesktop/DBus \
                      --method org.freedesktop.DBus.ReloadConfig";
        at_desktop(stand.client().program(reload)).check()?;
        if let Some(mut keyring) = self.keyring.take() {
            keyring.signal(nix::sys::signal::Signal::SIGKILL)?;
            keyring.wait(TIMEOUT)?;
        }
        wait_until("the keyring is gone", TIMEOUT, || !owns(stand, "org.freedesktop.secrets"))
    }

    /// A desktop shell that displays notifications, and a tray on request.
    pub fn shell(&self, stand: &Stand) -> anyhow::Result<Shell> {
        Shell::connect(stand.client(), USER, BUS)
    }

    /// A connection to the accessibility bus.
    pub fn accessibility(&self, stand: &Stand) -> anyhow::Result<Accessibility> {
        Accessibility::connect(stand.client(), USER, BUS)
    }
}

/// Runs a program in the session.
pub fn at_desktop(program: Program<'_>) -> Program<'_> {
    program
        .env("HOME", HOME)
        .env("XDG_RUNTIME_DIR", HOME)
        .env("XDG_DATA_DIRS", format!("{}:/usr/share", data().display()))
        .env("DISPLAY", DISPLAY)
        .env("GDK_BACKEND", "x11")
        .env("GSK_RENDERER", "cairo")
        .env("GSETTINGS_BACKEND", "keyfile")
        .env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={BUS}"))
        .as_user(USER)
}

/// The session bus in place of the system bus.
fn on_simulated_system_bus(program: Program<'_>) -> Program<'_> {
    program.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={BUS}"))
}

/// Calls a method of the app on the session bus.
pub fn call<'a>(stand: &'a Stand, method: &str) -> Program<'a> {
    let call = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk --method";
    at_desktop(stand.client().program(call)).arg(method)
}

/// Whether a name on the session bus has an owner.
#[must_use]
pub fn owns(stand: &Stand, name: &str) -> bool {
    let call = "gdbus call --session --dest org.freedesktop.DBus --object-path /org/freedesktop/DBus \
                --method org.freedesktop.DBus.NameHasOwner";
    at_desktop(stand.client().program(call).arg(name)).run().is_ok_and(|answer| answer.text().contains("true"))
}

/// Whether the keyring contains our item.
#[must_use]
pub fn keyring_has_our_item(stand: &Stand) -> bool {
    let search = "gdbus call --session --dest org.freedesktop.secrets --object-path /org/freedesktop/secrets \
                  --method org.freedesktop.Secret.Service.SearchItems";
    let search = stand.client().program(search).arg("{'application': 'dev.firezone.Client'}");
    at_desktop(search).run().is_ok_and(|answer| answer.text().contains("/collection/"))
}

fn exists(stand: &Stand, path: &str) -> bool {
    stand.client().in_files(|| Path::new(path).exists()).is_ok_and(|it| it)
}

fn data() -> PathBuf {
    Path::new(FILES).join("installed/usr/share")
}

/// Installs the app's data files, as `make install` does.
fn install(stand: &Stand) -> anyhow::Result<()> {
    let make = stand.client().program("make --silent install-gtk-data");
    make.arg(format!("--directory={}", source_dir().display())).arg(format!("PREFIX={FILES}/installed/usr")).check()?;
    Ok(())
}

/// Creates the user's files: the browser, and the default applications.
fn create_user_files(stand: &Stand) -> anyhow::Result<()> {
    let client = stand.client();
    client.program(&format!("mkdir -p {HOME}/.config {HOME}/.local/share/applications")).as_user(USER).check()?;
    client.write(&format!("{HOME}/browser"), BROWSER)?;
    client.write(&format!("{HOME}/.local/share/applications/browser.desktop"), BROWSER_ENTRY)?;
    client.write(&format!("{HOME}/.config/mimeapps.list"), DEFAULTS)?;
    let (email, password) = ANNA;
    client.write(&format!("{HOME}/person"), &format!("email='{email}'\npassword='{password}'\n"))?;
    client.program(&format!("chmod 0755 {HOME}/browser")).check()?;
    Ok(())
}
