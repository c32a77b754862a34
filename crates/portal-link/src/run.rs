//! The task that owns the sockets and drives the machine.

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
    dial::{Dialed, Dialer},
    websocket::{Step, WebSocket},
};

/// A dead path can block a goodbye for ever.
const GOODBYE: Duration = Duration::from_secs(1);

/// Events that the session has not taken yet. Beyond it, no more frames are read.
const MOST_UNTAKEN: usize = 64;

pub(super) async fn run(
    login: Login,
    public_key: PublicKey,
    limit: Option<Duration>,
    dialer: Dialer,
    mut inbox: mpsc::Receiver<Command>,
    outbox: mpsc::Sender<Event>,
) {
    let mut line = Line {
        connection: Connection::new(login, public_key, now(), seed()).with_limit(limit),
        dialer,
        dialing: None,
        open: None,
        farewells: JoinSet::new(),
        untaken: VecDeque::new(),
    };
    loop {
        line.carry_out();
        if line.is_over() {
            break;
        }
        let due = line.connection.poll_timeout().map(|due| TokioInstant::from_std(due.at));
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Close) | None => break,
                Some(command) => line.obey(command),
            },
            permit = outbox.reserve(), if !line.untaken.is_empty() => {
                let (Ok(permit), Some(event)) = (permit, line.untaken.pop_front()) else { break };
                permit.send(event);
            }
            (socket, dialed) = dialed(&mut line.dialing) => line.dialed(socket, dialed),
            (socket, step) = step(&mut line.open, line.untaken.len() < MOST_UNTAKEN) => line.stepped(socket, step),
            Some(_) = line.farewells.join_next() => {}
            () = async { sleep_until(due.unwrap_or_else(TokioInstant::now)).await }, if due.is_some() => {
                line.connection.handle_timeout(now());
            }
        }
    }
    line.finish(&outbox).await;
}

/// Everything that the task owns.
struct Line {
    connection: Connection,
    dialer: Dialer,
    /// The attempt that is under way. Dropping it closes its sockets.
    dialing: Option<(Socket, BoxFuture<'static, Dialed>)>,
    /// The open socket. There is never more than one, so that nothing of an older one can be read.
    open: Option<(Socket, WebSocket)>,
    /// Sockets that say goodbye.
    farewells: JoinSet<()>,
    /// Events for the session.
    untaken: VecDeque<Event>,
}

impl Line {
    fn obey(&mut self, command: Command) {
        match command {
            Command::Send(message) => self.connection.handle_send(message),
            Command::Reconnect { public_key } => self.connection.reconnect(public_key, now()),
            Command::Forget(peer) => self.connection.forget_peer(peer),
            Command::Resolvers(resolvers) => {
                if self.dialer.use_resolvers(resolvers) {
                    self.connection.retry_now(now());
                }
            }
            Command::Close => self.connection.close(),
        }
    }

    fn dialed(&mut self, socket: Socket, dialed: Dialed) {
        self.dialing = None;
        self.dialer.remember(dialed.addresses);
        match dialed.outcome {
            Ok(websocket) => {
                self.open = Some((socket, websocket));
                self.connection.handle_open(socket, now());
            }
            Err(why) => self.connection.handle_lost(socket, why, now()),
        }
    }

    fn stepped(&mut self, socket: Socket, step: Step) {
        match step {
            Step::Written => self.connection.handle_written(socket, now()),
            Step::Text(text) => self.connection.handle_text(socket, &text, now()),
            Step::Closed(code) => self.connection.handle_lost(socket, ConnectionError::Closed(code), now()),
            Step::Broken => self.connection.handle_lost(socket, ConnectionError::SocketFailed, now()),
        }
    }

    /// Does what the machine wants done, until it wants nothing more.
    fn carry_out(&mut self) {
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
            self.untaken.push_back(match event {
                portal::Event::Joined => Event::Joined,
                portal::Event::Disconnected { error, retry } => Event::Disconnected { error, retry },
                portal::Event::Message(message) => Event::Message(message),
                portal::Event::Ended(end) => Event::Ended(end),
            });
        }
    }

    fn close(&mut self, socket: Socket) {
        if self.dialing.as_ref().is_some_and(|(dialing, _)| *dialing == socket) {
            self.dialing = None;
        }
        if let Some((_, websocket)) = self.open.take_if(|(open, _)| *open == socket) {
            self.farewells.spawn(async move {
                // Whether it worked does not matter: the socket is closed either way.
                let _ = timeout(GOODBYE, websocket.close()).await;
            });
        }
    }

    /// Whether the machine has ended and the session knows everything.
    fn is_over(&self) -> bool {
        self.connection.poll_timeout().is_none() && self.untaken.is_empty()
    }

    async fn finish(mut self, outbox: &mpsc::Sender<Event>) {
        self.connection.close();
        self.carry_out();
        for event in self.untaken.drain(..) {
            // A session that has just asked us to close may not read any more.
            if outbox.try_send(event).is_err() {
                break;
            }
        }
        while self.farewells.join_next().await.is_some() {}
    }
}

async fn dialed(dialing: &mut Option<(Socket, BoxFuture<'static, Dialed>)>) -> (Socket, Dialed) {
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

/// For the jitter between attempts; a machine without luck only has less of it.
fn seed() -> u64 {
    OsRng.try_next_u64().unwrap_or_default()
}
