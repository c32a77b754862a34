//! HTTP responses that reject the upgrade, from the portal or from a proxy before it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::TokenRejection;

/// Longer delays are reduced to this one.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Enough for a sentence.
const MAX_TEXT_CHARS: usize = 500;

/// A rejected upgrade, with the problem details of RFC 9457 if the response contains them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The HTTP status.
    pub status: u16,
    /// The machine-readable reason.
    pub code: Option<String>,
    /// The human-readable reason. It comes from the network: it is shown on request and never logged above DEBUG.
    pub detail: Option<String>,
    /// The requested delay.
    pub retry_after: Option<Duration>,
}

impl Rejection {
    /// Parses a response. `now` is the wall-clock time, for a `Retry-After` that is a date.
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
            retry_after: retry_after.and_then(|value| parse_retry_after(value, now)),
        }
    }

    /// Whether the portal rejects the token by name, and why. Any other 401 may come from a proxy or a captive portal, and
    /// the token must be kept.
    #[must_use]
    pub fn token_rejection(&self) -> Option<TokenRejection> {
        match (self.status, self.code.as_deref()) {
            (401, Some("invalid_token")) => Some(TokenRejection::InvalidToken),
            (401, Some("missing_token")) => Some(TokenRejection::MissingToken),
            _ => None,
        }
    }

    /// Whether this is the portal's rate limit, which follows two attempts in one second.
    #[must_use]
    pub fn is_rate_limit(&self) -> bool {
        self.status == 503 && self.code.as_deref() == Some("rate_limit")
    }

    /// Whether an administrator has to act, so that waiting is unlikely to help.
    #[must_use]
    pub fn needs_administrator(&self) -> bool {
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
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect();
    Some(text)
}

/// RFC 9110 §10.2.3: delta-seconds or an HTTP date. Anything else is ignored.
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let delay = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(delay.min(MAX_RETRY_AFTER))
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
    fn only_a_401_with_a_known_code_rejects_the_token() {
        let invalid = r#"{"type":"about:blank","status":401,"code":"invalid_token","detail":"no"}"#;
        let missing = r#"{"code":"missing_token"}"#;
        for (status, content_type, body, expected) in [
            (401, Some(PROBLEM), invalid, Some(TokenRejection::InvalidToken)),
            (401, Some(PROBLEM), missing, Some(TokenRejection::MissingToken)),
            (401, Some("Application/Problem+JSON; charset=utf-8"), invalid, Some(TokenRejection::InvalidToken)),
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
            assert_eq!(
                rejection(status, content_type, body).token_rejection(),
                expected,
                "{status} {content_type:?} {body}"
            );
        }
    }

    #[test]
    fn details_are_kept_without_control_characters() {
        let it = rejection(402, Some(PROBLEM), r#"{"code":"limits_exceeded","detail":"Too\u001b[31m many\nusers"}"#);
        assert_eq!(it.code.as_deref(), Some("limits_exceeded"));
        assert_eq!(it.detail.as_deref(), Some("Too[31m manyusers"));
        assert!(it.needs_administrator());
        assert_eq!(it.to_string(), "the portal answered with status 402 (limits_exceeded)");
    }

    #[test]
    fn retry_after_accepts_seconds_and_dates_only() {
        for (value, delay) in [
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
            assert_eq!(it.retry_after, delay.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn the_rate_limit_is_recognised() {
        assert!(rejection(503, Some(PROBLEM), r#"{"code":"rate_limit"}"#).is_rate_limit());
        assert!(!rejection(503, None, "").is_rate_limit());
    }
}
