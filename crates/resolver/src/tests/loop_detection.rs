//! Resolvers on this host that forward to us.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::*;
use crate::loop_detection::LoopDetector;

/// A resolver that forwards each query to `next`, and counts them.
async fn forwarder(
    next: impl Fn() -> SocketAddr + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"));
    let address = socket.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, next) = (asked.clone(), Arc::new(next));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            let (socket, next, query) = (socket.clone(), next.clone(), buffer[..length].to_vec());
            tokio::spawn(async move {
                let answer = ask_udp(next(), &query).await;
                drop(socket.send_to(&answer, client).await);
            });
        }
    });
    (address, asked, tasks)
}

/// A resolver that answers itself, and counts the queries.
async fn resolver() -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = socket.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut answer = read(&buffer[..length]);
            answer.metadata.message_type = MessageType::Response;
            drop(socket.send_to(&bytes(&answer), client).await);
        }
    });
    (address, asked, tasks)
}

fn detecting() -> Forwarder {
    Forwarder::make(
        0,
        Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT },
        Roots::System,
        Some(LoopDetector::default()),
    )
}

#[test]
fn local_resolver_that_forwards_to_us_is_not_used() {
    run(async {
        let sentinel = free_address();
        let (resolver, asked, _forwarder) = forwarder(move || sentinel).await;
        let detecting = detecting();
        let decide = move |_: &Question, _: IpAddr| Some(forward(resolver, Via::Host));
        let (world, _learns) = TestServer::on(sentinel, detecting.clone(), decide).await;

        for transport in BOTH {
            let reply = read(&world.ask(transport, &bytes(&query(7, "a.test.", RecordType::A))).await);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{transport}");
        }

        assert_eq!(asked.load(Ordering::Relaxed), 1, "one probe, and no forwarded query");
        let upstream = Upstream::Do53(resolver);
        assert_eq!(detecting.failure(&upstream), Some(crate::Failure::Loop));
    });
}

#[test]
fn local_resolver_that_forwards_elsewhere_is_used() {
    run(async {
        let (resolver, asked, _answering) = resolver().await;
        let decide = move |_: &Question, _: IpAddr| Some(forward(resolver, Via::Host));
        let (world, _learns) = TestServer::on(free_address(), detecting(), decide).await;

        for id in 0..3 {
            let reply = read(&world.ask(Transport::Udp, &bytes(&query(id, "a.test.", RecordType::A))).await);
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        }

        assert_eq!(asked.load(Ordering::Relaxed), 4, "three queries, and a probe before the first");
    });
}

#[test]
fn local_resolver_that_starts_forwarding_to_us_causes_no_storm() {
    run(async {
        let sentinel = free_address();
        let (outside, _, _answering) = resolver().await;
        let turned = Arc::new(AtomicBool::new(false));
        let is_looping = turned.clone();
        let (resolver, asked, _forwarder) =
            forwarder(move || if is_looping.load(Ordering::Relaxed) { sentinel } else { outside }).await;
        let decide = move |_: &Question, _: IpAddr| Some(forward(resolver, Via::Host));
        let (world, _learns) = TestServer::on(sentinel, detecting(), decide).await;
        let reply = read(&world.ask(Transport::Udp, &bytes(&query(1, "a.test.", RecordType::A))).await);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        let before = asked.load(Ordering::Relaxed);

        turned.store(true, Ordering::Relaxed);
        let reply = read(&world.ask(Transport::Udp, &bytes(&query(2, "b.test.", RecordType::A))).await);

        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        let times = asked.load(Ordering::Relaxed) - before;
        assert!(times <= 6, "asked {times} times");
    });
}
