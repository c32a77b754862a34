//! Takes pictures of every page, made of invented models: `make screenshots`. Needs a display, and nothing else.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it speaks to whoever runs it")]

use std::{cell::Cell, path::PathBuf, process::ExitCode, rc::Rc, time::Duration};

use adw::prelude::*;
use dbus_api::{Resource, Setting, State, Status, Warning};
use firezone_gtk::{
    actions, app,
    diagnostics::{Diagnostics, ReportWindow},
    model::{Attempt, Check, Daemon, Diagnosis, Model, Session, Verdict},
    preferences::Preferences,
    view,
    window::Window,
};
use gtk::{gio, glib, gsk};

/// Long enough for transitions to end.
const SETTLED: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(style)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: screenshots DIRECTORY light|dark");
        return ExitCode::from(2);
    };
    let directory = PathBuf::from(directory);
    let app = adw::Application::builder().application_id("dev.firezone.Gtk.Screenshots").build();
    let failures = Rc::new(Cell::new(0));
    let count = failures.clone();
    app.connect_activate(move |app| {
        if let Err(error) = app::dress() {
            eprintln!("{error}");
        }
        // So that buttons look as they do where they work.
        actions::install(app, |_, _| {});
        let scheme = if style == "dark" { adw::ColorScheme::ForceDark } else { adw::ColorScheme::ForceLight };
        adw::StyleManager::default().set_color_scheme(scheme);
        let (app, directory, count) = (app.clone(), directory.clone(), count.clone());
        let hold = app.hold();
        glib::spawn_future_local(async move {
            for (name, model) in models() {
                let is_active = model.session().is_some_and(|session| session.internet_resource_active);
                if let Some(action) = app.lookup_action(actions::INTERNET).and_downcast::<gio::SimpleAction>() {
                    action.set_state(&is_active.to_variant());
                }
                let window = Window::new(&app);
                window.show_view(&view::window::view(&model));
                save(window.upcast_ref(), &directory.join(format!("{name}.png")), &count).await;
            }
            let preferences = Preferences::new(None, None);
            preferences.show_settings(&view::settings::rows(&configured()));
            preferences.set_default_height(880);
            save(preferences.upcast_ref(), &directory.join("preferences.png"), &count).await;
            for (name, model) in diagnoses() {
                let diagnostics = Diagnostics::new(&app, None);
                diagnostics.show_view(&view::diagnostics::view(&model));
                save(diagnostics.upcast_ref(), &directory.join(format!("{name}.png")), &count).await;
            }
            let report = ReportWindow::new(&app, None, REPORT);
            save(report.upcast_ref(), &directory.join("report.png"), &count).await;
            drop(hold);
            app.quit();
        });
    });
    let _code = app.run_with_args(&["screenshots"]);
    if failures.get() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn save(window: &gtk::Window, path: &std::path::Path, failures: &Cell<u32>) {
    window.present();
    glib::timeout_future(SETTLED).await;
    let picture = gtk::WidgetPaintable::new(Some(window));
    let snapshot = gtk::Snapshot::new();
    picture.snapshot(&snapshot, f64::from(window.width()), f64::from(window.height()));
    let texture = snapshot.to_node().and_then(|node| {
        let renderer: gsk::Renderer = window.native()?.renderer()?;
        Some(renderer.render_texture(node, None))
    });
    match texture.map(|texture| texture.save_to_png(path)) {
        Some(Ok(())) => println!("{}", path.display()),
        _ => {
            eprintln!("no picture: {}", path.display());
            failures.set(failures.get() + 1);
        }
    }
    window.destroy();
}

const REPORT: &str = r#"{
  "schema": 1,
  "version": "0.1.0",
  "state": "connected",
  "gateways": [ { "path": "relayed", "last-handshake": 12 } ],
  "checks": [ { "id": "FZ001", "result": "ok" } ]
}"#;

fn configured() -> Model {
    let session = Session { may_configure: true, may_command: true, ..Session::default() };
    let setting = |value: &str, source: &str, locked| Setting {
        value: value.into(),
        source: source.into(),
        locked,
        change: "next-start".into(),
        ..Setting::default()
    };
    let file = "/etc/dev.firezone.client/firezoned.toml:3";
    let settings = [
        ("name", setting("kims-laptop", "/var/lib/dev.firezone.client/settings.toml:2", false)),
        ("internet-resource", setting("false", "", false)),
        ("dns-control", setting("auto", "", false)),
        ("max-partition-time", setting("", "", false)),
        ("log-filter", setting("info,portal=debug", file, true)),
        ("auth-url", setting("https://app.firezone.dev/", "", true)),
        ("account-slug", setting("example-corp", file, true)),
        ("api-url", setting("wss://api.firezone.dev/", "", true)),
        ("id", setting("", "", true)),
        ("token-path", setting("/etc/dev.firezone.client/token", "", true)),
    ];
    let settings = settings.into_iter().map(|(key, setting)| (key.to_owned(), setting)).collect();
    Model { daemon: Daemon::Serving(Box::new(session)), settings, ..Model::default() }
}

fn diagnoses() -> Vec<(&'static str, Model)> {
    let check = |id: &str, verdict, name: &str, evidence: &str, effect: &str, remedy: &str| Check {
        id: id.into(),
        name: name.into(),
        verdict,
        evidence: evidence.into(),
        effect: effect.into(),
        remedy: remedy.into(),
    };
    let checks = vec![
        check("FZ001", Verdict::Ok, "The service", "it is on the bus", "", ""),
        check(
            "FZ012",
            Verdict::Failed,
            "Names in containers",
            "the firewall refuses port 53 from docker0",
            "Containers on this computer find no names.",
            "iptables -I INPUT -i docker0 -p udp --dport 53 -j ACCEPT",
        ),
        check(
            "FZ020",
            Verdict::Warning,
            "The clock",
            "nobody keeps it",
            "If it goes wrong, the portal's certificate is not trusted.",
            "Start systemd-timesyncd.",
        ),
        check("FZ021", Verdict::Skipped, "The portal", "there is no session", "", ""),
    ];
    let session = Session { may_diagnose: true, may_command: true, ..Session::default() };
    let done = |checks: Vec<Check>, is_local| Diagnosis::Done { checks, is_local };
    let serving =
        |diagnosis| Model { daemon: Daemon::Serving(Box::new(session.clone())), diagnosis, ..Model::default() };
    let fine = vec![check("FZ001", Verdict::Ok, "The service", "it is on the bus", "", "")];
    vec![
        ("diagnostics", serving(done(checks.clone(), false))),
        ("diagnostics-fine", serving(done(fine, false))),
        ("diagnostics-running", serving(Diagnosis::Running)),
        ("diagnostics-local", Model { daemon: Daemon::Absent, diagnosis: done(checks, true), ..Model::default() }),
    ]
}

fn models() -> Vec<(&'static str, Model)> {
    let with = |daemon| Model { daemon, ..Model::default() };
    let serving = |session: Session| with(Daemon::Serving(Box::new(session)));
    let state = |state, reason: &str| Session { state, reason: reason.into(), may_command: true, ..Session::default() };
    let connected = |resources: Vec<Resource>| Model {
        resources,
        favourites: ["3".to_owned()].into(),
        ..serving(Session {
            status: Some(Status {
                actor_name: Some("Kim Doe".into()),
                account_slug: Some("example-corp".into()),
                ..Status::default()
            }),
            ..state(State::Connected, "")
        })
    };
    let ended_by_bob = Session {
        status: Some(Status { asked_by: Some("bob".into()), ..Status::default() }),
        ..state(State::SignedOut, "")
    };
    let mut warned = connected(resources());
    warned.paths = [(vec!["Berlin".to_owned()], "relayed".to_owned())].into();
    if let Daemon::Serving(session) = &mut warned.daemon
        && let Some(status) = &mut session.status
    {
        let text = "IPv6 is disabled on this computer, so resources with IPv6 addresses cannot be reached.";
        status.warnings = vec![Warning { code: "ipv6-disabled".into(), text: text.into() }];
        session.internet_resource_active = true;
    }
    let many = (0..1000).map(|n| resource(&n.to_string(), &format!("Server {n}"), "dns", "unknown")).collect();
    vec![
        ("loading", Model::default()),
        ("problem-service", with(Daemon::Absent)),
        ("problem-service-mode", with(Daemon::Managed(State::Connected))),
        ("problem-group", serving(Session::default())),
        ("sign-in", serving(state(State::SignedOut, ""))),
        (
            "sign-in-expired",
            Model { account_slug: "example-corp".into(), ..serving(state(State::SignedOut, "token_expired")) },
        ),
        ("sign-in-by-bob", Model { user: "anna".into(), ..serving(ended_by_bob) }),
        ("sign-in-kept", Model { has_token: true, ..serving(state(State::SignedOut, "")) }),
        ("sign-in-browser", Model { attempt: Attempt::Browser, ..serving(state(State::SignedOut, "")) }),
        ("waiting-network", serving(state(State::WaitingForNetwork, "no_network"))),
        ("captive-portal", serving(state(State::Connecting, "captive_portal"))),
        ("connecting", serving(state(State::Connecting, "portal_unreachable"))),
        ("session", connected(resources())),
        ("session-warning", warned),
        ("session-empty", connected(Vec::new())),
        ("session-many", connected(many)),
        ("reconnecting", Model { resources: resources(), ..serving(state(State::Reconnecting, "portal_unreachable")) }),
        ("signing-out", serving(state(State::SigningOut, ""))),
    ]
}

fn resources() -> Vec<Resource> {
    vec![
        Resource { kind: "internet".into(), ..resource("0", "Internet Resource", "internet", "unknown") },
        Resource {
            address_description: Some("https://wiki.corp.example".into()),
            ..resource("1", "Company wiki", "dns", "online")
        },
        Resource { address: Some("10.20.0.0/24".into()), ..resource("2", "Laboratory", "cidr", "unknown") },
        resource("3", "git_lab", "dns", "online"),
        Resource {
            address_description: Some("Ask Kim before you print posters".into()),
            ..resource("4", "A printer with a name that is far too long for any window of this width", "dns", "offline")
        },
    ]
}

fn resource(id: &str, name: &str, kind: &str, status: &str) -> Resource {
    let label = name.to_lowercase().replace(' ', "-");
    Resource {
        id: id.into(),
        kind: kind.into(),
        name: name.into(),
        address: Some(format!("{label}.corp.example")),
        sites: vec!["Berlin".into()],
        status: status.into(),
        ..Resource::default()
    }
}
