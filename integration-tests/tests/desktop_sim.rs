//! The desktop app with a simulated daemon: a thousand resources neither stall nor swell it, and links that somebody made
//! up change nothing.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use integration_tests::{
    checkout::program_dir,
    process::{Program, Running, eventually},
    stand::{Stand, tell},
};

const PATIENCE: Duration = Duration::from_secs(30);
const HOME: &str = "/run/anna";
const BUS: &str = "unix:path=/run/anna/bus";
/// What the app may hold in memory, with the renderer that paints without a graphics card.
const LARGEST_KIB: u64 = 100 * 1024;

fn of_anna(program: Program<'_>) -> Program<'_> {
    program
        .env("HOME", HOME)
        .env("XDG_RUNTIME_DIR", HOME)
        .env("DISPLAY", ":98")
        .env("GDK_BACKEND", "x11")
        .env("GSK_RENDERER", "cairo")
        // Otherwise the toolkit loads the graphics library's own renderer too, only to see that it is not wanted.
        .env("GDK_DEBUG", "gl-disable")
        .env("GTK_A11Y", "none")
        .env("DBUS_SESSION_BUS_ADDRESS", BUS)
        // The simulated daemon is where the app and the command line look for the real one.
        .env("DBUS_SYSTEM_BUS_ADDRESS", BUS)
        .as_user("anna")
}

/// A display, a bus, and a simulated daemon on it.
fn start(stand: &Stand, resources: &str) -> anyhow::Result<Vec<Running>> {
    let client = stand.client();
    client.program("install -d -o anna -m 0700").arg(HOME).check()?;
    let display = client.program("Xvfb :98 -nolisten tcp -screen 0 640x800x24").as_user("anna");
    let display = display.start("xvfb", stand.logs.open("xvfb"))?;
    let bus = client.program("dbus-daemon --session --nofork --nopidfile").arg(format!("--address={BUS}"));
    let bus = bus.as_user("anna").start("session-bus", stand.logs.open("session-bus"))?;
    let is_there = |path: &'static str| client.in_files(|| Path::new(path).exists()).is_ok_and(|it| it);
    eventually("the display and the bus are there", PATIENCE, || {
        is_there("/tmp/.X11-unix/X98") && is_there("/run/anna/bus")
    })?;
    let daemon = of_anna(client.program("firezoned --sim --sim-calm --sim-resources").arg(resources));
    let daemon = daemon.start("simulated", stand.logs.open("simulated"))?;
    eventually("the simulated daemon is there", PATIENCE, || state(stand).is_ok())?;
    Ok(vec![display, bus, daemon])
}

fn state(stand: &Stand) -> anyhow::Result<String> {
    let get = "gdbus call --session --dest dev.firezone.Client --object-path /dev/firezone/Client \
               --method org.freedesktop.DBus.Properties.Get dev.firezone.Client1 State";
    Ok(of_anna(stand.client().program(get)).check()?.text())
}

fn actions(stand: &Stand) -> String {
    let describe = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk \
                    --method org.gtk.Actions.DescribeAll";
    of_anna(stand.client().program(describe)).run().map(|it| it.text()).unwrap_or_default()
}

/// What this program holds in memory, in KiB.
fn resident(program: &Running) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("find VmRSS")?;
    line.trim().trim_end_matches("kB").trim().parse().context("read VmRSS")
}

#[test]
#[ignore = "needs root: make integration"]
fn the_app_stays_small_with_a_thousand_resources() -> anyhow::Result<()> {
    tell(|stand| {
        let _desktop = start(stand, "1000")?;
        of_anna(stand.client().program("firezonectl sign-in --token-stdin")).input("simulated").check()?;
        eventually("the session is there", PATIENCE, || state(stand).is_ok_and(|it| it.contains("'connected'")))?;
        let listed = of_anna(stand.client().program("firezonectl resources --json")).check()?.text();
        assert_eq!(listed.matches("\"status\"").count(), 1000);

        let mut app =
            of_anna(stand.client().program("firezone-gtk")).start("firezone-gtk", stand.logs.open("firezone-gtk"))?;
        eventually("the app is there", PATIENCE, || actions(stand).contains("'internet'"))?;
        of_anna(stand.client().program("firezonectl internet on")).run()?;
        // It rests once its memory does: all rows are made.
        let mut last = Vec::new();
        eventually("the app has shown what there is", PATIENCE, || {
            last.push(resident(&app).unwrap_or_default());
            last.len() > 20 && last.iter().rev().take(10).all(|it| Some(it) == last.last())
        })?;
        let resident = last.last().copied().unwrap_or_default();
        println!("resident: {resident} KiB");
        assert!(app.is_running());
        assert!((1..LARGEST_KIB).contains(&resident), "{resident} KiB");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn links_that_somebody_made_up_change_nothing_and_that_is_said() -> anyhow::Result<()> {
    const GOOD: &str =
        "firezone-fd0020211111://handle_client_sign_in_callback?account_slug=a&actor_name=b&fragment=.c&state=d";
    tell(|stand| {
        let _desktop = start(stand, "3")?;
        of_anna(stand.client().program("firezonectl sign-in --token-stdin")).input("simulated").check()?;
        eventually("the session is there", PATIENCE, || state(stand).is_ok_and(|it| it.contains("'connected'")))?;
        let log = stand.logs.open("firezone-gtk");
        let mut app = of_anna(stand.client().program("firezone-gtk")).start("firezone-gtk", log.clone())?;
        eventually("the app is there", PATIENCE, || actions(stand).contains("'internet'"))?;
        let open = |link: &str| {
            let open = "gdbus call --session --dest dev.firezone.Gtk --object-path /dev/firezone/Gtk \
                        --method org.freedesktop.Application.Open";
            of_anna(stand.client().program(open)).arg(format!("['{link}']")).arg("{}").check()
        };
        let no_end = "no end of a sign-in";
        for (number, link) in [
            GOOD.replace("handle_client_sign_in_callback", "evil.example"),
            GOOD.replace("callback?", "callback/more?"),
            GOOD.replace("firezone-fd0020211111", "https"),
            format!("{GOOD}&state=d"),
            format!("{GOOD}&fragment=.x"),
            GOOD.replace("&state=d", ""),
            // The longest that a command line can carry.
            format!("{GOOD}{}", "x".repeat(120 << 10)),
        ]
        .iter()
        .enumerate()
        {
            open(link)?;
            eventually("the app says that it is none", PATIENCE, || log.count(no_end) == number + 1)?;
        }
        // A whole one with the state of somebody else, while nobody signs in here.
        open(GOOD)?;
        eventually("the app says that nobody waits for it", PATIENCE, || log.contains("for which nobody waits"))?;
        assert!(!log.text().contains("fragment=."), "links may be secret");
        assert!(app.is_running());
        assert!(state(stand)?.contains("'connected'"));
        Ok(())
    })
}

mod long {
    use super::*;

    /// By the clock, so it wants a machine that has time.
    #[test]
    #[ignore = "needs a display: make test-machine"]
    fn every_machine_frame_with_a_thousand_resources_comes_in_time() -> anyhow::Result<()> {
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
        // A stall that is seen is several frames long, of which there are sixty in a second.
        assert!(of("median_frame_us") < 16_667, "{measured}");
        assert!(of("worst_frame_us") < 100_000, "{measured}");
        // What a search costs until the frame that shows what it finds; and what a busy machine makes of that.
        assert!(of("worst_search_work_us") < 50_000, "{measured}");
        assert!(of("worst_search_us") < 250_000, "{measured}");
        assert!(of("worst_search_frame_us") < 100_000, "{measured}");
        assert!(of("resident_kib") < LARGEST_KIB, "{measured}");
        Ok(())
    }
}

#[test]
#[ignore = "needs root: make integration"]
fn a_simulation_is_not_for_root() -> anyhow::Result<()> {
    tell(|stand| {
        let outcome = stand.client().program("firezoned --sim").run()?;
        assert_eq!(outcome.status.code(), Some(1));
        assert!(outcome.complaint().contains("root must not"), "{}", outcome.complaint());
        stand.client().program("install -d -o anna -m 0700").arg(HOME).check()?;
        stand.start_bus()?;
        let system = "unix:path=/run/dbus/system_bus_socket";
        let outcome = of_anna(stand.client().program("firezoned --sim --sim-bus").arg(system)).run()?;
        assert_eq!(outcome.status.code(), Some(1), "{}", outcome.complaint());
        assert!(outcome.complaint().contains("not on the system bus"), "{}", outcome.complaint());
        Ok(())
    })
}
