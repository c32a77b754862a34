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

/// The snapshot of a large account can be several MiB.
const LARGEST_FRAME: usize = 16 << 20;
const LARGEST_MESSAGE: usize = 64 << 20;

/// A WebSocket on which at most one frame is being written.
pub(super) struct WebSocket {
    inner: WebSocketStream<Stream>,
    writing: Writing,
}

enum Writing {
    Nothing,
    /// Not given to the socket yet.
    Next(Message),
    /// Not taken by the kernel completely yet.
    Flushing,
}

/// What happened next.
#[derive(Debug)]
pub(super) enum Step {
    /// The frame that was to be written is in the kernel.
    Written,
    /// A text frame arrived.
    Text(String),
    /// The portal closed, with this code if it gave one.
    Closed(Option<u16>),
    /// The connection broke.
    Broken,
}

impl WebSocket {
    /// Takes over after the upgrade. `part` has been read already.
    pub(super) async fn new(stream: Stream, part: Vec<u8>) -> Self {
        let config =
            WebSocketConfig::default().max_frame_size(Some(LARGEST_FRAME)).max_message_size(Some(LARGEST_MESSAGE));
        let inner = WebSocketStream::from_partially_read(stream, part, Role::Client, Some(config)).await;
        Self { inner, writing: Writing::Nothing }
    }

    /// Begins to write. To be called only when the frame before has been [`Step::Written`].
    pub(super) fn write(&mut self, text: String) {
        self.writing = Writing::Next(Message::text(text));
    }

    /// Waits for something to happen; may be given up at any time. Reads only if asked to.
    pub(super) async fn step(&mut self, read: bool) -> Step {
        poll_fn(|cx| {
            if let Poll::Ready(step) = self.poll_write(cx) {
                return Poll::Ready(step);
            }
            if read { self.poll_read(cx) } else { Poll::Pending }
        })
        .await
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // Where the portal has said goodbye first, this is refused, and flushing sends the answer that waits.
        let _ = self.inner.close(Some(frame)).await;
        let _ = self.inner.flush().await;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut inner = Pin::new(&mut self.inner);
        if let Writing::Next(_) = self.writing {
            match inner.as_mut().poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Step::Broken),
                Poll::Pending => return Poll::Pending,
            }
            if let Writing::Next(message) = std::mem::replace(&mut self.writing, Writing::Flushing)
                && inner.as_mut().start_send(message).is_err()
            {
                return Poll::Ready(Step::Broken);
            }
        }
        if let Writing::Flushing = self.writing {
            return match inner.poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.writing = Writing::Nothing;
                    Poll::Ready(Step::Written)
                }
                Poll::Ready(Err(_)) => Poll::Ready(Step::Broken),
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
                    tracing::debug!(%error, "the WebSocket broke");
                    return Poll::Ready(Step::Broken);
                }
                Poll::Ready(None) => return Poll::Ready(Step::Closed(None)),
                Poll::Pending => return Poll::Pending,
            };
            match message {
                Message::Text(text) => return Poll::Ready(Step::Text(text.as_str().to_owned())),
                Message::Close(frame) => return Poll::Ready(Step::Closed(frame.map(|frame| frame.code.into()))),
                Message::Binary(_) => tracing::warn!("ignoring a binary frame of the portal"),
                // Answered by the library.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
