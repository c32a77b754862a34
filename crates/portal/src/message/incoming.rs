//! What the portal says, from frames.

use model::{FromPortal, json::Malformed};
use serde_json::Value;

use super::payload;

/// One frame of the portal's.
#[derive(Clone, PartialEq, Debug)]
pub enum Incoming {
    /// The answer to the message with this number, if it has one.
    Reply { topic: String, number: Option<u64>, answer: Answer },
    /// Something for the tunnel.
    Message(FromPortal),
    /// The channel is over although the socket is open.
    ChannelClosed,
    /// The channel crashed; the portal closes the socket next.
    ChannelError,
    /// The session is over. Also said to a device when another one with the same identity joins.
    TokenExpired,
    /// The portal is about to close the socket for some other reason.
    Disconnect,
    /// Something that needs no attention.
    Ignored,
}

/// What a reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Done.
    Ok,
    /// The portal knows no such channel (any more).
    UnmatchedTopic,
    /// Anything else went wrong.
    Error,
}

/// A frame that means nothing to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its end is missing.
    #[error("the frame is cut short")]
    Truncated,
    /// It is not JSON, or not a message.
    #[error("the frame is not a message")]
    NotAMessage,
    /// We do not know the event.
    #[error("unknown event")]
    UnknownEvent,
    /// We know the event, but not with such a payload.
    #[error("malformed payload")]
    Payload(#[source] Malformed),
}

impl Incoming {
    /// Understands one text frame.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let frame: Value = serde_json::from_str(text)
            .map_err(|error| if error.is_eof() { Unreadable::Truncated } else { Unreadable::NotAMessage })?;
        let member = |key| frame.get(key).and_then(Value::as_str);
        let (Some(topic), Some(event)) = (member("topic"), member("event")) else {
            return Err(Unreadable::NotAMessage);
        };
        let payload = frame.get("payload").unwrap_or(&Value::Null);
        match event {
            "phx_reply" => Ok(Self::Reply {
                topic: topic.to_owned(),
                number: frame.get("ref").and_then(Value::as_u64),
                answer: answer(payload),
            }),
            "phx_close" => Ok(Self::ChannelClosed),
            "phx_error" => Ok(Self::ChannelError),
            "disconnect" => match payload.get("reason").and_then(Value::as_str) {
                Some("token_expired") => Ok(Self::TokenExpired),
                Some(_) | None => Ok(Self::Disconnect),
            },
            // Older portals; grants are brought up to date by the snapshot anyway.
            "access_authorization_expiry_updated" => Ok(Self::Ignored),
            event => match payload::read(event, payload) {
                Some(message) => message.map(Self::Message).map_err(Unreadable::Payload),
                None => Err(Unreadable::UnknownEvent),
            },
        }
    }
}

fn answer(payload: &Value) -> Answer {
    if payload.get("status").and_then(Value::as_str) == Some("ok") {
        return Answer::Ok;
    }
    match payload.pointer("/response/reason").and_then(Value::as_str) {
        Some("unmatched topic") => Answer::UnmatchedTopic,
        Some(_) | None => Answer::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(number: Option<u64>, answer: Answer) -> Incoming {
        Incoming::Reply { topic: "client".to_owned(), number, answer }
    }

    #[test]
    fn frames_of_the_channel_itself() {
        for (text, expected) in [
            (
                r#"{"topic":"client","event":"phx_reply","ref":0,"payload":{"status":"ok","response":{}}}"#,
                Ok(reply(Some(0), Answer::Ok)),
            ),
            (
                r#"{"ref":7,"payload":{"response":"anything","status":"ok"},"join_ref":null,"event":"phx_reply","topic":"client"}"#,
                Ok(reply(Some(7), Answer::Ok)),
            ),
            (
                r#"{"topic":"client","event":"phx_reply","ref":3,"payload":{"status":"error","response":{"reason":"unmatched topic"}}}"#,
                Ok(reply(Some(3), Answer::UnmatchedTopic)),
            ),
            (
                r#"{"topic":"client","event":"phx_reply","ref":3,"payload":{"status":"error","response":{"reason":"disabled"}}}"#,
                Ok(reply(Some(3), Answer::Error)),
            ),
            (
                r#"{"topic":"client","event":"phx_reply","ref":null,"payload":{"status":"ok","response":{}}}"#,
                Ok(reply(None, Answer::Ok)),
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
            (r#"{"topic":"client","event":"sing","ref":null,"payload":{}}"#, Err(Unreadable::UnknownEvent)),
            (r#"{"event":"init","payload":{}}"#, Err(Unreadable::NotAMessage)),
            (r#"[null,null,"client","init",{}]"#, Err(Unreadable::NotAMessage)),
            ("hello", Err(Unreadable::NotAMessage)),
            (r#"{"topic":"client","event":"in"#, Err(Unreadable::Truncated)),
            ("", Err(Unreadable::Truncated)),
        ] {
            assert_eq!(Incoming::parse(text), expected, "{text}");
        }
    }
}
