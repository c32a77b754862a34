//! The daemon under load: a flood of bus calls by an unprivileged user, and a flood of packets.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use integration_tests::{
    process::wait_until,
    stand::{Stand, with_stand},
    topology::SERVER,
};

/// Calls of the unprivileged user, and how many of them are pending at a time.
const CALLS: usize = 10_000;
const PENDING_CALLS: usize = 100;
/// Permitted growth of the daemon's memory, in KiB.
const MAX_MEMORY_GROWTH_KIB: u64 = 8 * 1024;
/// Limit for the latency of a permitted caller during a flood. Figures are printed for a human to judge, because
/// they depend on the machine and on the build profile; this limit only finds hangs.
const MAX_LATENCY: Duration = Duration::from_secs(1);
/// Latency on an idle machine with optimised programs.
const EXPECTED_LATENCY: Duration = Duration::from_millis(50);

/// Port of the packet flood.
const LOAD_PORT: u16 = 5001;

/// Resident memory of the daemon in KiB.
fn memory(stand: &Stand) -> anyhow::Result<u64> {
    let status = stand.client().read(&format!("/proc/{}/status", stand.daemon_process()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Durations of this many calls of `GetStatus` of a new caller, one after the other. On the first one the daemon looks up the
/// process and its permissions.
fn waits(stand: &Stand, calls: usize) -> anyhow::Result<Vec<Duration>> {
    let said = stand.caller("anna", &format!("latency {calls}")).check()?.text();
    said.lines().map(|line| Ok(Duration::from_micros(line.parse()?))).collect()
}

/// The latency that this many of a thousand calls do not exceed.
fn quantile(waits: &[Duration], of_thousand: usize) -> Duration {
    let mut waits = waits.to_vec();
    waits.sort();
    waits.get((waits.len() * of_thousand / 1000).min(waits.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[allow(clippy::print_stdout, reason = "output of the test run")]
fn print(what: &str, waits: &[Duration]) {
    let [half, most, nearly] = [500, 990, 999].map(|it| quantile(waits, it));
    let longest = waits.iter().max().copied().unwrap_or_default();
    let calls = waits.len();
    let long = waits.iter().filter(|it| **it >= EXPECTED_LATENCY).count();
    println!(
        "{what}: {calls} calls of GetStatus, median {half:?}, 99 % {most:?}, 99.9 % {nearly:?}, longest {longest:?}; {long} of \
         them {EXPECTED_LATENCY:?} or longer"
    );
}

#[test]
#[ignore = "needs root: make integration"]
fn unprivileged_callers_cannot_exhaust_memory_or_time() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.unprivileged_daemon()?)?;
        stand.sign_in("anna")?;
        // A first run, so that memory that any load needs is allocated already.
        stand.caller("bob", &format!("flood 500 {PENDING_CALLS}")).check()?;
        print("idle", &waits(stand, 500)?);
        let before = memory(stand)?;

        let flood = stand.caller("bob", &format!("flood {CALLS} {PENDING_CALLS}"));
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
        assert!(outcomes.lines().all(is_refused), "an unprivileged caller was served:\n{outcomes}");
        assert!(most < before + MAX_MEMORY_GROWTH_KIB, "{before} KiB before, {most} KiB in a flood");
        assert!(quantile(&meanwhile, 990) < MAX_LATENCY);
        Ok(())
    })
}

/// As much as the tunnel carries, until the receiver closes.
fn send(listener: &TcpListener) {
    let Ok((mut stream, _)) = listener.accept() else { return };
    while stream.write_all(&[0; 64 << 10]).is_ok() {}
}

fn receive(stop: &AtomicBool, received: &AtomicU64) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect((SERVER.v4, LOAD_PORT)).context("cannot connect")?;
    let mut buffer = vec![0; 256 << 10];
    while !stop.load(Ordering::Relaxed) {
        received.fetch_add(stream.read(&mut buffer)? as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Latencies while the tunnel is busy, and its throughput in Mbit/s.
fn measure(stand: &Stand, received: &AtomicU64) -> anyhow::Result<(Vec<Duration>, f64)> {
    let received = || received.load(Ordering::Relaxed);
    wait_until("the tunnel is busy", Duration::from_secs(20), || received() > 16 << 20)?;
    let (start, first) = (Instant::now(), received());
    let waits = waits(stand, 1000)?;
    let megabits = (received() - first) as f64 * 8e-6;
    Ok((waits, megabits / start.elapsed().as_secs_f64()))
}

#[test]
#[ignore = "needs root: make integration"]
fn status_responds_during_a_packet_flood() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
        let listener = stand.net.server.in_network(|| TcpListener::bind((SERVER.v4, LOAD_PORT)))??;
        std::thread::scope(|scope| {
            scope.spawn(|| send(&listener));
            let receiver = scope.spawn(|| stand.client().in_network(|| receive(&stop, &received)));
            let measured = measure(stand, &received);
            stop.store(true, Ordering::Relaxed);
            receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))??;
            let (waits, rate) = measured?;
            print(&format!("with {rate:.0} Mbit/s through the tunnel"), &waits);
            assert!(quantile(&waits, 990) < MAX_LATENCY);
            Ok(())
        })
    })
}
