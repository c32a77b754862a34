//! Measures the main window with many resources: frame times while scrolling, the delay of a search, and memory.
//! Prints one line of JSON. Needs only a display.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it is run from a terminal")]

use std::{
    cell::{Cell, RefCell},
    fs,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use adw::prelude::*;
use dbus_api::{Phase, Resource, Status};
use firezone_gtk::{
    actions, app,
    model::{Daemon, Model, Session, Update},
    view,
    window::Window,
};
use gtk::{gdk, gio, glib};

/// How many frames to measure while the list scrolls from top to bottom.
const FRAMES: u32 = 240;
/// Search texts that match all, many, one and no resources, typed letter by letter.
const NEEDLES: [&str; 12] =
    ["s", "se", "ser", "serv", "server", "server 9", "server 99", "server 999", "hamburg", "nothing", "1", ""];
/// Timeout of the whole measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// The work of the frame clock, in microseconds per frame.
#[derive(Debug, Default)]
struct Clock {
    begun: Cell<Option<Instant>>,
    work: RefCell<Vec<u128>>,
    painted: Cell<u64>,
}

fn main() -> ExitCode {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1000);
    let app = adw::Application::builder()
        .application_id("dev.firezone.Gtk.Frames")
        .flags(gio::ApplicationFlags::NON_UNIQUE)
        .build();
    let is_done = Rc::new(Cell::new(false));
    let done = is_done.clone();
    app.connect_activate(move |app| {
        if let Err(error) = app::load_resources() {
            eprintln!("{error}");
        }
        actions::install(app, |_, _| {});
        let (app, done) = (app.clone(), done.clone());
        let hold = app.hold();
        glib::spawn_future_local(async move {
            match glib::future_with_timeout(PATIENCE, measure(&app, count)).await {
                Ok(Some(line)) => {
                    println!("{line}");
                    done.set(true);
                }
                Ok(None) => eprintln!("the window has no list, no search or no frame clock"),
                Err(_) => eprintln!("it took too long"),
            }
            drop(hold);
            app.quit();
        });
    });
    let _code = app.run_with_args(&["frames"]);
    if is_done.get() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(app: &adw::Application, count: usize) -> Option<String> {
    let mut model = model(count);
    let window = Window::new(app);
    let start = Instant::now();
    window.show_view(&view::window::view(&model));
    window.present();
    let frames = window.frame_clock()?;
    let clock = watch(&frames);
    frame(&frames, &clock).await;
    let shown = start.elapsed();

    // Scroll from top to bottom.
    let list = find::<gtk::ListView>(window.upcast_ref())?;
    let scrolled = list.ancestor(gtk::ScrolledWindow::static_type()).and_downcast::<gtk::ScrolledWindow>()?;
    let place = scrolled.vadjustment();
    settle(&frames, &clock).await;
    clock.work.take();
    let way = place.upper() - place.page_size();
    for step in 1..=FRAMES {
        place.set_value(way * f64::from(step) / f64::from(FRAMES));
        frame(&frames, &clock).await;
    }
    let scrolling = clock.work.take();

    // Search: measure from the key press to the frame that displays the results.
    window.search();
    settle(&frames, &clock).await;
    let entry = find::<gtk::SearchEntry>(window.upcast_ref())?;
    let (mut searches, mut works) = (Vec::new(), Vec::new());
    clock.work.take();
    for needle in NEEDLES {
        let (start, worked) = (Instant::now(), worked());
        entry.set_text(needle);
        frame(&frames, &clock).await;
        searches.push(start.elapsed().as_micros());
        works.push(self::worked().saturating_sub(worked));
        settle(&frames, &clock).await;
    }

    let searching = clock.work.take();

    // An update of the daemon: one resource changes its status.
    if let Some(resource) = model.resources.first_mut() {
        resource.status = "offline".into();
    }
    let resources = model.resources.clone();
    let start = Instant::now();
    model.apply(Update::Resources(resources));
    window.show_view(&view::window::view(&model));
    let news = start.elapsed();

    let worst = |times: &[u128]| times.iter().max().copied().unwrap_or_default();
    let mut sorted = scrolling.clone();
    sorted.sort_unstable();
    Some(format!(
        r#"{{"resources":{count},"first_frame_us":{},"frames":{},"median_frame_us":{},"worst_frame_us":{},"worst_search_us":{},"worst_search_work_us":{},"worst_search_frame_us":{},"news_us":{},"resident_kib":{}}}"#,
        shown.as_micros(),
        scrolling.len(),
        sorted.get(sorted.len() / 2).copied().unwrap_or_default(),
        worst(&scrolling),
        worst(&searches),
        worst(&works),
        worst(&searching),
        news.as_micros(),
        resident(),
    ))
}

/// Records how long the work of each frame takes: layout, style and painting.
fn watch(frames: &gdk::FrameClock) -> Rc<Clock> {
    let clock = Rc::new(Clock::default());
    let begin = clock.clone();
    frames.connect_before_paint(move |_| begin.begun.set(Some(Instant::now())));
    let end = clock.clone();
    frames.connect_after_paint(move |_| {
        if let Some(begun) = end.begun.take() {
            end.work.borrow_mut().push(begun.elapsed().as_micros());
        }
        end.painted.set(end.painted.get() + 1);
    });
    clock
}

/// Waits for the end of the next frame.
async fn frame(frames: &gdk::FrameClock, clock: &Clock) {
    let before = clock.painted.get();
    frames.request_phase(gdk::FrameClockPhase::PAINT);
    while clock.painted.get() == before {
        glib::timeout_future(Duration::from_millis(1)).await;
    }
}

/// Waits until all animations have ended.
async fn settle(frames: &gdk::FrameClock, clock: &Clock) {
    for _ in 0..30 {
        frame(frames, clock).await;
    }
}

fn find<T: IsA<gtk::Widget>>(root: &gtk::Widget) -> Option<T> {
    let mut child = root.first_child();
    while let Some(widget) = child {
        if let Some(found) = widget.downcast_ref::<T>().cloned().or_else(|| find(&widget)) {
            return Some(found);
        }
        child = widget.next_sibling();
    }
    None
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

/// The CPU time of this thread, in microseconds: the cost of a search, independent of other load.
fn worked() -> u128 {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedule.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<u128>().ok()).unwrap_or_default() / 1000
}

fn model(count: usize) -> Model {
    let resource = |number: usize| Resource {
        id: format!("{number:08}-0000-4000-8000-000000000000"),
        kind: "dns".into(),
        name: format!("Server {number}"),
        address: Some(format!("server-{number}.corp.example")),
        address_description: number.is_multiple_of(3).then(|| format!("https://server-{number}.corp.example/")),
        sites: vec![if number.is_multiple_of(2) { "Berlin" } else { "Hamburg" }.into()],
        status: if number.is_multiple_of(2) { "online" } else { "unknown" }.into(),
        ..Resource::default()
    };
    let status = Status { actor_name: Some("Kim Doe".into()), ..Status::default() };
    let session = Session { phase: Phase::Connected, status: Some(status), may_command: true, ..Session::default() };
    Model {
        daemon: Daemon::Serving(Box::new(session)),
        resources: (0..count).map(resource).collect(),
        paths: [(vec!["Berlin".to_owned()], "direct".into())].into(),
        ..Model::default()
    }
}
