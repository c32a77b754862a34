//! Frames from the portal.

use model::{FromPortal, json::Malformed};
use serde_json::Value;

use super::payload;

/// One frame from the portal.
#[derive(Clone, PartialEq, Debug)]
pub enum Incoming {
    /// The reply to the message with this `ref`, if the frame contains one.
    Reply { topic: String, reference: Option<u64>, status: ReplyStatus },
    /// A message for the tunnel.
    Message(FromPortal),
    /// The channel is closed; the socket is still open.
    ChannelClosed,
    /// The channel crashed; the portal will close the socket.
    ChannelError,
    /// The session has expired. The portal also sends this when another device with the same identity joins.
    TokenExpired,
    /// The portal will close the socket for another reason.
    Disconnect,
    /// A known event that has no effect on a client.
    Ignored,
}

/// The status of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyStatus {
    /// Success.
    Ok,
    /// The portal does not know the channel, or no longer.
    UnmatchedTopic,
    /// Any other error.
    Error,
}

/// Why a frame was not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The JSON ends too early.
    #[error("the frame is truncated")]
    Truncated,
    /// Not JSON, or not an object with `topic` and `event`.
    #[error("the frame is not a message")]
    NotAMessage,
    /// The event is unknown.
    #[error("unknown event")]
    UnknownEvent,
    /// The event is known, but its payload is malformed.
    #[error("malformed payload")]
    Payload(#[source] Malformed),
}

impl Incoming {
    /// Parses one text frame.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let frame: Value = serde_json::from_str(text)
            .map_err(|error| if error.is_eof() { FrameError::Truncated } else { FrameError::NotAMessage })?;
        let member = |key| frame.get(key).and_then(Value::as_str);
        let (Some(topic), Some(event)) = (member("topic"), member("event")) else {
            return Err(FrameError::NotAMessage);
        };
        let payload = frame.get("payload").unwrap_or(&Value::Null);
        match event {
            "phx_reply" => Ok(Self::Reply {
                topic: topic.to_owned(),
                reference: frame.get("ref").and_then(Value::as_u64),
                status: reply_status(payload),
            }),
            "phx_close" => Ok(Self::ChannelClosed),
            "phx_error" => Ok(Self::ChannelError),
            "disconnect" => match payload.get("reason").and_then(Value::as_str) {
                Some("token_expired") => Ok(Self::TokenExpired),
                Some(_) | None => Ok(Self::Disconnect),
            },
            // Sent by older portals. `init` updates the grants anyway.
            "access_authorization_expiry_updated" => Ok(Self::Ignored),
            event => match payload::parse(event, payload) {
                Some(message) => message.map(Self::Message).map_err(FrameError::Payload),
                None => Err(FrameError::UnknownEvent),
            },
        }
    }
}

fn reply_status(payload: &Value) -> ReplyStatus {
    if payload.get("status").and_then(Value::as_str) == Some("ok") {
        return ReplyStatus::Ok;
    }
    match payload.pointer("/response/reason").and_then(Value::as_str) {
        Some("unmatched topic") => ReplyStatus::UnmatchedTopic,
        Some(_) | None => ReplyStatus::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(reference: Option<u64>, status: ReplyStatus) -> Incoming {
        Incoming::Reply { topic: "client".to_owned(), reference, status }
    }

    #[test]
    fn channel_frames_are_parsed() {
        for (text, expected) in [
            (
                r#"{"topic":"client","event":"phx_reply","ref":0,"payload":{"status":"ok","response":{}}}"#,
                Ok(reply(Some(0), ReplyStatus::Ok)),
            ),
            (
                r#"{"ref":7,"payload":{"response":"anything","status":"ok"},"join_ref":null,"event":"phx_reply","topic":"client"}"#,
                Ok(reply(Some(7), ReplyStatus::Ok)),
            ),
            (
                r#"{"topic":"client","event":"phx_reply","ref":3,"payload":{"status":"error","response":{"reason":"unmatched topic"}}}"#,
                Ok(reply(Some(3), ReplyStatus::UnmatchedTopic)),
            ),
            (
                r#"{"topic":"client","event":"phx_reply","ref":3,"payload":{"status":"error","response":{"reason":"disabled"}}}"#,
                Ok(reply(Some(3), ReplyStatus::Error)),
            ),
            (
                r#"{"topic":"client","event":"phx_reply","ref":null,"payload":{"status":"ok","response":{}}}"#,
                Ok(reply(None, ReplyStatus::Ok)),
            ),
            (r#"{"topic":"client","event":"phx_close","ref":null,"payload":{}}"#, Ok(Incoming::ChannelClosed)),
            (r#"{"topic":"client","event":"phx_error","ref":null,"payload":{}}"#, Ok(Incoming::ChannelError)),
            (
                r#"{"topic":"client","event":"phx_error","ref":null,"payload":{"reason":"channel_crash"}}"#,
                Ok(Incoming::ChannelError),
            ),
            (
                r#"{"topic":"client","event":"disconnect","ref":null,"payload":{"reason":"token_expired"}}"#,
                Ok(Incoming::TokenExpired),
            ),
            (
                r#"{"topic":"client","event":"disconnect","ref":null,"payload":{"reason":"certificate_revoked"}}"#,
                Ok(Incoming::Disconnect),
            ),
            (r#"{"topic":"client","event":"disconnect","ref":null,"payload":{}}"#, Ok(Incoming::Disconnect)),
            (
                r#"{"topic":"client","event":"access_authorization_expiry_updated","ref":null,"payload":{"x":1}}"#,
                Ok(Incoming::Ignored),
            ),
            (r#"{"topic":"client","event":"sing","ref":null,"payload":{}}"#, Err(FrameError::UnknownEvent)),
            (r#"{"event":"init","payload":{}}"#, Err(FrameError::NotAMessage)),
            (r#"[null,null,"client","init",{}]"#, Err(FrameError::NotAMessage)),
            ("hello", Err(FrameError::NotAMessage)),
            (r#"{"topic":"client","event":"in"#, Err(FrameError::Truncated)),
            ("", Err(FrameError::Truncated)),
        ] {
            assert_eq!(Incoming::parse(text), expected, "{text}");
        }
    }
}
