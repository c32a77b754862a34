//! What a knock at the portal's door means.

use std::io::ErrorKind;

use tls::CertificateProblem;

use super::{Finding, failed, ok, translatable, warning};
use crate::portal::{Knock, Outcome};

const NOBODY_CAN: &str = translatable("nobody can sign in");

pub(super) fn knock(knock: &Knock) -> Finding {
    let whom = &knock.whom;
    let told = |what: &str| {
        let by = if knock.by.is_empty() { String::new() } else { format!(" (as {} says)", knock.by) };
        let unread = match knock.unread.as_slice() {
            [] => String::new(),
            all => format!("; there may be another one, which you may not read: {}", all.join(", ")),
        };
        format!("{whom}{by} {what}{unread}")
    };
    let (what, remedy) = match &knock.outcome {
        Outcome::Answers { is_tls: true } => return ok(told("answers, and its certificate is trusted")),
        Outcome::Answers { is_tls: false } => return ok(told("answers, without encryption")),
        Outcome::Senseless(mistake) => {
            return failed(
                mistake.clone(),
                "the daemon does not start",
                "correct that; to see whether it is right now: firezoned --check",
            );
        }
        Outcome::NoName => ("has no address", translatable("check the network, and its resolvers: getent ahosts NAME")),
        Outcome::Unreachable(kind) => (reason(*kind), translatable("check the network, and what filters it")),
        Outcome::Distrusted(flaw) => distrusted(*flaw),
        Outcome::TrustsNobody => {
            ("cannot be trusted: this machine trusts no certificates at all", translatable("install ca-certificates"))
        }
        Outcome::NoTls => (
            "answers, but does not speak TLS",
            translatable("check the setting api-url; a network that wants a page to be visited first looks like this"),
        ),
    };
    // Who knows only half of what the daemon is told cannot be sure.
    let judge = if knock.unread.is_empty() { failed } else { warning };
    judge(told(what), NOBODY_CAN, remedy)
}

fn reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "refuses the connection",
        ErrorKind::TimedOut => "does not answer",
        _ => "cannot be reached",
    }
}

fn distrusted(problem: CertificateProblem) -> (&'static str, &'static str) {
    match problem {
        CertificateProblem::Expired => (
            "has a certificate whose time is over",
            translatable("check the clock (timedatectl); if it is right, tell whoever runs the portal"),
        ),
        CertificateProblem::NotYetValid => (
            "has a certificate whose time has not come",
            translatable("check the clock (timedatectl); if it is right, tell whoever runs the portal"),
        ),
        CertificateProblem::UnknownIssuer => (
            "has a certificate of somebody whom this machine does not trust",
            translatable(
                "find out whether somebody inspects TLS on the way; if the issuer is yours, add it: update-ca-certificates",
            ),
        ),
        CertificateProblem::NameMismatch => (
            "has a certificate for another name",
            translatable("check the setting api-url; a network that wants a page to be visited first looks like this"),
        ),
        CertificateProblem::Other => {
            ("has a certificate that makes no sense", translatable("tell whoever runs the portal"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn found(outcome: Outcome, unread: &[&str]) -> Finding {
        let unread = unread.iter().map(|it| (*it).to_owned()).collect();
        knock(&Knock { whom: "portal.example:443".to_owned(), by: "/etc/x:1".to_owned(), unread, outcome })
    }

    #[test]
    fn each_way_to_fail_has_its_own_words() {
        let flaws = [
            CertificateProblem::Expired,
            CertificateProblem::NotYetValid,
            CertificateProblem::UnknownIssuer,
            CertificateProblem::NameMismatch,
            CertificateProblem::Other,
        ];
        let kinds = [ErrorKind::ConnectionRefused, ErrorKind::TimedOut, ErrorKind::HostUnreachable];
        let mut ways: Vec<Outcome> = flaws.map(Outcome::Distrusted).into();
        ways.extend(kinds.map(Outcome::Unreachable));
        ways.extend([
            Outcome::NoName,
            Outcome::TrustsNobody,
            Outcome::NoTls,
            Outcome::Senseless("/etc/x:1".to_owned()),
        ]);
        let mut said = std::collections::BTreeSet::new();
        for way in ways {
            let (verdict, evidence, effect, remedy) = found(way, &[]);
            assert_eq!(verdict, Verdict::Failed, "{evidence}");
            assert!(evidence.contains("/etc/x:1") && !effect.is_empty() && !remedy.is_empty(), "{evidence}");
            assert!(said.insert(evidence.clone()), "{evidence}");
        }
    }

    #[test]
    fn who_may_not_read_everything_is_not_sure() {
        let (verdict, evidence, ..) = found(Outcome::NoName, &["/etc/default/firezone-client"]);
        assert_eq!(verdict, Verdict::Warning);
        assert!(evidence.ends_with("which you may not read: /etc/default/firezone-client"), "{evidence}");
        let (verdict, evidence, ..) = found(Outcome::Answers { is_tls: true }, &[]);
        assert_eq!(
            (verdict, evidence.as_str()),
            (Verdict::Ok, "portal.example:443 (as /etc/x:1 says) answers, and its certificate is trusted")
        );
    }
}
