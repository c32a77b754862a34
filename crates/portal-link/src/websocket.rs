//! Text frames on an open WebSocket.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Sink as _, SinkExt as _, Stream as _};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::stream::Stream;

/// The `init` message of a large account can be several MiB.
const MAX_FRAME_BYTES: usize = 16 << 20;
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// A WebSocket that writes at most one frame at a time.
pub(super) struct WebSocket {
    inner: WebSocketStream<Stream>,
    writing: Writing,
}

enum Writing {
    Nothing,
    /// Not passed to the socket yet.
    Next(Message),
    /// Not passed to the kernel completely yet.
    Flushing,
}

/// The next event on the socket.
#[derive(Debug)]
pub(super) enum Step {
    /// The frame was passed to the kernel.
    Written,
    /// A text frame arrived.
    Text(String),
    /// The portal closed the socket, perhaps with a code.
    Closed(Option<u16>),
    /// The connection failed.
    Failed,
}

impl WebSocket {
    /// Creates the WebSocket after the upgrade. `part` contains bytes that were read with the response.
    pub(super) async fn new(stream: Stream, part: Vec<u8>) -> Self {
        let config =
            WebSocketConfig::default().max_frame_size(Some(MAX_FRAME_BYTES)).max_message_size(Some(MAX_MESSAGE_BYTES));
        let inner = WebSocketStream::from_partially_read(stream, part, Role::Client, Some(config)).await;
        Self { inner, writing: Writing::Nothing }
    }

    /// Starts writing a frame. Call it only after the previous frame has been [`Step::Written`].
    pub(super) fn write(&mut self, text: String) {
        self.writing = Writing::Next(Message::text(text));
    }

    /// Waits for the next event; may be cancelled. Reads frames only if `read` is set.
    pub(super) async fn step(&mut self, read: bool) -> Step {
        poll_fn(|cx| {
            if let Poll::Ready(step) = self.poll_write(cx) {
                return Poll::Ready(step);
            }
            if read { self.poll_read(cx) } else { Poll::Pending }
        })
        .await
    }

    /// Closes the WebSocket with status 1000.
    pub(super) async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // If the portal has closed first, this fails, and the flush sends the pending Close frame.
        let _ = self.inner.close(Some(frame)).await;
        let _ = self.inner.flush().await;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut inner = Pin::new(&mut self.inner);
        if let Writing::Next(_) = self.writing {
            match inner.as_mut().poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Step::Failed),
                Poll::Pending => return Poll::Pending,
            }
            if let Writing::Next(message) = std::mem::replace(&mut self.writing, Writing::Flushing)
                && inner.as_mut().start_send(message).is_err()
            {
                return Poll::Ready(Step::Failed);
            }
        }
        if let Writing::Flushing = self.writing {
            return match inner.poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.writing = Writing::Nothing;
                    Poll::Ready(Step::Written)
                }
                Poll::Ready(Err(_)) => Poll::Ready(Step::Failed),
                Poll::Pending => Poll::Pending,
            };
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            let message = match Pin::new(&mut self.inner).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "the WebSocket failed");
                    return Poll::Ready(Step::Failed);
                }
                Poll::Ready(None) => return Poll::Ready(Step::Closed(None)),
                Poll::Pending => return Poll::Pending,
            };
            match message {
                Message::Text(text) => return Poll::Ready(Step::Text(text.as_str().to_owned())),
                Message::Close(frame) => return Poll::Ready(Step::Closed(frame.map(|frame| frame.code.into()))),
                Message::Binary(_) => tracing::warn!("ignoring a binary frame of the portal"),
                // The library answers pings.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
