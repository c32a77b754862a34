//! The desktop app with a simulated daemon: it stays responsive and small with a thousand resources, and forged links
//! change nothing.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use integration_tests::{
    checkout::program_dir,
    process::{Program, Running, wait_until},
    stand::{Stand, with_stand},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const HOME: &str = "/run/anna";
const BUS: &str = "unix:path=/run/anna/bus";
/// The memory limit of the app, with the renderer for machines without a graphics card.
const MAX_RESIDENT_KIB: u64 = 100 * 1024;

fn as_anna(program: Program<'_>) -> Program<'_> {
    program
        .env("HOME", HOME)
        .env("XDG_RUNTIME_DIR", HOME)
        .env("DISPLAY", ":98")
        .env("GDK_BACKEND", "x11")
        .env("GSK_RENDERER", "cairo")
        // Otherwise the toolkit loads the OpenGL libraries, only to find that they are not needed.
        .env("GDK_DEBUG", "gl-disable")
        .env("GTK_A11Y", "none")
        .env("DBUS_SESSION_BUS_ADDRESS", BUS)
        // The app and the command line look for the daemon on this bus.
        .env("DBUS_SYSTEM_BUS_ADDRESS", BUS)
        .as_user("anna")
}

/// Starts a display, a bus, and a simulated daemon on it.
fn start(stand: &Stand, resources: &str) -> anyhow::Result<Vec<Running>> {
    let client = stand.client();
    client.program("install -d -o anna -m 0700").arg(HOME).check()?;
    let display = client.program("Xvfb :98 -nolisten tcp -screen 0 640x800x24").as_user("anna");
    let display = display.start("xvfb", stand.logs.open("xvfb"))?;
    let bus = client.program("dbus-daemon --session --nofork --nopidfile").arg(format!("--address={BUS}"));
    let bus = bus.as_user("anna").start("session-bus", stand.logs.open("session-bus"))?;
    let is_there = |path: &'static str| client.in_files(|| Path::new(path).exists()).is_ok_and(|it| it);
    wait_until("the display and the bus are there", TIMEOUT, || {
        is_there("/tmp/.X11-unix/X98") && is_there("/run/anna/bus")
    })?;
    let daemon = as_anna(client.program("firezoned --sim --sim-calm --sim-resources").arg(resources));
    let daemon = daemon.start("simulated", stand.logs.open("simulated"))?;
    wait_until("the simulated daemon is there", TIMEOUT, || state(stand).is_ok())?;
    Ok(vec![display, bus, daemon])
}

fn state(stand: &Stand) -> anyhow::Result<String> {
    let get = "gdbus call --session --dest dev.firezone.Client --object-path /dev/firezone/Client \
               --method org.freedesktop.DBus.Properties.Get dev.firezone.Client1 State";
    Ok(as_anna(stand.client().program(get)).check()?.text())
}

fn actions(stand: &Stand) -> String {
    let describe = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk \
                    --method org.gtk.Actions.DescribeAll";
    as_anna(stand.client().program(describe)).run().map(|it| it.text()).unwrap_or_default()
}

/// The resident memory of a program, in KiB.
fn resident(program: &Running) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("find VmRSS")?;
    line.trim().trim_end_matches("kB").trim().parse().context("read VmRSS")
}

#[test]
#[ignore = "needs root: make integration"]
fn memory_is_bounded_with_a_thousand_resources() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _desktop = start(stand, "1000")?;
        as_anna(stand.client().program("firezonectl sign-in --token-stdin")).input("simulated").check()?;
        wait_until("the session is there", TIMEOUT, || state(stand).is_ok_and(|it| it.contains("'connected'")))?;
        let listed = as_anna(stand.client().program("firezonectl resources --json")).check()?.text();
        assert_eq!(listed.matches("\"status\"").count(), 1000);

        let mut app =
            as_anna(stand.client().program("firezone-gtk")).start("firezone-gtk", stand.logs.open("firezone-gtk"))?;
        wait_until("the app is there", TIMEOUT, || actions(stand).contains("'internet'"))?;
        as_anna(stand.client().program("firezonectl internet on")).run()?;
        // All rows have been created once the memory is stable.
        let mut last = Vec::new();
        wait_until("the app has shown what there is", TIMEOUT, || {
            last.push(resident(&app).unwrap_or_default());
            last.len() > 20 && last.iter().rev().take(10).all(|it| Some(it) == last.last())
        })?;
        let resident = last.last().copied().unwrap_or_default();
        println!("resident: {resident} KiB");
        assert!(app.is_running());
        assert!((1..MAX_RESIDENT_KIB).contains(&resident), "{resident} KiB");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn forged_links_change_nothing_and_are_logged() -> anyhow::Result<()> {
    const GOOD: &str =
        "firezone-fd0020211111://handle_client_sign_in_callback?account_slug=a&actor_name=b&fragment=.c&state=d";
    with_stand(|stand| {
        let _desktop = start(stand, "3")?;
        as_anna(stand.client().program("firezonectl sign-in --token-stdin")).input("simulated").check()?;
        wait_until("the session is there", TIMEOUT, || state(stand).is_ok_and(|it| it.contains("'connected'")))?;
        let log = stand.logs.open("firezone-gtk");
        let mut app = as_anna(stand.client().program("firezone-gtk")).start("firezone-gtk", log.clone())?;
        wait_until("the app is there", TIMEOUT, || actions(stand).contains("'internet'"))?;
        let open = |link: &str| {
            let open = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk \
                        --method org.freedesktop.Application.Open";
            as_anna(stand.client().program(open)).arg(format!("['{link}']")).arg("{}").check()
        };
        let invalid = "not a valid sign-in link";
        for (number, link) in [
            GOOD.replace("handle_client_sign_in_callback", "evil.example"),
            GOOD.replace("callback?", "callback/more?"),
            GOOD.replace("firezone-fd0020211111", "https"),
            format!("{GOOD}&state=d"),
            format!("{GOOD}&fragment=.x"),
            GOOD.replace("&state=d", ""),
            // The longest argument of a program.
            format!("{GOOD}{}", "x".repeat(120 << 10)),
        ]
        .iter()
        .enumerate()
        {
            open(link)?;
            wait_until("the app logs that it is invalid", TIMEOUT, || log.count(invalid) == number + 1)?;
        }
        // A valid link with the state of another sign-in, while none is in progress.
        open(GOOD)?;
        wait_until("the app logs that no program waits for it", TIMEOUT, || log.contains("no program waits"))?;
        assert!(!log.text().contains("fragment=."), "links may be secret");
        assert!(app.is_running());
        assert!(state(stand)?.contains("'connected'"));
        Ok(())
    })
}

mod long {
    use super::*;

    /// Measures real time, so it needs an idle machine.
    #[test]
    #[ignore = "needs a display: make test-machine"]
    fn every_machine_frame_with_a_thousand_resources_is_fast() -> anyhow::Result<()> {
        let output = Command::new("xvfb-run")
            .args(["--auto-servernum", "--server-args=-screen 0 800x900x24", "dbus-run-session", "--"])
            .arg(program_dir()?.join("examples/frames"))
            .arg("1000")
            .envs([
                ("GSK_RENDERER", "cairo"),
                ("GDK_DEBUG", "gl-disable"),
                ("GDK_BACKEND", "x11"),
                ("GTK_A11Y", "none"),
                ("NO_AT_BRIDGE", "1"),
            ])
            .stderr(Stdio::inherit())
            .output()
            .context("run the measurement")?;
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        anyhow::ensure!(output.status.success(), "the measurement failed");
        let measured: serde_json::Value = serde_json::from_str(text.trim()).context("read what was measured")?;
        let of = |key: &str| measured[key].as_u64().unwrap_or(u64::MAX);
        // A visible stall is several frames long; there are 60 frames per second.
        assert!(of("median_frame_us") < 16_667, "{measured}");
        assert!(of("worst_frame_us") < 100_000, "{measured}");
        // The cost of a search until the frame that shows its results, and the delay on a busy machine.
        assert!(of("worst_search_work_us") < 50_000, "{measured}");
        assert!(of("worst_search_us") < 250_000, "{measured}");
        assert!(of("worst_search_frame_us") < 100_000, "{measured}");
        assert!(of("resident_kib") < MAX_RESIDENT_KIB, "{measured}");
        Ok(())
    }
}

#[test]
#[ignore = "needs root: make integration"]
fn simulation_refuses_root_and_the_system_bus() -> anyhow::Result<()> {
    with_stand(|stand| {
        let outcome = stand.client().program("firezoned --sim").run()?;
        assert_eq!(outcome.status.code(), Some(1));
        assert!(outcome.error_text().contains("root must not"), "{}", outcome.error_text());
        stand.client().program("install -d -o anna -m 0700").arg(HOME).check()?;
        stand.start_bus()?;
        let system = "unix:path=/run/dbus/system_bus_socket";
        let outcome = as_anna(stand.client().program("firezoned --sim --sim-bus").arg(system)).run()?;
        assert_eq!(outcome.status.code(), Some(1), "{}", outcome.error_text());
        assert!(outcome.error_text().contains("not on the system bus"), "{}", outcome.error_text());
        Ok(())
    })
}
