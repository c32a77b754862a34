//! Resolvers on this host that ask us.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::*;
use crate::circle::Circle;

/// A forwarder that passes each question on to `next`, and counts them.
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
        while let Ok((length, asker)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            let (socket, next, query) = (socket.clone(), next.clone(), buffer[..length].to_vec());
            tokio::spawn(async move {
                let answer = ask_udp(next(), &query).await;
                drop(socket.send_to(&answer, asker).await);
            });
        }
    });
    (address, asked, tasks)
}

/// A resolver that answers by itself, and counts what it is asked.
async fn resolver() -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = socket.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut answer = read(&buffer[..length]);
            answer.metadata.message_type = MessageType::Response;
            drop(socket.send_to(&bytes(&answer), asker).await);
        }
    });
    (address, asked, tasks)
}

fn watchful() -> Forwarder {
    Forwarder::make(0, Limits { host: PATIENT, tunnel: PATIENT }, Roots::System, Some(Circle::default()))
}

#[test]
fn local_resolver_that_forwards_to_us_is_not_used() {
    run(async {
        let sentinel = free_address();
        let (resolver, asked, _forwarder) = forwarder(move || sentinel).await;
        let watchful = watchful();
        let decide = move |_: &Question, _: IpAddr| Some(forward(resolver, Via::Host));
        let (world, _learns) = World::on(sentinel, watchful.clone(), decide).await;

        for transport in BOTH {
            let reply = read(&world.ask(transport, &bytes(&query(7, "a.test.", RecordType::A))).await);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{transport}");
        }

        assert_eq!(asked.load(Ordering::Relaxed), 1, "one made-up question, and nothing of what was asked");
        let upstream = Upstream::Do53(resolver);
        assert_eq!(watchful.failure(&upstream), Some(crate::Failure::Circle));
    });
}

#[test]
fn local_resolver_that_forwards_elsewhere_is_used() {
    run(async {
        let (resolver, asked, _answering) = resolver().await;
        let decide = move |_: &Question, _: IpAddr| Some(forward(resolver, Via::Host));
        let (world, _learns) = World::on(free_address(), watchful(), decide).await;

        for id in 0..3 {
            let reply = read(&world.ask(Transport::Udp, &bytes(&query(id, "a.test.", RecordType::A))).await);
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        }

        assert_eq!(asked.load(Ordering::Relaxed), 4, "three questions, and a made-up one before the first");
    });
}

#[test]
fn local_resolver_that_starts_forwarding_to_us_causes_no_storm() {
    run(async {
        let sentinel = free_address();
        let (outside, _, _answering) = resolver().await;
        let turned = Arc::new(AtomicBool::new(false));
        let whom = turned.clone();
        let (resolver, asked, _forwarder) =
            forwarder(move || if whom.load(Ordering::Relaxed) { sentinel } else { outside }).await;
        let decide = move |_: &Question, _: IpAddr| Some(forward(resolver, Via::Host));
        let (world, _learns) = World::on(sentinel, watchful(), decide).await;
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
