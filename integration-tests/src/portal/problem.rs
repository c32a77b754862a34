//! How an upgrade is refused: problem details (RFC 9457) with a machine-readable code.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_tungstenite::tungstenite::{
    handshake::server::ErrorResponse,
    http::{HeaderValue, Response, StatusCode, header},
};

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Machine-readable reason; without one the body is plain text.
    #[serde(default)]
    pub code: Option<String>,
    /// Human-readable text.
    #[serde(default)]
    pub detail: String,
    /// Seconds to wait before the next attempt.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A refusal with a code.
    #[must_use]
    pub fn new(status: u16, code: &str, detail: &str) -> Self {
        Self { status, code: Some(code.to_owned()), detail: detail.to_owned(), retry_after: None }
    }

    /// The refusal of an unknown token.
    #[must_use]
    pub fn invalid_token() -> Self {
        Self::new(401, "invalid_token", "Invalid or expired authentication token")
    }

    /// A refusal by something that is not the portal's own code, with an empty body.
    #[must_use]
    pub fn bare(status: u16) -> Self {
        Self { status, code: None, detail: String::new(), retry_after: None }
    }

    /// Asks to come back later.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The HTTP answer.
    #[must_use]
    pub fn into_response(self) -> ErrorResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let title = status.canonical_reason().unwrap_or("Error");

        let (kind, body) = match &self.code {
            Some(code) => {
                let body = json!({"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, "code": code});
                ("application/problem+json", body.to_string())
            }
            None => ("text/plain", self.detail.clone()),
        };

        let mut response = Response::new(Some(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
