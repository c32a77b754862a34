//! The daemon's bus under load: calls without end by somebody who may nothing, and packets without end.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use integration_tests::{
    process::eventually,
    stand::{Stand, tell},
    topology::SERVER,
};

/// Calls of the one who may nothing, and how many of them are in the works.
const CALLS: usize = 10_000;
const AT_ONCE: usize = 100;
/// What the daemon may need more after that than before, in KiB.
const LONGEST_MEMORY: u64 = 8 * 1024;
/// How long nearly all calls of somebody who may ask take at most meanwhile. Figures are printed for people to judge, because
/// they are those of the machine and of how the programs were built; this only finds what hangs.
const HANGS: Duration = Duration::from_secs(1);
/// Under this it stays on a machine that has nothing else to do, with optimised programs.
const PROMISED: Duration = Duration::from_millis(50);

/// Where packets without end come from.
const LOAD: u16 = 5001;

/// Resident memory of the daemon in KiB.
fn memory(stand: &Stand) -> anyhow::Result<u64> {
    let status = stand.client().read(&format!("/proc/{}/status", stand.daemon_process()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// How long so many calls of `GetStatus` of a new caller took, one after the other. With the first one the daemon asks whose
/// process that is and what it may.
fn waits(stand: &Stand, calls: usize) -> anyhow::Result<Vec<Duration>> {
    let said = stand.caller("anna", &format!("latency {calls}")).check()?.text();
    said.lines().map(|line| Ok(Duration::from_micros(line.parse()?))).collect()
}

/// The wait that so many of a thousand do not exceed.
fn quantile(waits: &[Duration], of_thousand: usize) -> Duration {
    let mut waits = waits.to_vec();
    waits.sort();
    waits.get((waits.len() * of_thousand / 1000).min(waits.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[allow(clippy::print_stdout, reason = "this is for whoever runs the tests")]
fn print(what: &str, waits: &[Duration]) {
    let [half, most, nearly] = [500, 990, 999].map(|it| quantile(waits, it));
    let longest = waits.iter().max().copied().unwrap_or_default();
    let calls = waits.len();
    let long = waits.iter().filter(|it| **it >= PROMISED).count();
    println!(
        "{what}: {calls} calls of GetStatus, median {half:?}, 99 % {most:?}, 99.9 % {nearly:?}, longest {longest:?}; {long} of \
         them {PROMISED:?} or longer"
    );
}

#[test]
#[ignore = "needs root: make integration"]
fn whoever_may_nothing_takes_neither_memory_nor_time_from_others() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let _daemon = stand.serve_bus(stand.unprivileged_daemon()?)?;
        stand.sign_in("anna")?;
        // Once before, so that what any load makes the daemon keep is there.
        stand.caller("bob", &format!("flood 500 {AT_ONCE}")).check()?;
        print("idle", &waits(stand, 500)?);
        let before = memory(stand)?;

        let flood = stand.caller("bob", &format!("flood {CALLS} {AT_ONCE}"));
        let mut flood = flood.start("flood", stand.logs.open("flood"))?;
        let start = Instant::now();
        let (mut first, mut meanwhile, mut most) = (Vec::new(), Vec::new(), 0);
        while flood.is_running() {
            let waits = waits(stand, 50)?;
            first.extend(waits.first());
            meanwhile.extend(waits);
            most = most.max(memory(stand)?);
        }
        let after = memory(stand)?;
        print("during a flood", &meanwhile);
        print(&format!("the first ones of each caller, in a flood of {:?}", start.elapsed()), &first);
        println!("memory of the daemon: {before} KiB before, {most} KiB at most, {after} KiB after");
        let outcomes = flood.log().text();
        println!("what the flood got: {outcomes}");
        let is_refused = |line: &str| {
            line.contains(".NotAuthorized ") || line.contains(".LimitReached ") || line.contains(".LimitsExceeded ")
        };
        assert!(outcomes.lines().all(is_refused), "somebody who may nothing got something:\n{outcomes}");
        assert!(most < before + LONGEST_MEMORY, "{before} KiB before, {most} KiB in a flood");
        assert!(quantile(&meanwhile, 990) < HANGS);
        Ok(())
    })
}

/// As much as the tunnel carries, until nobody takes it any more.
fn send(listener: &TcpListener) {
    let Ok((mut stream, _)) = listener.accept() else { return };
    while stream.write_all(&[0; 64 << 10]).is_ok() {}
}

fn receive(stop: &AtomicBool, received: &AtomicU64) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect((SERVER.v4, LOAD)).context("cannot connect")?;
    let mut buffer = vec![0; 256 << 10];
    while !stop.load(Ordering::Relaxed) {
        received.fetch_add(stream.read(&mut buffer)? as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// The waits while the tunnel is busy, and how busy it is in Mbit/s.
fn measure(stand: &Stand, received: &AtomicU64) -> anyhow::Result<(Vec<Duration>, f64)> {
    let received = || received.load(Ordering::Relaxed);
    eventually("the tunnel is busy", Duration::from_secs(20), || received() > 16 << 20)?;
    let (start, first) = (Instant::now(), received());
    let waits = waits(stand, 1000)?;
    let megabits = (received() - first) as f64 * 8e-6;
    Ok((waits, megabits / start.elapsed().as_secs_f64()))
}

#[test]
#[ignore = "needs root: make integration"]
fn packets_without_end_keep_nobody_from_the_status() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let _daemon = stand.serve_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
        let listener = stand.net.server.in_network(|| TcpListener::bind((SERVER.v4, LOAD)))??;
        std::thread::scope(|scope| {
            scope.spawn(|| send(&listener));
            let receiver = scope.spawn(|| stand.client().in_network(|| receive(&stop, &received)));
            let measured = measure(stand, &received);
            stop.store(true, Ordering::Relaxed);
            receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))??;
            let (waits, rate) = measured?;
            print(&format!("with {rate:.0} Mbit/s through the tunnel"), &waits);
            assert!(quantile(&waits, 990) < HANGS);
            Ok(())
        })
    })
}
