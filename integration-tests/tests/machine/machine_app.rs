//! The packaged desktop app in a session that continues while packages are replaced.

use std::time::Duration;

use integration_tests::{
    account::PORTAL_URL,
    machine::{
        Machine, UNIT,
        packages::Version::{Next, This},
    },
    process::{Program, Running, wait_until},
    stand::{Stand, with_stand},
};

const TIMEOUT: Duration = Duration::from_secs(60);

const PACKAGES: [&str; 3] = ["firezoned", "firezonectl", "firezone-gtk"];

/// A machine with the packages and with anna, who is not in the group yet.
fn machine_of_anna(stand: &Stand) -> anyhow::Result<Machine> {
    let mut machine = Machine::with_desktop(stand)?;
    machine.write("/etc/default/firezone-client", &format!("FIREZONE_API_URL={PORTAL_URL}\nRUST_LOG=debug\n"))?;
    machine.inside("useradd --create-home --shell /bin/sh anna").check()?;
    machine.with_packages()?;
    machine.boot()?;
    machine.dpkg_install(&PACKAGES, This)?;
    Ok(machine)
}

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

/// Starts a display and a session bus for her.
pub(crate) fn desktop_of_anna(machine: &Machine, stand: &Stand) -> anyhow::Result<[Running; 2]> {
    let screen = machine.program("Xvfb :7 -nolisten tcp -screen 0 1024x800x24").as_user("anna");
    let screen = screen.start("xvfb", stand.logs.open("xvfb"))?;
    let bus = "dbus-daemon --session --nofork --nopidfile --address=unix:path=/home/anna/bus";
    let bus = at_desktop(machine.program(bus)).start("session-bus", stand.logs.open("session-bus"))?;
    let is_there = |path: &str| machine.program("test -e").arg(path).run().is_ok_and(|it| it.status.success());
    wait_until("there are a screen and a bus", TIMEOUT, || {
        is_there("/tmp/.X11-unix/X7") && is_there("/home/anna/bus")
    })?;
    Ok([screen, bus])
}

/// Whether the app shows the Internet resource as on, which it knows from the daemon only; none without
/// an app.
fn shows_internet(machine: &Machine) -> Option<bool> {
    let ask = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk --method org.gtk.Actions.Describe";
    let answer = at_desktop(machine.program(ask).arg("internet")).check().ok()?.text();
    Some(answer.contains("<true>"))
}

/// Starts the app and waits until it is on the bus.
fn start_app(machine: &Machine, stand: &Stand) -> anyhow::Result<Running> {
    let app = at_desktop(machine.program("firezone-gtk")).start("firezone-gtk", stand.logs.open("firezone-gtk"))?;
    wait_until("the app is there", TIMEOUT, || shows_internet(machine) == Some(false))?;
    Ok(app)
}

/// Activates an action of the app.
fn act(machine: &Machine, action: &str) -> anyhow::Result<()> {
    let act = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk --method org.gtk.Actions.Activate";
    at_desktop(machine.program(act).arg(action).arg("[]").arg("{}")).check().map(drop)
}

fn is_signed_out(machine: &Machine) -> bool {
    let status = machine.program("firezonectl --json status").as_user("anna").run();
    status.and_then(|it| it.json()).is_ok_and(|it| it["state"] == "signed-out")
}

/// Whether anna is in the group now.
fn is_member(machine: &Machine) -> bool {
    let groups = machine.program("id --name --groups anna").check();
    groups.is_ok_and(|it| it.text().split_whitespace().any(|it| it == "firezone"))
}

/// An authentication agent that grants all requests of anna without a password.
const AGREES: &str = r#"polkit.addRule(function (action, subject) {
    var asked = ["org.freedesktop.policykit.exec", "org.freedesktop.systemd1.manage-units"];
    return subject.user === "anna" && asked.indexOf(action.id) >= 0 ? polkit.Result.YES : polkit.Result.NOT_HANDLED;
});
"#;

#[test]
#[ignore = "needs root: make test-machine"]
fn every_remedy_of_the_app_works_after_authorization() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine_of_anna(stand)?;
        let _desktop = desktop_of_anna(&machine, stand)?;
        let mut app = start_app(&machine, stand)?;

        // There is no authentication agent.
        act(&machine, "join-group")?;
        wait_until("the app reports the error", TIMEOUT, || {
            app.log().contains("Error executing command as another user")
        })?;
        assert!(!is_member(&machine));

        machine.write("/etc/polkit-1/rules.d/10-agrees.rules", AGREES)?;
        wait_until("anna is in the group", TIMEOUT, || act(&machine, "join-group").is_ok() && is_member(&machine))?;
        machine.sign_in("anna")?;
        act(&machine, "sign-out")?;
        wait_until("the app may command", TIMEOUT, || is_signed_out(&machine))?;

        machine.systemctl(&format!("stop {UNIT}"))?;
        wait_until("the app has started the service", TIMEOUT, || {
            act(&machine, "start-service").is_ok()
                && machine.property(UNIT, "ActiveState").is_ok_and(|it| it == "active")
        })?;
        assert!(app.is_running(), "{:?}", app.log());
        Ok(())
    })
}

/// URL of NetworkManager's connectivity check.
const CHECK: &str = "http://check.example/online";

/// A NetworkManager without managed interfaces.
fn network_manager() -> String {
    format!("[main]\nno-auto-default=*\n[keyfile]\nunmanaged-devices=*\n[connectivity]\nuri={CHECK}\ninterval=0\n")
}

/// A browser that only records the URL.
const BROWSER: &str = "[Desktop Entry]\nType=Application\nName=Browser\nExec=sh -c 'echo \"$0\" > /home/anna/shown' %u\n\
                       MimeType=x-scheme-handler/http;\n";

#[test]
#[ignore = "needs root: make test-machine"]
fn every_captive_portal_shows_its_page_in_the_app() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine_of_anna(stand)?;
        machine.write("/usr/share/applications/browser.desktop", BROWSER)?;
        machine.program("update-desktop-database").check()?;
        machine.write("/etc/NetworkManager/conf.d/stand.conf", &network_manager())?;
        machine.systemctl("start NetworkManager")?;
        let _desktop = desktop_of_anna(&machine, stand)?;
        let _app = start_app(&machine, stand)?;

        act(&machine, "open-network-page")?;
        let shown = || machine.read("/home/anna/shown").unwrap_or_default();
        wait_until("the browser shows the page", TIMEOUT, || shown().trim() == CHECK)
    })
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_upgrade_keeps_the_app_running() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine_of_anna(stand)?;
        machine.program("usermod --append --groups firezone anna").check()?;

        let _desktop = desktop_of_anna(&machine, stand)?;
        let mut app = start_app(&machine, stand)?;

        machine.sign_in("anna")?;
        machine.program("firezonectl internet on").as_user("anna").check()?;
        wait_until("the app follows the daemon", TIMEOUT, || shows_internet(&machine) == Some(true))?;
        let process = machine.property(UNIT, "MainPID")?;

        machine.dpkg_install(&PACKAGES, Next)?;
        assert_ne!(machine.property(UNIT, "MainPID")?, process, "another daemon");
        machine.check_private_server()?;
        // The same app follows and controls the new daemon.
        machine.program("firezonectl internet off").as_user("anna").check()?;
        wait_until("the app follows the new daemon", TIMEOUT, || shows_internet(&machine) == Some(false))?;
        act(&machine, "sign-out")?;
        wait_until("the app has signed out", TIMEOUT, || is_signed_out(&machine))?;
        assert!(app.is_running(), "{:?}", app.log());

        // The server package replaces the app only on request.
        let server =
            machine.program("sh -c").arg("dpkg --install /root/packages/firezone-headless_*[0-9]_*.deb 2>&1").run()?;
        assert!(server.text().contains("conflicting packages - not installing firezone-headless"), "{}", server.text());
        machine.dpkg("--purge firezone-gtk firezonectl firezoned")?;
        Ok(())
    })
}
