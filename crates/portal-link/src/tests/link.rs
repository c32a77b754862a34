//! The link against a portal.

use std::time::Duration;

use ::portal::{ConnectionError, DialError, Outage, SessionEnd, TokenRejection};
use model::{FromPortal, GatewayId, PeerId, ResourceId, ToPortal};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use super::{
    super::{Command, Event, Link},
    portal_double::{BlackHole, Hosts, Peer, Portal, TOKEN, certificate, key, link, named_link, next, skip},
};

fn candidates(line: &str) -> ToPortal {
    ToPortal::NewIceCandidates { peer: PeerId::Gateway(GatewayId::from_u128(1)), candidates: vec![line.to_owned()] }
}

async fn lost(link: &mut Link) -> (ConnectionError, Duration) {
    match next(link).await {
        Some(Event::Disconnected { error, retry }) => (error, retry.after),
        other => panic!("{other:?}"),
    }
}

async fn joined(link: &mut Link) {
    assert!(matches!(next(link).await, Some(Event::Joined)));
    assert!(matches!(next(link).await, Some(Event::Message(FromPortal::Init(_)))));
}

#[tokio::test]
async fn session_from_upgrade_to_close() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    let mut peer = portal.accept_and_join().await;
    joined(&mut link).await;

    assert!(
        peer.uri.starts_with("/client/v2/websocket?external_id=test-device&name=Test+device&public_key="),
        "{}",
        peer.uri
    );
    assert!(!peer.uri.contains("vsn") && !peer.uri.contains("token"));
    assert_eq!(peer.header("x-authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert!(peer.header("user-agent").unwrap().contains(" headless-client/1.5.12 firezoned/"));
    assert_eq!(peer.header("host"), Some(portal.address().to_string().as_str()));
    for absent in ["origin", "authorization", "sec-websocket-protocol", "sec-websocket-extensions"] {
        assert_eq!(peer.header(absent), None);
    }

    let resource = ResourceId::from_u128(7);
    let request = ToPortal::RequestAuthorization { resource, connected_gateways: Vec::new(), device: None };
    link.commands.send(Command::Send(request)).await.unwrap();
    let received = peer.receive().await;
    assert_eq!(received["event"], "request_authorization");
    assert_eq!(received["ref"], 1);

    peer.push("resource_deleted", json!(resource)).await;
    assert!(matches!(next(&mut link).await, Some(Event::Message(FromPortal::ResourceDeleted(id))) if id == resource));

    link.commands.send(Command::Close).await.unwrap();
    assert_eq!(peer.closed().await, Some(1000));
    link.task.await.unwrap();
    assert!(link.events.recv().await.is_none());
}

#[tokio::test]
async fn heartbeats_keep_their_period_under_traffic() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    let mut peer = portal.accept_and_join().await;
    joined(&mut link).await;
    for number in 0..5 {
        skip(Duration::from_secs(5)).await;
        link.commands.send(Command::Send(candidates(&format!("candidate:{number}")))).await.unwrap();
        assert_eq!(peer.receive().await["event"], "new_gateway_ice_candidates");
        skip(Duration::from_secs(5)).await;
        let frame = peer.receive().await;
        assert_eq!((frame["topic"].as_str(), frame["event"].as_str()), (Some("phoenix"), Some("heartbeat")));
        peer.reply(&frame).await;
    }
}

#[tokio::test]
async fn unresponsive_portal_is_left_after_four_heartbeats() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    let mut peer = portal.accept_and_join().await;
    joined(&mut link).await;
    for _ in 0..4 {
        skip(Duration::from_secs(10)).await;
        assert_eq!(peer.receive().await["event"], "heartbeat");
    }
    let (error, after) = lost(&mut link).await;
    assert_eq!(error, ConnectionError::HeartbeatTimedOut);
    skip(after).await;
    assert_eq!(peer.closed().await, Some(1000));
    portal.accept_and_join().await;
    joined(&mut link).await;
}

#[tokio::test]
async fn silent_server_times_out_after_15_seconds() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    let (_silent, _) = portal.listener.accept().await.unwrap();
    skip(Duration::from_secs(15)).await;
    let (error, after) = lost(&mut link).await;
    assert_eq!(error, ConnectionError::ConnectTimedOut);
    skip(after).await;
    portal.accept_and_join().await;
    joined(&mut link).await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    portal.refuse(&["HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"]).await;
    let (error, after) = lost(&mut link).await;
    assert!(matches!(error, ConnectionError::Rejected(rejection) if rejection.status == 503));
    assert_eq!(after, Duration::from_secs(60));
    skip(after).await;
    portal.accept_and_join().await;
    joined(&mut link).await;
}

#[tokio::test]
async fn split_body_of_a_401_ends_the_session() {
    let body = r#"{"type":"about:blank","status":401,"code":"invalid_token"}"#;
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    let chunks = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
    for (head, rest) in [(length.as_str(), body), (chunks.as_str(), "0\r\n\r\n"), ("\r\n", body)] {
        let portal = Portal::new().await;
        let mut link = portal.link();
        portal
            .refuse(&["HTTP/1.1 401 Unauthorized\r\n", "Content-Type: application/problem+json\r\n", head, rest])
            .await;
        assert!(
            matches!(
                next(&mut link).await,
                Some(Event::Ended(SessionEnd::TokenRejected(TokenRejection::InvalidToken)))
            ),
            "{head}"
        );
        assert!(next(&mut link).await.is_none());
        link.task.await.unwrap();
    }
}

#[tokio::test]
async fn captive_portal_does_not_cost_the_token() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    portal.refuse(&["HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html\r\n\r\n", "<h1>Welcome</h1>"]).await;
    let Some(Event::Disconnected { error, retry }) = next(&mut link).await else { panic!("ended") };
    assert!(
        matches!(error, ConnectionError::Rejected(rejection) if rejection.status == 401 && rejection.code.is_none())
    );
    assert!(retry.after >= Duration::from_secs(30));
    assert_eq!(retry.outage, Outage::Lasting);
    skip(retry.after).await;
    portal.accept_and_join().await;
    joined(&mut link).await;
}

#[tokio::test]
async fn server_without_websocket_is_not_a_portal() {
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "\u{1}\u{2}\u{3}"] {
        let portal = Portal::new().await;
        let mut link = portal.link();
        portal.refuse(&[answer]).await;
        assert_eq!(lost(&mut link).await.0, ConnectionError::Dial(DialError::NotAPortal), "{answer:?}");
    }
}

#[tokio::test]
async fn candidates_gathered_during_a_portal_restart_are_sent_once() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    let mut peer = portal.accept_and_join().await;
    joined(&mut link).await;
    peer.close(Some(CloseFrame { code: CloseCode::Restart, reason: "drain".into() })).await;
    let (error, after) = lost(&mut link).await;
    assert_eq!(error, ConnectionError::Closed(Some(1012)));

    link.commands.send(Command::Send(candidates("candidate:a 1 udp 2 192.0.2.1 1 typ host"))).await.unwrap();
    link.commands.send(Command::Send(ToPortal::NoRelays)).await.unwrap();
    tokio::task::yield_now().await;
    skip(after).await;
    let mut peer = portal.accept_and_join().await;
    joined(&mut link).await;
    let sent = peer.receive().await;
    assert_eq!(sent["event"], "new_gateway_ice_candidates");
    assert_eq!(sent["ref"], 1, "refs restart");
    skip(Duration::from_secs(10)).await;
    assert_eq!(peer.receive().await["event"], "heartbeat", "other messages sent while disconnected are dropped");
}

#[tokio::test]
async fn close_frame_is_answered_with_and_without_a_code() {
    for (frame, code) in
        [(Some(CloseFrame { code: CloseCode::Away, reason: "not {json".into() }), Some(1001)), (None, None)]
    {
        let portal = Portal::new().await;
        let mut link = portal.link();
        let mut peer = portal.accept_and_join().await;
        joined(&mut link).await;
        peer.close(frame).await;
        assert_eq!(lost(&mut link).await.0, ConnectionError::Closed(code));
        assert_eq!(peer.closed().await, code, "the same code is returned");
    }
}

#[tokio::test]
async fn binary_frames_are_skipped() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    let mut peer = portal.accept_and_join().await;
    joined(&mut link).await;
    peer.send_binary(b"{").await;
    peer.push("resource_deleted", json!(ResourceId::from_u128(7))).await;
    assert!(matches!(next(&mut link).await, Some(Event::Message(FromPortal::ResourceDeleted(_)))));
}

#[tokio::test]
async fn frames_of_a_superseded_socket_are_ignored() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    let mut old = portal.accept_and_join().await;
    joined(&mut link).await;

    link.commands.send(Command::Reconnect { public_key: key(2) }).await.unwrap();
    let mut new = portal.accept().await;
    assert!(new.uri.contains("AgICAgIC"), "the new key is in the request: {}", new.uri);
    // The portal evicts the older of two connections of one device with this message.
    let _ =
        tokio::time::timeout(Duration::from_millis(1), old.push("disconnect", json!({ "reason": "token_expired" })))
            .await;
    new.join().await;
    assert!(matches!(next(&mut link).await, Some(Event::Joined)));
}

#[tokio::test]
async fn token_expired_ends_the_session() {
    let portal = Portal::new().await;
    let mut link = portal.link();
    let mut peer = portal.accept_and_join().await;
    joined(&mut link).await;
    peer.push("disconnect", json!({ "reason": "token_expired" })).await;
    assert!(matches!(
        next(&mut link).await,
        Some(Event::Ended(SessionEnd::TokenRejected(TokenRejection::TokenExpired)))
    ));
    assert_eq!(peer.closed().await, Some(1000));
    assert!(next(&mut link).await.is_none());
}

#[tokio::test]
async fn unreachable_portal_is_retried_until_it_answers() {
    let gone = Portal::new().await;
    let address = gone.address();
    drop(gone);
    let mut link = link(&format!("ws://{address}"));
    let mut lasting = 0;
    for _ in 0..30 {
        let Some(Event::Disconnected { error, retry }) = next(&mut link).await else { panic!("ended") };
        assert_eq!(error, ConnectionError::Dial(DialError::Unreachable));
        lasting += u32::from(retry.outage == Outage::Lasting);
        skip(retry.after).await;
    }
    assert_eq!(lasting, 16, "the first 14 attempts are even and brief");
    assert!(matches!(next(&mut link).await, Some(Event::Disconnected { .. })));
    let back = Portal { listener: tokio::net::TcpListener::bind(address).await.unwrap() };
    // A change of the DNS servers ends the delay.
    link.commands.send(Command::Resolvers(vec![model::Resolver::plain("192.0.2.53".parse().unwrap())])).await.unwrap();
    back.accept_and_join().await;
    joined(&mut link).await;
}

#[tokio::test]
async fn unresponsive_address_does_not_delay_the_others() {
    let portal = Portal::new().await;
    let port = portal.address().port();
    let _hole = BlackHole::new(format!("127.0.0.2:{port}").parse().unwrap());
    let hosts = Hosts::new("127.0.0.2 portal.test\n127.0.0.1 portal.test\n");
    let mut link = named_link(&format!("ws://portal.test:{port}"), &hosts, Vec::new(), None);
    portal.accept_and_join().await;
    joined(&mut link).await;
}

#[tokio::test]
async fn a_session_over_tls() {
    let (acceptor, roots) = certificate();
    let portal = Portal::new().await;
    let hosts = Hosts::new("127.0.0.1 portal.test\n");
    let url = format!("wss://portal.test:{}", portal.address().port());
    let mut link = named_link(&url, &hosts, Vec::new(), Some(roots));
    let stream = acceptor.accept(portal.listener.accept().await.unwrap().0).await.unwrap();
    assert_eq!(stream.get_ref().1.server_name(), Some("portal.test"));
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let mut peer = Peer::upgrade(stream).await;
    peer.join().await;
    assert!(matches!(next(&mut link).await, Some(Event::Joined)));
    drop(link);
    assert_eq!(peer.closed().await, Some(1000));
}

#[tokio::test]
async fn untrusted_certificate_is_reported_and_retried() {
    let (acceptor, _) = certificate();
    let portal = Portal::new().await;
    let hosts = Hosts::new("127.0.0.1 portal.test\n");
    let url = format!("wss://portal.test:{}", portal.address().port());
    let mut link = named_link(&url, &hosts, Vec::new(), None);
    assert!(acceptor.accept(portal.listener.accept().await.unwrap().0).await.is_err());
    let (error, after) = lost(&mut link).await;
    assert_eq!(error, ConnectionError::Dial(DialError::Certificate));
    skip(after).await;
    assert!(acceptor.accept(portal.listener.accept().await.unwrap().0).await.is_err());
}
