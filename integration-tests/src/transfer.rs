//! A download whose pauses are measured while the network changes.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{netns::Host, process::wait_until, topology::SERVER, web};

/// The receiver fails after this long without data.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The progress of a download.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    given_up: AtomicBool,
}

/// The result of a download.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// The longest time without data.
    pub longest_gap: Duration,
}

impl Progress {
    /// Waits until so many more kibibytes have arrived. Returns how long that took.
    pub fn moves(&self, kibibytes: u64, timeout: Duration) -> anyhow::Result<Duration> {
        let (start, goal) = (Instant::now(), self.bytes.load(Ordering::Relaxed) + (kibibytes << 10));
        wait_until("the download moves on", timeout, || self.bytes.load(Ordering::Relaxed) >= goal)?;
        Ok(start.elapsed())
    }
}

/// Downloads from the private server to `host`, one mebibyte per second, while `disturb` changes the network. Each byte is
/// checked.
pub fn disturbed(
    host: &Host,
    mebibytes: usize,
    disturb: impl FnOnce(&Progress) -> anyhow::Result<()>,
) -> anyhow::Result<Transfer> {
    download_from_during(SERVER.v4, host, mebibytes, disturb)
}

/// The same from another address of the server, for example a proxy address.
pub fn download_from_during(
    server: Ipv4Addr,
    host: &Host,
    mebibytes: usize,
    disturb: impl FnOnce(&Progress) -> anyhow::Result<()>,
) -> anyhow::Result<Transfer> {
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| host.in_network(|| receive(server, mebibytes, &progress)));
        let disturbed = progress.moves(256, Duration::from_secs(30)).and_then(|_| disturb(&progress));
        if disturbed.is_err() {
            progress.given_up.store(true, Ordering::Relaxed);
        }
        let received = receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        disturbed?;
        received?
    })
}

fn receive(server: Ipv4Addr, mebibytes: usize, progress: &Progress) -> anyhow::Result<Transfer> {
    let mut stream = TcpStream::connect(SocketAddr::from((server, 80))).context("cannot connect")?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET /slowly/{mebibytes} HTTP/1.0\r\nHost: server\r\n\r\n")?;

    let (mut received, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        let outcome = stream.read(&mut buffer);
        let silence = last.elapsed();
        // Before the first byte the server generates its response, which takes seconds for a long one.
        if !received.is_empty() {
            longest = longest.max(silence);
        }
        match outcome {
            Ok(0) => break,
            Ok(length) => {
                received.extend_from_slice(buffer.get(..length).unwrap_or_default());
                progress.bytes.store(received.len() as u64, Ordering::Relaxed);
                last = Instant::now();
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                ensure!(silence < TIMEOUT, "nothing came for {silence:?}");
                ensure!(!progress.given_up.load(Ordering::Relaxed), "given up");
            }
            Err(error) => return Err(error).context("the download broke"),
        }
    }
    let body = received.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4).context("no answer")?;
    let sum = web::sha256(received.get(body..).unwrap_or_default());
    ensure!(sum == web::checksum(mebibytes), "the download is not what the server has");
    Ok(Transfer { longest_gap: longest })
}
