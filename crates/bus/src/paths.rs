//! How the gateways are reached, as the packet thread has just said.
//!
//! It has packets to carry and a processor to wait for, and whoever asks for the status again and again shall wait for neither.
//! So an answer is good for [`GOOD_FOR`], and while somebody goes on asking it is renewed behind their backs, by one question
//! at a time. Whoever asks now and then has it from the packet thread itself; while nobody asks, nobody does anything.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use tunnel::PathView;

/// For how long an answer is good.
const GOOD_FOR: Duration = Duration::from_millis(250);
/// When whoever gets it has it renewed.
const RENEWED_AFTER: Duration = Duration::from_millis(100);

/// The last answer.
#[derive(Clone, Debug)]
pub struct Paths(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    last: Mutex<Option<Answer>>,
    /// Whose turn it is to ask.
    turn: Semaphore,
}

#[derive(Clone, Debug)]
struct Answer {
    paths: Arc<[PathView]>,
    asked: Instant,
    generation: u64,
}

impl Default for Paths {
    fn default() -> Self {
        Self(Arc::new(Shared { last: Mutex::default(), turn: Semaphore::new(1) }))
    }
}

impl Paths {
    /// The paths while the session is in this generation: the last answer, if it is good and of the same, or what `ask` says.
    pub(super) async fn get<F>(&self, generation: u64, ask: impl FnOnce() -> F) -> Arc<[PathView]>
    where
        F: Future<Output = Vec<PathView>> + Send + 'static,
    {
        let called = Instant::now();
        if let Some(answer) = self.last(generation, called) {
            if answer.asked.elapsed() >= RENEWED_AFTER && self.0.turn.available_permits() > 0 {
                let (this, question) = (self.clone(), ask());
                tokio::spawn(async move {
                    if let Ok(_turn) = this.0.turn.try_acquire() {
                        this.put(generation, question).await;
                    }
                });
            }
            return answer.paths;
        }
        let _turn = self.0.turn.acquire().await;
        match self.last(generation, called) {
            // Somebody has asked for everybody meanwhile, however long it took.
            Some(answer) => answer.paths,
            None => self.put(generation, ask()).await,
        }
    }

    /// The last answer, if it is good: young enough, or asked for since then.
    fn last(&self, generation: u64, since: Instant) -> Option<Answer> {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good =
            |it: &&Answer| it.generation == generation && (it.asked.elapsed() < GOOD_FOR || it.asked >= since);
        last.as_ref().filter(is_good).cloned()
    }

    async fn put(&self, generation: u64, question: impl Future<Output = Vec<PathView>>) -> Arc<[PathView]> {
        let asked = Instant::now();
        let paths = Arc::from(question.await);
        let answer = Answer { paths: Arc::clone(&paths), asked, generation };
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        paths
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A packet thread that takes its time. Its n-th answer has n paths.
    struct PacketThread {
        asked: Arc<AtomicU32>,
        time: Duration,
    }

    impl Default for PacketThread {
        fn default() -> Self {
            Self { asked: Arc::default(), time: Duration::from_millis(20) }
        }
    }

    impl PacketThread {
        fn ask(&self) -> impl Future<Output = Vec<PathView>> + Send + 'static {
            let (asked, time) = (Arc::clone(&self.asked), self.time);
            async move {
                let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::time::sleep(time).await;
                (0..number)
                    .map(|_| PathView { gateway: model::GatewayId::from_u128(1), site: None, path: None })
                    .collect()
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_now_and_then_has_it_from_the_packet_thread() {
        let (paths, thread) = (Paths::default(), PacketThread::default());
        for number in 1..4 {
            assert_eq!(paths.get(1, || thread.ask()).await.len(), number);
            tokio::time::advance(GOOD_FOR).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_again_and_again_waits_once_and_gets_what_is_new() {
        let (paths, thread) = (Paths::default(), PacketThread::default());
        let start = Instant::now();
        paths.get(1, || thread.ask()).await;
        assert_eq!(start.elapsed(), thread.time);
        let mut newest = 1;
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_millis(2)).await;
            let before = Instant::now();
            newest = paths.get(1, || thread.ask()).await.len();
            assert_eq!(before.elapsed(), Duration::ZERO);
        }
        assert!((15..=21).contains(&newest), "{newest} answers in two seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_a_question() {
        let (paths, thread) = (Paths::default(), PacketThread::default());
        let all = (0..50).map(|_| paths.get(1, || thread.ask()));
        assert!(futures_util::future::join_all(all).await.iter().all(|paths| paths.len() == 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_packet_thread_that_is_slow_is_waited_for_twice_at_most() {
        let (paths, thread) =
            (Paths::default(), PacketThread { time: Duration::from_secs(1), ..PacketThread::default() });
        let start = Instant::now();
        futures_util::future::join_all((0..50).map(|_| paths.get(1, || thread.ask()))).await;
        assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn another_session_has_other_paths() {
        let (paths, thread) = (Paths::default(), PacketThread::default());
        paths.get(1, || thread.ask()).await;
        assert_eq!(paths.get(2, || thread.ask()).await.len(), 2);
    }
}
