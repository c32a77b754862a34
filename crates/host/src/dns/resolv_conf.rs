//! The text of `/etc/resolv.conf` (resolv.conf(5)): parsing it, and generating ours.
//!
//! Works on bytes and lines, and keeps every line that does not have to change, unknown ones included: a host must not lose
//! name resolution because of a new directive in this file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use model::address_plan;

use session::DnsConfig;

/// A file that starts with this line was written by us or by the official client, and the original is in the backup.
const MARKER: &[u8] = b"# BEGIN Firezone DNS configuration";

/// Whether `text` was written by us.
///
/// Also true for a file that ends within the marker: what remains if the daemon is killed while it restores the original.
pub(super) fn is_ours(text: &[u8]) -> bool {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    first == MARKER || (!text.is_empty() && MARKER.starts_with(text))
}

/// The usable nameservers of `text`, in order: no duplicates, no sentinels, no link-local ones (which need an interface).
pub(super) fn nameservers(text: &[u8]) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in lines(text) {
        if let Line::Nameserver(Some(server)) = Line::parse(line)
            && !address_plan::is_sentinel(server)
            && !is_link_local(server)
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    servers
}

/// `original`, with our nameservers, with our search list if we have one, and with `ndots` 1 so that names with a dot are tried
/// as they are; everything else stays.
pub(super) fn ours(original: &[u8], dns: &DnsConfig, backup: &Path) -> Vec<u8> {
    let mut text = header(backup);
    let mut ndots_is_set = false;

    for line in lines(original) {
        match Line::parse(line) {
            Line::Nameserver(_) => {}
            Line::Search if dns.search_domain.is_some() => {}
            Line::Options(options) => {
                ndots_is_set |= options.iter().any(|option| is_ndots(option));
                let options: Vec<&[u8]> = options.iter().map(|o| if is_ndots(o) { b"ndots:1" } else { *o }).collect();
                push_line(&mut text, &[b"options ".as_slice(), &options.join(&b' ')].concat());
            }
            Line::Search | Line::Other => push_line(&mut text, line),
        }
    }
    if !ndots_is_set {
        push_line(&mut text, b"options ndots:1");
    }
    // The last of `search` and `domain` wins.
    if let Some(domain) = &dns.search_domain {
        push_line(&mut text, format!("search {domain}").as_bytes());
    }
    for server in &dns.servers {
        push_line(&mut text, format!("nameserver {server}").as_bytes());
    }
    text
}

/// A file of ours without our header and nameservers: the best approximation if the backup is missing.
pub(super) fn without_us(text: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    let header = header(Path::new("")).split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    for line in lines(text).skip(header) {
        match Line::parse(line) {
            Line::Nameserver(Some(server)) if address_plan::is_sentinel(server) => {}
            _ => push_line(&mut rest, line),
        }
    }
    rest
}

/// The marker and an explanation for administrators.
fn header(backup: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    push_line(&mut text, MARKER);
    push_line(
        &mut text,
        b"# Written by firezoned, which puts the original back when it ends. If it is not running, it",
    );
    push_line(
        &mut text,
        b"# was killed: start it once, or copy the original back yourself. To keep changes, delete these",
    );
    push_line(&mut text, format!("# four lines. The original: {}", backup.display()).as_bytes());
    text
}

/// One parsed line.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// `None` if the address is invalid.
    Nameserver(Option<IpAddr>),
    Search,
    Options(Vec<&'a [u8]>),
    Other,
}

impl<'a> Line<'a> {
    /// The C library requires the keyword at the very start of the line and white space behind it.
    fn parse(line: &'a [u8]) -> Self {
        let mut words = line.split(u8::is_ascii_whitespace);
        let keyword = words.next().unwrap_or_default();
        let mut words = words.filter(|word| !word.is_empty());
        match keyword {
            b"nameserver" => Self::Nameserver(words.next().and_then(nameserver)),
            b"search" => Self::Search,
            b"options" => Self::Options(words.collect()),
            _ => Self::Other,
        }
    }
}

/// An address, without its interface (`%eth0`). The C library treats the unspecified address as localhost.
fn nameserver(word: &[u8]) -> Option<IpAddr> {
    let word = std::str::from_utf8(word).ok()?;
    let address = word.split_once('%').map_or(word, |(address, _interface)| address);
    match address.parse().ok()? {
        IpAddr::V4(ip) if ip.is_unspecified() => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ip => Some(ip),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn is_ndots(option: &[u8]) -> bool {
    option.starts_with(b"ndots:")
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n').filter(move |_| !text.is_empty())
}

fn push_line(text: &mut Vec<u8>, line: &[u8]) {
    text.extend_from_slice(line);
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOLVED_STUB: &str = "# This is /run/systemd/resolve/stub-resolv.conf managed by man:systemd-resolved(8).\n\
        # Do not edit.\n\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
    const NETWORK_MANAGER: &str = "# Generated by NetworkManager\nsearch example.lan\nnameserver 192.168.1.1\n\
        nameserver 2001:db8::1%eno1\nnameserver fe80::1%eno1\n";
    const CONTAINER: &str =
        "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local\noptions ndots:5\n";

    fn dns() -> DnsConfig {
        DnsConfig {
            servers: vec!["100.100.111.1".parse().unwrap(), "fd00:2021:1111:8000:100:100:111:0".parse().unwrap()],
            port: None,
            search_domain: None,
        }
    }

    fn body(original: &str, dns: &DnsConfig) -> String {
        let text = String::from_utf8(ours(original.as_bytes(), dns, Path::new("/etc/backup"))).unwrap();
        text.lines().skip(4).map(|line| format!("{line}\n")).collect()
    }

    fn servers(text: &str) -> Vec<String> {
        nameservers(text.as_bytes()).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn nameservers_are_read_from_common_files() {
        assert_eq!(servers(RESOLVED_STUB), ["127.0.0.53"]);
        assert_eq!(servers(NETWORK_MANAGER), ["192.168.1.1", "2001:db8::1"]);
        assert_eq!(servers(CONTAINER), ["10.96.0.10"]);
        assert!(servers("").is_empty());
        assert_eq!(servers("nameserver\t1.1.1.1  # the first"), ["1.1.1.1"]);
        assert_eq!(servers("nameserver 1.1.1.1\r\nnameserver 1.1.1.1\n"), ["1.1.1.1"]);
        assert_eq!(servers("nameserver 0.0.0.0\n"), ["127.0.0.1"]);
    }

    #[test]
    fn invalid_nameserver_lines_are_skipped() {
        assert!(
            servers("#nameserver 1.1.1.1\n nameserver 1.1.1.1\nnameservers 1.1.1.1\nnameserver dns.example\n")
                .is_empty()
        );
        assert!(nameservers(b"nameserver \xff\xfe\n\x00\x00\nnameserver").is_empty());
    }

    #[test]
    fn sentinels_are_not_host_resolvers() {
        assert_eq!(
            servers("nameserver 100.100.111.1\nnameserver 9.9.9.9\nnameserver fd00:2021:1111:8000:100:100:111:3\n"),
            ["9.9.9.9"]
        );
    }

    #[test]
    fn only_nameservers_and_ndots_change() {
        assert_eq!(
            body(CONTAINER, &dns()),
            "search default.svc.cluster.local svc.cluster.local\noptions ndots:1\n\
             nameserver 100.100.111.1\nnameserver fd00:2021:1111:8000:100:100:111:0\n"
        );
        assert_eq!(
            body(
                "nameserver 1.1.1.1\nsortlist 130.155.160.0\nfuture directive\n; comment\noptions edns0 rotate",
                &dns()
            ),
            "sortlist 130.155.160.0\nfuture directive\n; comment\noptions edns0 rotate\noptions ndots:1\n\
             nameserver 100.100.111.1\nnameserver fd00:2021:1111:8000:100:100:111:0\n"
        );
    }

    #[test]
    fn search_domain_replaces_search_and_follows_domain() {
        let dns = DnsConfig { search_domain: Some("corp.example".to_owned()), ..dns() };
        assert_eq!(
            body("domain home.lan\nsearch home.lan\nnameserver 1.1.1.1\n", &dns),
            "domain home.lan\noptions ndots:1\nsearch corp.example\n\
             nameserver 100.100.111.1\nnameserver fd00:2021:1111:8000:100:100:111:0\n"
        );
    }

    #[test]
    fn garbage_lines_are_kept() {
        let garbage = b"\xff\xfe\x00\n\n nameserver 1.1.1.1\nno newline at the end";
        let text = ours(garbage, &dns(), Path::new("/b"));
        let kept = garbage.as_slice();
        assert!(text.windows(kept.len()).any(|window| window == kept));
    }

    #[test]
    fn marker_in_the_first_line_identifies_our_file() {
        assert!(is_ours(&ours(b"", &dns(), Path::new("/b"))));
        assert!(is_ours(b"# BEGIN Firezone DNS configuration\r\nnameserver 100.100.111.1\n"));
        assert!(is_ours(b"# BEGIN Firezone"), "cut off while the original was being put back");
        assert!(!is_ours(b""));
        assert!(!is_ours(b"# BEGIN something else\n"));
        assert!(!is_ours(b"\n# BEGIN Firezone DNS configuration\n"));
        assert!(!is_ours(b"nameserver 1.1.1.1\n# BEGIN Firezone DNS configuration\n"));
    }

    #[test]
    fn our_lines_can_be_stripped_without_a_backup() {
        let text = ours(b"domain home.lan\nnameserver 1.1.1.1\n", &dns(), Path::new("/b"));
        assert_eq!(without_us(&text), b"domain home.lan\noptions ndots:1\n");
    }

    #[test]
    fn truncated_and_corrupted_text_does_not_panic() {
        let text = ours(NETWORK_MANAGER.as_bytes(), &dns(), Path::new("/b"));
        for end in 0..=text.len() {
            let cut = &text[..end];
            let _ = (is_ours(cut), nameservers(cut), ours(cut, &dns(), Path::new("/b")), without_us(cut));
        }
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = (is_ours(&flipped), nameservers(&flipped), without_us(&flipped));
        }
    }
}
