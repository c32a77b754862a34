//! The interface `.Diagnostics`.

use std::{collections::BTreeMap, fs::File, io::Read as _};

use dataplane::statistics::Snapshot;
use dbus_api::Error;
use model::SiteId;
use zbus::zvariant::{OwnedFd, Value};

use super::{EVERYTHING, TestBus, memory};
use crate::{DaemonRequest, DnsRequest};

#[tokio::test]
async fn path_of_a_resource_is_that_of_a_gateway_of_its_site() {
    let bus = TestBus::new(EVERYTHING).await;
    assert!(matches!(bus.diagnostics.path("nothing").await, Err(Error::NotFound(_))));
    let view = |gateway, site| tunnel::PathView {
        gateway: model::GatewayId::from_u128(gateway),
        site: Some(SiteId::from_u128(site)),
        path: None,
    };
    let now = event_loop::Clock::new().now();
    let mut publisher = bus.statistics.publisher();
    publisher.handle_request(now);
    publisher.handle_timeout(now, || Snapshot { paths: vec![view(1, 8), view(2, 7)], ..Snapshot::default() });
    let path = bus.diagnostics.path("wIKI").await.unwrap();
    assert_eq!((path.path.as_str(), path.site.as_deref()), ("connecting", Some("Berlin")));
    assert_eq!(path.gateway, Some(model::GatewayId::from_u128(2).to_string()));
}

#[tokio::test]
async fn invalid_log_filter_is_rejected() {
    let bus = TestBus::new(EVERYTHING).await;
    bus.diagnostics.set_log_filter("debug,tunnel=trace", 60).await.unwrap();
    bus.diagnostics.set_log_filter("", 0).await.unwrap();
    for (filter, seconds) in [("a=b=c=", 1), (&*"x".repeat(2000), 1), ("debug", u32::MAX)] {
        let refusal = bus.diagnostics.set_log_filter(filter, seconds).await.unwrap_err();
        assert!(matches!(refusal, Error::InvalidArgs(_)), "{refusal:?}");
    }
    let refusal = bus.diagnostics.set_log_filter("a=b=c=", 1).await.unwrap_err();
    assert!(refusal.to_string().contains("\"a=b=c=\" is not a log filter: a level "), "{refusal}");
}

/// What the daemon is asked meanwhile is answered as if there were no tunnel.
async fn without_a_tunnel<T>(bus: &mut TestBus, call: impl Future<Output = T>) -> T {
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            answer = &mut call => return answer,
            request = bus.accept() => assert!(
                matches!(request, DaemonRequest::Dns(DnsRequest::GetStatus(_))),
                "{request:?}"
            ),
        }
    }
}

#[tokio::test]
async fn all_or_the_named_checks_are_run() {
    let mut bus = TestBus::new(EVERYTHING).await;
    let diagnostics = bus.diagnostics.clone();
    let all = without_a_tunnel(&mut bus, diagnostics.run_checks(&[], BTreeMap::new())).await.unwrap();
    assert_eq!(all.len(), 18);
    assert!(all.iter().all(|it| !it.evidence.is_empty() && !it.result.as_str().is_empty()), "{all:?}");
    assert_eq!((all[0].id.as_str(), all[0].name.as_str(), all[0].result.as_str()), ("FZ001", "bus", "ok"));

    let two = without_a_tunnel(&mut bus, diagnostics.run_checks(&["FZ003", "FZ014"], BTreeMap::new())).await.unwrap();
    assert_eq!(two.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["FZ003", "FZ014"]);

    let refusal = bus.diagnostics.run_checks(&["FZ999"], BTreeMap::new()).await.unwrap_err();
    assert!(matches!(refusal, Error::NotFound(_)), "{refusal:?}");
    let unknown = BTreeMap::from([("upload", Value::from(true))]);
    let none: [&str; 0] = [];
    let refusal = bus.diagnostics.inner().call::<_, _, ()>("RunChecks", &(&none[..], unknown)).await.unwrap_err();
    assert!(matches!(Error::from(refusal), Error::InvalidArgs(_)));
}

#[tokio::test]
async fn report_is_written_to_a_memfd_without_private_data() {
    let mut bus = TestBus::new(EVERYTHING).await;
    let diagnostics = bus.diagnostics.clone();
    let fd = std::os::fd::OwnedFd::from(memory());
    let theirs = OwnedFd::from(fd.try_clone().unwrap());
    without_a_tunnel(&mut bus, diagnostics.collect(theirs, BTreeMap::new())).await.unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let mut text = String::new();
    File::open(path).unwrap().read_to_string(&mut text).unwrap();

    let report = doctor::Report::from_json(&text).unwrap();
    assert_eq!(report.session.as_ref().unwrap().state, dbus_api::State::Connected);
    assert_eq!(report.resources.len(), 2);
    assert_eq!(report.checks.len(), 18);
    for private in ["acme", "Wiki", "wiki.example", "Berlin"] {
        assert!(!text.contains(private), "{private} in {text}");
    }
}

#[tokio::test]
async fn report_is_written_to_memfds_only() {
    let bus = TestBus::new(EVERYTHING).await;
    let (_reader, pipe) = std::io::pipe().unwrap();
    for fd in [
        std::os::fd::OwnedFd::from(File::open("/").unwrap()),
        File::options().write(true).open("/dev/null").unwrap().into(),
        pipe.into(),
    ] {
        let refusal = bus.diagnostics.collect(OwnedFd::from(fd), BTreeMap::new()).await.unwrap_err();
        assert!(matches!(refusal, Error::InvalidArgs(_)), "{refusal:?}");
    }
}
