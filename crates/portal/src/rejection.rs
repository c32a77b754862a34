//! What the portal, or something before it, answers instead of opening a WebSocket.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::Verdict;

/// Nobody means to wait longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Enough for a sentence; the rest of a captive portal's page interests nobody.
const LONGEST_TEXT: usize = 500;

/// A refused upgrade, with the problem details of RFC 9457 if there were any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The HTTP status.
    pub status: u16,
    /// What a program may act on.
    pub code: Option<String>,
    /// What a person may read. It comes from outside, so it is shown to the one who asks, never logged above DEBUG.
    pub detail: Option<String>,
    /// How long we are asked to wait.
    pub retry_after: Option<Duration>,
}

impl Rejection {
    /// Understands a response. `now` is the time of the wall clock, for a `Retry-After` that is a date.
    #[must_use]
    pub fn parse(
        status: u16,
        content_type: Option<&str>,
        retry_after: Option<&str>,
        body: &[u8],
        now: SystemTime,
    ) -> Self {
        let problem = content_type
            .is_some_and(is_problem)
            .then(|| serde_json::from_slice::<Value>(body).ok())
            .flatten()
            .unwrap_or(Value::Null);
        Self {
            status,
            code: text(&problem, "code"),
            detail: text(&problem, "detail"),
            retry_after: retry_after.and_then(|value| wait(value, now)),
        }
    }

    /// What the portal says about the token, if this is the portal's word. Anything else that looks like a 401 may come
    /// from a proxy or a captive portal, and must not cost anyone a token.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        match (self.status, self.code.as_deref()) {
            (401, Some("invalid_token")) => Some(Verdict::InvalidToken),
            (401, Some("missing_token")) => Some(Verdict::MissingToken),
            _ => None,
        }
    }

    /// Whether the portal only asks for a little patience, as it does after two attempts in one second.
    #[must_use]
    pub fn is_rate_limit(&self) -> bool {
        self.status == 503 && self.code.as_deref() == Some("rate_limit")
    }

    /// Whether patience is unlikely to help: somebody has to do something.
    #[must_use]
    pub fn needs_an_administrator(&self) -> bool {
        matches!(self.status, 401..=403)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the portal answered with status {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

fn is_problem(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/problem+json")
}

fn text(problem: &Value, key: &str) -> Option<String> {
    let text = problem.get(key)?.as_str()?;
    let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect();
    Some(text)
}

/// RFC 9110 §10.2.3: delta-seconds or an HTTP date. Anything else is ignored.
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(LONGEST_WAIT, Duration::from_secs)
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBLEM: &str = "application/problem+json";

    fn noon() -> SystemTime {
        // Sat, 22 Aug 2026 12:00:00 GMT
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_787_400_000)
    }

    fn rejection(status: u16, content_type: Option<&str>, body: &str) -> Rejection {
        Rejection::parse(status, content_type, None, body.as_bytes(), noon())
    }

    #[test]
    fn only_a_named_401_is_the_portals_verdict_on_a_token() {
        let invalid = r#"{"type":"about:blank","status":401,"code":"invalid_token","detail":"no"}"#;
        let missing = r#"{"code":"missing_token"}"#;
        for (status, content_type, body, verdict) in [
            (401, Some(PROBLEM), invalid, Some(Verdict::InvalidToken)),
            (401, Some(PROBLEM), missing, Some(Verdict::MissingToken)),
            (401, Some("Application/Problem+JSON; charset=utf-8"), invalid, Some(Verdict::InvalidToken)),
            (401, Some(PROBLEM), r#"{"code":"something_else"}"#, None),
            (401, Some(PROBLEM), r#"{"detail":"no code"}"#, None),
            (401, Some(PROBLEM), r#"{"code":7}"#, None),
            (401, Some(PROBLEM), r#"{"code":"invalid_tok"#, None),
            (401, Some(PROBLEM), "", None),
            (401, Some("text/html"), invalid, None),
            (401, None, invalid, None),
            (403, Some(PROBLEM), invalid, None),
            (500, Some(PROBLEM), invalid, None),
        ] {
            assert_eq!(rejection(status, content_type, body).verdict(), verdict, "{status} {content_type:?} {body}");
        }
    }

    #[test]
    fn details_are_kept_without_control_characters() {
        let it = rejection(402, Some(PROBLEM), r#"{"code":"limits_exceeded","detail":"Too\u001b[31m many\nusers"}"#);
        assert_eq!(it.code.as_deref(), Some("limits_exceeded"));
        assert_eq!(it.detail.as_deref(), Some("Too[31m manyusers"));
        assert!(it.needs_an_administrator());
        assert_eq!(it.to_string(), "the portal answered with status 402 (limits_exceeded)");
    }

    #[test]
    fn retry_after_in_all_its_forms() {
        for (value, wait) in [
            ("0", Some(0)),
            ("1", Some(1)),
            (" 30 ", Some(30)),
            ("60", Some(60)),
            ("Sat, 22 Aug 2026 12:01:30 GMT", Some(90)),
            ("Sat, 22 Aug 2026 11:00:00 GMT", Some(0)),
            ("99999999999999999999999999", Some(86400)),
            ("-1", None),
            ("12.5", None),
            ("soon", None),
            ("", None),
        ] {
            let it = Rejection::parse(503, None, Some(value), b"", noon());
            assert_eq!(it.retry_after, wait.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn the_rate_limit_is_recognised() {
        assert!(rejection(503, Some(PROBLEM), r#"{"code":"rate_limit"}"#).is_rate_limit());
        assert!(!rejection(503, None, "").is_rate_limit());
    }
}
