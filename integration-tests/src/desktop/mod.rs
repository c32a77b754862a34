//! The desktop of a person on the client: display, session bus, keyring, a browser, and the app as it is installed.
//!
//! Everything is real but the browser, which is a script that does what a person would do, and the screen.

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
    process::{Program, Running, eventually},
    stand::Stand,
};

/// How long anything at the desktop may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What the app calls itself to assistive programs.
pub const APP: &str = "firezone-gtk";
/// Whose desktop it is.
pub const USER: &str = "anna";
/// Where everything of the user is.
pub const HOME: &str = "/run/anna";

const BUS: &str = "/run/anna/bus";
const DISPLAY: &str = ":99";
const BROWSER: &str = include_str!("browser.sh");
const BROWSER_ENTRY: &str = "[Desktop Entry]\nType=Application\nName=Browser\nExec=/run/anna/browser %u\n";
const DEFAULTS: &str = "[Default Applications]\nx-scheme-handler/http=browser.desktop\n";

/// A session of somebody who has just logged in.
#[derive(Debug)]
pub struct Desktop {
    /// The app, once it was started.
    app: Option<Running>,
    keyring: Option<Running>,
    /// What every app has written that was started.
    logs: Vec<Arc<Log>>,
    /// The user's languages.
    language: String,
    _session: Vec<Running>,
}

impl Desktop {
    /// Logs in. The keyring is open; the app does not run yet.
    pub fn log_in(stand: &Stand) -> anyhow::Result<Self> {
        let client = stand.client();
        client.program(&format!("install -d -o {USER} -m 0700 {HOME}")).check()?;
        install(stand)?;
        furnish(stand)?;
        let display = client.program(&format!("Xvfb {DISPLAY} -nolisten tcp -screen 0 1024x800x24"));
        let display = display.as_user(USER).start("xvfb", stand.logs.open("xvfb"))?;
        eventually("the display is there", PATIENCE, || exists(stand, "/tmp/.X11-unix/X99"))?;
        let bus = client.program(&format!("dbus-daemon --session --nofork --nopidfile --address=unix:path={BUS}"));
        let bus = at_desktop(bus).start("session-bus", stand.logs.open("session-bus"))?;
        eventually("the session bus is there", PATIENCE, || exists(stand, BUS))?;
        let mut desktop =
            Self { app: None, keyring: None, logs: Vec::new(), language: String::new(), _session: vec![display, bus] };
        desktop.open_keyring(stand)?;
        Ok(desktop)
    }

    /// Starts a keyring, and opens it with the password of the login.
    pub fn open_keyring(&mut self, stand: &Stand) -> anyhow::Result<()> {
        let keyring = stand.client().program("gnome-keyring-daemon --foreground --components=secrets --unlock");
        let keyring = at_desktop(keyring).input("the password of the login");
        self.keyring = Some(keyring.start("gnome-keyring", stand.logs.open("gnome-keyring"))?);
        eventually("the keyring is there", PATIENCE, || owns(stand, "org.freedesktop.secrets"))
    }

    /// The process of the keyring.
    pub fn keyring(&mut self) -> anyhow::Result<&mut Running> {
        self.keyring.as_mut().context("nobody has opened a keyring")
    }

    /// The user speaks another language from the next start of the app on.
    pub fn speak(&mut self, language: &str) {
        language.clone_into(&mut self.language);
    }

    /// From the next start of the app on, nobody knows its settings.
    pub fn remove_schema(stand: &Stand) -> anyhow::Result<()> {
        stand
            .client()
            .program("rm")
            .arg(data().join("glib-2.0/schemas/gschemas.compiled").to_string_lossy())
            .check()?;
        Ok(())
    }

    /// Starts the app, with or without its window.
    pub fn start_app(&mut self, stand: &Stand, arguments: &[&str]) -> anyhow::Result<()> {
        let program = arguments.iter().fold(stand.client().program("firezone-gtk"), |program, it| program.arg(*it));
        let program = program.env("LANGUAGE", &self.language);
        let log = stand.logs.open("firezone-gtk");
        self.logs.push(Arc::clone(&log));
        self.app = Some(at_desktop(program).start("firezone-gtk", log)?);
        eventually("the app is on the session bus", PATIENCE, || self.describe(stand).is_ok())
    }

    /// What the libraries have had to complain about.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let texts = self.logs.iter().map(|log| log.text());
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains("-WARNING **") || line.contains("-CRITICAL **")).collect()
    }

    /// Ends the app without a word.
    pub fn kill_app(&mut self) -> anyhow::Result<()> {
        if let Some(mut app) = self.app.take() {
            app.signal(nix::sys::signal::Signal::SIGKILL)?;
            app.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// The app.
    pub fn app(&mut self) -> anyhow::Result<&mut Running> {
        self.app.as_mut().context("the app was not started")
    }

    /// Does what a click on a button or a line of the tray does.
    pub fn act(&self, stand: &Stand, action: &str) -> anyhow::Result<()> {
        call(stand, "org.gtk.Actions.Activate").arg(action).arg("[]").arg("{}").check()?;
        Ok(())
    }

    /// The actions, with what is enabled and switched on.
    pub fn describe(&self, stand: &Stand) -> anyhow::Result<String> {
        Ok(call(stand, "org.gtk.Actions.DescribeAll").check()?.text())
    }

    /// Opens a link as a browser does that was asked to.
    pub fn open_link(&self, stand: &Stand, link: &str) -> anyhow::Result<()> {
        at_desktop(stand.client().program("gio open").arg(link)).check()?;
        Ok(())
    }

    /// Presses keys, as in `ctrl+f`.
    pub fn press(&self, stand: &Stand, keys: &str) -> anyhow::Result<()> {
        at_desktop(stand.client().program("xdotool key --clearmodifiers").arg(keys)).check()?;
        Ok(())
    }

    /// The keyring goes, and none comes: nothing of this machine serves one.
    pub fn remove_keyring(&mut self, stand: &Stand) -> anyhow::Result<()> {
        const SERVICE: &str = "/usr/share/dbus-1/services/org.freedesktop.secrets.service";
        stand.client().program("mount --bind /dev/null").arg(SERVICE).check()?;
        let reload = "gdbus call --session --dest org.freedesktop.DBus --object-path /org/freedesktop/DBus \
                      --method org.freedesktop.DBus.ReloadConfig";
        at_desktop(stand.client().program(reload)).check()?;
        if let Some(mut keyring) = self.keyring.take() {
            keyring.signal(nix::sys::signal::Signal::SIGKILL)?;
            keyring.wait(PATIENCE)?;
        }
        eventually("the keyring is gone", PATIENCE, || !owns(stand, "org.freedesktop.secrets"))
    }

    /// A shell with notifications, and with a tray if it is told so.
    pub fn shell(&self, stand: &Stand) -> anyhow::Result<Shell> {
        Shell::connect(stand.client(), USER, BUS)
    }

    /// What assistive programs see.
    pub fn accessibility(&self, stand: &Stand) -> anyhow::Result<Accessibility> {
        Accessibility::connect(stand.client(), USER, BUS)
    }
}

/// Runs a program at the desktop.
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

/// Calls a method of the app, as another program of the session.
pub fn call<'a>(stand: &'a Stand, method: &str) -> Program<'a> {
    let call = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk --method";
    at_desktop(stand.client().program(call)).arg(method)
}

/// Whether somebody owns a name on the session bus.
#[must_use]
pub fn owns(stand: &Stand, name: &str) -> bool {
    let call = "gdbus call --session --dest org.freedesktop.DBus --object-path /org/freedesktop/DBus \
                --method org.freedesktop.DBus.NameHasOwner";
    at_desktop(stand.client().program(call).arg(name)).run().is_ok_and(|answer| answer.text().contains("true"))
}

/// Whether the keyring has something of ours.
#[must_use]
pub fn keeps_something(stand: &Stand) -> bool {
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

/// Installs what belongs to the app beside its program, as `make install` does on the machine that it is for.
fn install(stand: &Stand) -> anyhow::Result<()> {
    let make = stand.client().program("make --silent install-gtk-data");
    make.arg(format!("--directory={}", source_dir().display())).arg(format!("PREFIX={FILES}/installed/usr")).check()?;
    Ok(())
}

/// The user's own files: the browser, and that it is the default.
fn furnish(stand: &Stand) -> anyhow::Result<()> {
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
