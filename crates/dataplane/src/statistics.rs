//! Statistics of the packet thread, published for readers outside of it.
//!
//! The packet thread publishes a snapshot when a reader asks for one, and then four times a second while readers keep
//! asking. A reader gets a recent snapshot without waiting; only the first one after a pause waits for the packet thread,
//! and for a bounded time. Without readers the packet thread does nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::Deadline;
use tokio::sync::{Notify, watch};
use tunnel::PathView;

/// Interval of publications while readers keep asking.
const PUBLICATION_INTERVAL: Duration = Duration::from_millis(250);
/// A snapshot up to this age is returned without waiting. It spans several intervals, because a busy packet thread may be
/// late.
const MAX_AGE: Duration = Duration::from_secs(1);
/// How long a reader waits for a recent snapshot before it gets the last one.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// What the packet thread knows about its connections and dropped packets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The path to each gateway.
    pub paths: Vec<PathView>,
    /// Number of dropped packets and datagrams, by the name of the reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// Access to the statistics of the current data plane, across sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Statistics(Arc<Shared>);

/// Publishes the statistics of one data plane. When it is dropped, the statistics are empty.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    number: u64,
    published_at: Option<Instant>,
    due_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Shared {
    state: watch::Sender<State>,
    /// The number of the latest publisher; earlier ones may not publish any more.
    publisher: AtomicU64,
    /// Whether a reader asked since the last publication.
    is_requested: AtomicBool,
    /// Wakes the packet thread for the first request since the last publication.
    request: Notify,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// There is no data plane.
    #[default]
    Stopped,
    /// The data plane has not published anything yet.
    Starting,
    /// The last snapshot and its time.
    Published(Arc<Snapshot>, tokio::time::Instant),
}

impl Statistics {
    /// Reads a recent snapshot. It is empty without a data plane.
    pub async fn read(&self) -> Arc<Snapshot> {
        let mut state = self.0.state.subscribe();
        if !self.0.is_requested.swap(true, Ordering::Relaxed) {
            self.0.request.notify_one();
        }
        // If the packet thread is too busy to publish, the last snapshot has to do.
        let recent = tokio::time::timeout(READ_TIMEOUT, state.wait_for(State::is_recent)).await;
        let recent = recent.ok().and_then(Result::ok).map(|state| state.snapshot());
        recent.unwrap_or_else(|| self.0.state.borrow().snapshot())
    }

    /// A publisher for a new data plane.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        let shared = Arc::clone(&self.0);
        let number = shared.publisher.fetch_add(1, Ordering::AcqRel) + 1;
        shared.state.send_replace(State::Starting);
        // Requests that the previous data plane did not answer are answered by this one.
        shared.request.notify_one();
        Publisher { shared, number, published_at: None, due_at: None }
    }
}

impl Publisher {
    /// Completes when a reader needs a publication; [`Self::handle_request`] follows. Cancel-safe.
    pub async fn requested(&self) {
        self.shared.request.notified().await;
    }

    /// Schedules the publication for a reader.
    pub fn handle_request(&mut self, now: Instant) {
        let earliest = self.published_at.map_or(now, |at| at + PUBLICATION_INTERVAL);
        self.due_at.get_or_insert(earliest.max(now));
    }

    /// When the next publication is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.due_at.map(|at| Deadline { at, reason: "statistics are published" })
    }

    /// Publishes the current statistics if they are due.
    pub fn handle_timeout(&mut self, now: Instant, current: impl FnOnce() -> Snapshot) {
        if self.due_at.is_none_or(|at| now < at) {
            return;
        }
        self.published_at = Some(now);
        // Publications continue while readers asked since the last one.
        let is_requested = self.shared.is_requested.swap(false, Ordering::Relaxed);
        self.due_at = is_requested.then(|| now + PUBLICATION_INTERVAL);
        self.set(State::Published(Arc::new(current()), tokio::time::Instant::now()));
    }

    fn set(&self, state: State) {
        self.shared.state.send_if_modified(|current| {
            let is_latest = self.shared.publisher.load(Ordering::Acquire) == self.number;
            if is_latest {
                *current = state;
            }
            is_latest
        });
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.set(State::Stopped);
    }
}

impl State {
    fn is_recent(&self) -> bool {
        match self {
            Self::Stopped => true,
            Self::Starting => false,
            Self::Published(_, at) => at.elapsed() <= MAX_AGE,
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        match self {
            Self::Stopped | Self::Starting => Arc::default(),
            Self::Published(snapshot, _) => Arc::clone(snapshot),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use futures_util::future::join_all;

    use super::*;

    /// A packet thread that takes `delay` for each round. The n-th snapshot reports n dropped packets.
    async fn packet_thread(mut publisher: Publisher, delay: Duration, publications: Arc<AtomicU64>) {
        loop {
            let due = publisher.poll_timeout().map(|due| due.at);
            tokio::select! {
                () = publisher.requested() => publisher.handle_request(now()),
                () = sleep_until(due) => {}
            }
            tokio::time::sleep(delay).await;
            publisher.handle_timeout(now(), || {
                let number = publications.fetch_add(1, Ordering::Relaxed) + 1;
                Snapshot { paths: Vec::new(), dropped: [("filtered", number)].into() }
            });
        }
    }

    /// Statistics whose packet thread takes `delay` for each round, and the number of its publications.
    async fn statistics(delay: Duration) -> (Statistics, Arc<AtomicU64>) {
        let (statistics, publications) = (Statistics::default(), Arc::default());
        tokio::spawn(packet_thread(statistics.publisher(), delay, Arc::clone(&publications)));
        tokio::task::yield_now().await;
        (statistics, publications)
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    async fn sleep_until(at: Option<Instant>) {
        match at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    async fn dropped(statistics: &Statistics) -> u64 {
        statistics.read().await.dropped.values().sum()
    }

    #[tokio::test(start_paused = true)]
    async fn occasional_reader_gets_fresh_statistics() {
        let (statistics, publications) = statistics(Duration::from_millis(20)).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let before = publications.load(Ordering::Relaxed);
            assert_eq!(dropped(&statistics).await, before + 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frequent_reader_never_waits_and_gets_updates() {
        let (statistics, publications) = statistics(Duration::from_millis(20)).await;
        dropped(&statistics).await;
        let (start, mut newest) = (publications.load(Ordering::Relaxed), 0);
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let before = tokio::time::Instant::now();
            newest = dropped(&statistics).await;
            assert_eq!(before.elapsed(), Duration::ZERO);
        }
        assert!((6..=9).contains(&(newest - start)), "{} publications in two seconds", newest - start);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_published_without_readers() {
        let (statistics, publications) = statistics(Duration::ZERO).await;
        dropped(&statistics).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = publications.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(publications.load(Ordering::Relaxed), before);
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_readers_share_a_publication() {
        let (statistics, publications) = statistics(Duration::from_millis(20)).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = publications.load(Ordering::Relaxed);
        let all = join_all((0..50).map(|_| dropped(&statistics))).await;
        assert!(all.iter().all(|number| *number == before + 1), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn busy_packet_thread_delays_readers_for_a_bounded_time() {
        let (statistics, _) = statistics(Duration::from_secs(60)).await;
        let start = tokio::time::Instant::now();
        assert!(join_all((0..50).map(|_| dropped(&statistics))).await.iter().all(|number| *number == 0));
        assert!(start.elapsed() <= READ_TIMEOUT, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn stopped_data_plane_has_no_statistics() {
        let statistics = Statistics::default();
        assert_eq!(*statistics.read().await, Snapshot::default());

        let mut publisher = statistics.publisher();
        publisher.handle_request(now());
        publisher.handle_timeout(now(), || Snapshot { dropped: [("filtered", 1)].into(), ..Snapshot::default() });
        assert_eq!(dropped(&statistics).await, 1);

        let next = statistics.publisher();
        assert_eq!(dropped(&statistics).await, 0, "the previous session's statistics are gone");
        drop(publisher);
        assert!(!statistics.0.state.borrow().is_recent(), "the previous publisher does not stop the next one");
        drop(next);
        assert_eq!(*statistics.read().await, Snapshot::default());
    }
}
