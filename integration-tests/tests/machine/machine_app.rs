//! The desktop app from its package, at the screen of somebody who stays while the packages are replaced.

use std::time::Duration;

use integration_tests::{
    account::PORTAL_URL,
    machine::{
        Machine, UNIT,
        packages::Version::{Next, This},
    },
    process::{Program, Running, eventually},
    stand::{Stand, tell},
};

const PATIENCE: Duration = Duration::from_secs(60);

const PACKAGES: [&str; 3] = ["firezoned", "firezonectl", "firezone-gtk"];

/// Runs a program in her session.
pub(crate) fn at_desktop(program: Program<'_>) -> Program<'_> {
    program
        .env("HOME", "/home/anna")
        .env("DISPLAY", ":7")
        .env("GDK_BACKEND", "x11")
        .env("GSK_RENDERER", "cairo")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/home/anna/bus")
        .as_user("anna")
}

/// Starts a screen and a session bus for her.
pub(crate) fn desktop_of_anna(machine: &Machine, stand: &Stand) -> anyhow::Result<[Running; 2]> {
    let screen = machine.program("Xvfb :7 -nolisten tcp -screen 0 1024x800x24").as_user("anna");
    let screen = screen.start("xvfb", stand.logs.open("xvfb"))?;
    let bus = "dbus-daemon --session --nofork --nopidfile --address=unix:path=/home/anna/bus";
    let bus = at_desktop(machine.program(bus)).start("session-bus", stand.logs.open("session-bus"))?;
    let is_there = |path: &str| machine.program("test -e").arg(path).run().is_ok_and(|it| it.status.success());
    eventually("there are a screen and a bus", PATIENCE, || {
        is_there("/tmp/.X11-unix/X7") && is_there("/home/anna/bus")
    })?;
    Ok([screen, bus])
}

/// Whether the app shows the Internet resource as switched on, which it knows from the daemon alone; none while there is
/// no app.
fn shows_internet(machine: &Machine) -> Option<bool> {
    let ask = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk --method org.gtk.Actions.Describe";
    let answer = at_desktop(machine.program(ask).arg("internet")).check().ok()?.text();
    Some(answer.contains("<true>"))
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_upgrade_leaves_the_app_where_it_was() -> anyhow::Result<()> {
    tell(|stand| {
        let mut machine = Machine::with_desktop(stand)?;
        machine.write("/etc/default/firezone-client", &format!("FIREZONE_API_URL={PORTAL_URL}\nRUST_LOG=debug\n"))?;
        machine.inside("useradd --create-home --shell /bin/sh anna").check()?;
        machine.with_packages()?;
        machine.boot()?;
        machine.dpkg_install(&PACKAGES, This)?;
        machine.program("usermod --append --groups firezone anna").check()?;

        let _desktop = desktop_of_anna(&machine, stand)?;
        let mut app =
            at_desktop(machine.program("firezone-gtk")).start("firezone-gtk", stand.logs.open("firezone-gtk"))?;
        eventually("the app is there", PATIENCE, || shows_internet(&machine) == Some(false))?;

        machine.sign_in("anna")?;
        machine.program("firezonectl internet on").as_user("anna").check()?;
        eventually("the app follows the daemon", PATIENCE, || shows_internet(&machine) == Some(true))?;
        let process = machine.property(UNIT, "MainPID")?;

        machine.dpkg_install(&PACKAGES, Next)?;
        assert_ne!(machine.property(UNIT, "MainPID")?, process, "another daemon");
        machine.reaches_the_server()?;
        // The same app follows the daemon that came, and commands it.
        machine.program("firezonectl internet off").as_user("anna").check()?;
        eventually("the app follows the new daemon", PATIENCE, || shows_internet(&machine) == Some(false))?;
        let turn = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk --method org.gtk.Actions.Activate";
        at_desktop(machine.program(turn).arg("sign-out").arg("[]").arg("{}")).check()?;
        eventually("the app has signed out", PATIENCE, || {
            let status = machine.program("firezonectl --json status").as_user("anna").run();
            status.and_then(|it| it.json()).is_ok_and(|it| it["state"] == "signed-out")
        })?;
        assert!(app.is_running(), "{:?}", app.log());

        // A server's package takes the app's place only if somebody says so.
        let server =
            machine.program("sh -c").arg("dpkg --install /root/packages/firezone-headless_*[0-9]_*.deb 2>&1").run()?;
        assert!(server.text().contains("conflicting packages - not installing firezone-headless"), "{}", server.text());
        machine.dpkg("--purge firezone-gtk firezonectl firezoned")?;
        Ok(())
    })
}
