//! The desktop app beside the other front ends: it follows the daemon, and commands it.

use std::time::Duration;

use integration_tests::{
    bus,
    process::{Program, Running, eventually},
    stand::{Stand, tell},
};

const PATIENCE: Duration = Duration::from_secs(20);
const HOME: &str = "/run/anna";

/// The app of anna, at a desktop without a window manager and without a tray.
struct Desktop {
    app: Running,
    _session: Vec<Running>,
}

impl Desktop {
    fn start(stand: &Stand) -> anyhow::Result<Self> {
        let client = stand.client();
        client.program("install -d -o anna -m 0700").arg(HOME).check()?;
        // A display leaves its lock there when it is ended.
        client.program("mount -t tmpfs tmpfs /tmp").check()?;
        let display = Program::as_user(client.program("Xvfb :99 -nolisten tcp -screen 0 640x800x24"), "anna");
        let display = display.start("xvfb", stand.logs.open("xvfb"))?;
        eventually("the display is there", PATIENCE, || exists(stand, "/tmp/.X11-unix/X99"))?;
        let session = client.program("dbus-daemon --session --nofork --nopidfile --address=unix:path=/run/anna/bus");
        let session = session.as_user("anna").start("session-bus", stand.logs.open("session-bus"))?;
        eventually("the session bus is there", PATIENCE, || exists(stand, "/run/anna/bus"))?;
        let app = at_desktop(client.program("firezone-gtk")).start("firezone-gtk", stand.logs.open("firezone-gtk"))?;
        let desktop = Self { app, _session: vec![display, session] };
        eventually("the app is on the session bus", PATIENCE, || desktop.describe(stand).is_ok())?;
        Ok(desktop)
    }

    /// Does what a click on a button or a line of the tray does.
    fn act(&self, stand: &Stand, action: &str) -> anyhow::Result<()> {
        call(stand, "org.gtk.Actions.Activate").arg(action).arg("[]").arg("{}").check()?;
        Ok(())
    }

    /// The actions, with what is enabled and switched on.
    fn describe(&self, stand: &Stand) -> anyhow::Result<String> {
        Ok(call(stand, "org.gtk.Actions.DescribeAll").check()?.text())
    }
}

fn exists(stand: &Stand, path: &str) -> bool {
    stand.client().in_files(|| std::path::Path::new(path).exists()).is_ok_and(|it| it)
}

fn call<'a>(stand: &'a Stand, method: &str) -> Program<'a> {
    let call = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk --method";
    at_desktop(stand.client().program(call)).arg(method)
}

fn at_desktop(program: Program<'_>) -> Program<'_> {
    program
        .env("HOME", HOME)
        .env("XDG_RUNTIME_DIR", HOME)
        .env("DISPLAY", ":99")
        .env("GDK_BACKEND", "x11")
        .env("GSK_RENDERER", "cairo")
        .env("GTK_A11Y", "none")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/anna/bus")
        .as_user("anna")
}

fn property(stand: &Stand, name: &str) -> String {
    let property = "busctl --system get-property dev.firezone.Client /dev/firezone/Client dev.firezone.Client1";
    let answer = stand.client().program(property).as_user("bob").arg(name).run();
    answer.map(|it| it.text().trim().to_owned()).unwrap_or_default()
}

#[test]
#[ignore = "needs root: make integration"]
fn the_app_follows_the_daemon_and_commands_it() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let mut daemon = stand.serve_bus(stand.daemon())?;
        let mut desktop = Desktop::start(stand)?;

        // What the command line does is known to the app: the switch of the Internet resource starts from what is.
        stand.sign_in("anna")?;
        desktop.act(stand, "internet")?;
        eventually("the Internet resource is on", PATIENCE, || property(stand, "InternetResourceActive") == "b true")?;
        eventually("the app shows that it is on", PATIENCE, || {
            desktop.describe(stand).is_ok_and(|text| text.contains("'internet': (true, '', [<true>])"))
        })?;
        desktop.act(stand, "sign-out")?;
        eventually("the session is over", PATIENCE, || property(stand, "State") == "s \"signed-out\"")?;

        // A link that somebody made up changes nothing.
        stand.sign_in("anna")?;
        let link = "['firezone-fd0020211111://handle_client_sign_in_callback?account_slug=a&actor_name=b&fragment=.c&state=d']";
        call(stand, "org.freedesktop.Application.Open").arg(link).arg("{}").check()?;
        desktop.describe(stand)?;
        assert_eq!(property(stand, "State"), "s \"connected\"");

        // A daemon that dies and comes back is found again.
        daemon.signal(nix::sys::signal::Signal::SIGKILL)?;
        daemon.wait(PATIENCE)?;
        eventually("nobody owns the name", PATIENCE, || !bus::owns(stand.client(), "dev.firezone.Client"))?;
        let _daemon = stand.serve_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        eventually("the app signs out by the new daemon", PATIENCE, || {
            let _asked = desktop.act(stand, "sign-out");
            property(stand, "State") == "s \"signed-out\""
        })?;
        assert!(desktop.app.is_running());
        desktop.act(stand, "quit")?;
        let status = desktop.app.wait(PATIENCE)?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn root_has_no_desktop() -> anyhow::Result<()> {
    tell(|stand| {
        let outcome = stand.client().program("firezone-gtk").run()?;
        assert_eq!(outcome.status.code(), Some(1));
        assert!(outcome.complaint().contains("not for root"), "{}", outcome.complaint());
        Ok(())
    })
}
