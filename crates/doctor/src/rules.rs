//! The kernel's policy rules, as far as they are the daemon's.

use futures_util::StreamExt as _;
use rtnetlink::packet_route::rule::RuleAttribute;

/// The daemon's routing tables.
const TABLES: std::ops::RangeInclusive<u32> = 0x465a00..=0x465a02;

/// How many rules point to the daemon's tables; `None` if the kernel does not say. Needs no privileges, and a tokio
/// runtime.
pub async fn count() -> Option<usize> {
    let (connection, handle, _) = rtnetlink::new_connection().ok()?;
    let task = tokio::spawn(connection);
    let mut count = 0;
    for version in [rtnetlink::IpVersion::V4, rtnetlink::IpVersion::V6] {
        let mut rules = handle.rule().get(version).execute();
        while let Some(Ok(rule)) = rules.next().await {
            let is_ours = |it: &RuleAttribute| matches!(it, RuleAttribute::Table(table) if TABLES.contains(table));
            count += usize::from(rule.attributes.iter().any(is_ours));
        }
    }
    task.abort();
    Some(count)
}
