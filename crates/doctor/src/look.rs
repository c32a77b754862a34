//! A look around: all facts at once, for whoever asks.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use tls::Roots;
use tokio::time::timeout;
use zbus::Connection;

use crate::{
    Facts, containers,
    portal::{self, Knock, Said},
    rules,
    unit::Unit,
};

/// Whose the daemon's configuration has to be.
const ROOT: u32 = 0;
/// How long each of other services, the kernel and files may take. What does not answer in time is not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How the existing client and ours are told by the environment where the portal is.
const API_URL: &str = "FIREZONE_API_URL";

/// Adds what can be found out here and now to what the caller knows of the daemon ([`Facts::daemon`],
/// [`Facts::permissions`], [`Facts::status`]; the default is a daemon that does not run). `bus` is the system bus, if there
/// is one. If nobody knows the state, the portal is asked for a sign of life.
///
/// Needs a tokio runtime, and no privileges. Takes some milliseconds, and at most 35 s on a machine where nothing answers.
#[expect(clippy::disallowed_methods, reason = "this is the edge of the crate: what it finds is of this moment")]
pub async fn look(known: Facts, bus: Option<&Connection>) -> Facts {
    let mut facts = known;
    if let Some(bus) = bus {
        drop(timeout(PATIENCE, facts.ask(bus)).await);
    }
    facts.rules = timeout(PATIENCE, rules::count()).await.ok().flatten();
    // Files may take their time; the caller's threads need not.
    let mut reading = facts.clone();
    let read = tokio::task::spawn_blocking(move || {
        reading.read(Path::new("/"), SystemTime::now());
        reading
    });
    if let Ok(Ok(read)) = timeout(PATIENCE, read).await {
        facts = read;
    }
    facts.bridges = containers::look(Path::new("/")).await;
    if facts.status.is_none() {
        facts.knock = knock(bus).await;
    }
    facts
}

/// Looks for the portal where a daemon would that does not run. Takes 12 s at most.
async fn knock(bus: Option<&Connection>) -> Option<Knock> {
    let unit = match bus {
        Some(bus) => timeout(PATIENCE, Unit::ask(bus)).await.ok().flatten(),
        None => None,
    };
    let own = std::env::var(API_URL).ok();
    let reading = tokio::task::spawn_blocking(move || Said::read(Path::new("/"), ROOT, unit.as_ref(), own));
    let said = timeout(PATIENCE, reading).await.ok()?.ok()?;
    Some(portal::knock(said, &Roots::System).await)
}

/// The same for a program that has no connection to the system bus, such as a front end that has found no daemon.
///
/// [`crate::checks::all`] says what the facts mean.
pub async fn look_from_outside(known: Facts) -> Facts {
    let bus = timeout(PATIENCE, Connection::system()).await;
    look(known, bus.ok().and_then(Result::ok).as_ref()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verdict, checks};

    #[tokio::test]
    async fn a_front_end_without_a_daemon_has_all_checks() {
        // A state that is known keeps the test from knocking at doors.
        let known = Facts { status: Some(dbus_api::Status::default()), ..Facts::default() };
        let found = checks::all(&look_from_outside(known).await);
        assert_eq!(found.len(), 18);
        assert_eq!((found[0].id.as_str(), &found[0].result), ("FZ001", &Verdict::Failed));
        // Only who has looked has a clock.
        assert_eq!(found[11].id, "FZ012");
        assert_ne!(found[11].result, Verdict::Failed);
    }
}
