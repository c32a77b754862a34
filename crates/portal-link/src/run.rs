//! The task that owns the sockets and drives the state machine.

use std::{collections::VecDeque, time::Duration, time::Instant};

use futures_util::future::BoxFuture;
use model::PublicKey;
use portal::{Action, Connection, ConnectionError, Login, Socket};
use rand::{TryRngCore as _, rngs::OsRng};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant as TokioInstant, sleep_until, timeout},
};

use super::{
    Command, Event,
    dial::{DialResult, Dialer},
    websocket::{Step, WebSocket},
};

/// A broken path can block a Close frame forever.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Events that the session has not received yet. Beyond it, no frames are read.
const MAX_QUEUED_EVENTS: usize = 64;

pub(super) async fn run(
    login: Login,
    public_key: PublicKey,
    limit: Option<Duration>,
    dialer: Dialer,
    mut inbox: mpsc::Receiver<Command>,
    outbox: mpsc::Sender<Event>,
) {
    let mut link = LinkTask {
        connection: Connection::new(login, public_key, now(), seed()).with_limit(limit),
        dialer,
        dialing: None,
        open: None,
        closing: JoinSet::new(),
        queued_events: VecDeque::new(),
    };
    loop {
        link.run_actions();
        if link.has_ended() {
            break;
        }
        let due = link.connection.poll_timeout().map(|due| TokioInstant::from_std(due.at));
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Close) | None => break,
                Some(command) => link.execute(command),
            },
            permit = outbox.reserve(), if !link.queued_events.is_empty() => {
                let (Ok(permit), Some(event)) = (permit, link.queued_events.pop_front()) else { break };
                permit.send(event);
            }
            (socket, dialed) = dialed(&mut link.dialing) => link.handle_dialed(socket, dialed),
            (socket, step) = step(&mut link.open, link.queued_events.len() < MAX_QUEUED_EVENTS) => link.handle_step(socket, step),
            Some(_) = link.closing.join_next() => {}
            () = async { sleep_until(due.unwrap_or_else(TokioInstant::now)).await }, if due.is_some() => {
                link.connection.handle_timeout(now());
            }
        }
    }
    link.finish(&outbox).await;
}

/// The state of the task.
struct LinkTask {
    connection: Connection,
    dialer: Dialer,
    /// The attempt in progress. Dropping it closes its sockets.
    dialing: Option<(Socket, BoxFuture<'static, DialResult>)>,
    /// The open socket. At most one, so that no frame of an older socket is read.
    open: Option<(Socket, WebSocket)>,
    /// Sockets that are being closed.
    closing: JoinSet<()>,
    /// Events that the session has not received yet.
    queued_events: VecDeque<Event>,
}

impl LinkTask {
    fn execute(&mut self, command: Command) {
        match command {
            Command::Send(message) => self.connection.handle_send(message),
            Command::Reconnect { public_key } => self.connection.reconnect(public_key, now()),
            Command::Resolvers(resolvers) => {
                if self.dialer.use_resolvers(resolvers) {
                    self.connection.retry_now(now());
                }
            }
            Command::Close => self.connection.close(),
        }
    }

    fn handle_dialed(&mut self, socket: Socket, dialed: DialResult) {
        self.dialing = None;
        self.dialer.remember(dialed.addresses);
        match dialed.outcome {
            Ok(websocket) => {
                self.open = Some((socket, websocket));
                self.connection.handle_open(socket, now());
            }
            Err(error) => self.connection.handle_lost(socket, error, now()),
        }
    }

    fn handle_step(&mut self, socket: Socket, step: Step) {
        match step {
            Step::Written => self.connection.handle_written(socket, now()),
            Step::Text(text) => self.connection.handle_text(socket, &text, now()),
            Step::Closed(code) => self.connection.handle_lost(socket, ConnectionError::Closed(code), now()),
            Step::Failed => self.connection.handle_lost(socket, ConnectionError::SocketFailed, now()),
        }
    }

    /// Executes all actions and collects all events of the state machine.
    fn run_actions(&mut self) {
        while let Some(action) = self.connection.poll_action() {
            match action {
                Action::Dial { socket, request } => {
                    self.dialing = Some((socket, self.dialer.dial(request)));
                }
                Action::Close(socket) => self.close(socket),
            }
        }
        if let Some(frame) = self.connection.poll_transmit(now())
            && let Some((socket, websocket)) = &mut self.open
            && *socket == frame.socket
        {
            websocket.write(frame.text);
        }
        while let Some(event) = self.connection.poll_event() {
            self.queued_events.push_back(event);
        }
    }

    fn close(&mut self, socket: Socket) {
        if self.dialing.as_ref().is_some_and(|(dialing, _)| *dialing == socket) {
            self.dialing = None;
        }
        if let Some((_, websocket)) = self.open.take_if(|(open, _)| *open == socket) {
            self.closing.spawn(async move {
                // The result does not matter: the socket is closed in any case.
                let _ = timeout(CLOSE_TIMEOUT, websocket.close()).await;
            });
        }
    }

    /// Whether the state machine has ended and the session has received all events.
    fn has_ended(&self) -> bool {
        self.connection.poll_timeout().is_none() && self.queued_events.is_empty()
    }

    async fn finish(mut self, outbox: &mpsc::Sender<Event>) {
        self.connection.close();
        self.run_actions();
        for event in self.queued_events.drain(..) {
            // After `Close` the session may have stopped receiving.
            if outbox.try_send(event).is_err() {
                break;
            }
        }
        while self.closing.join_next().await.is_some() {}
    }
}

async fn dialed(dialing: &mut Option<(Socket, BoxFuture<'static, DialResult>)>) -> (Socket, DialResult) {
    match dialing {
        Some((socket, dialing)) => (*socket, dialing.await),
        None => std::future::pending().await,
    }
}

async fn step(open: &mut Option<(Socket, WebSocket)>, read: bool) -> (Socket, Step) {
    match open {
        Some((socket, websocket)) => (*socket, websocket.step(read).await),
        None => std::future::pending().await,
    }
}

/// The clock of the task's timers.
fn now() -> Instant {
    TokioInstant::now().into_std()
}

/// The seed of the jitter; 0 if the system has no random numbers.
fn seed() -> u64 {
    OsRng.try_next_u64().unwrap_or_default()
}
