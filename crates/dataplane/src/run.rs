//! The loop of the data plane.
//!
//! One round: due timers, output, then one kind of input. While a socket or the TUN device is full, nothing is read, so that a
//! burst is queued by the kernel and not in our memory.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    time::{Duration, Instant},
};

use model::Deadline;
use tokio::sync::{mpsc, oneshot};
use tunnel::{QueryId, Tunnel};

use super::{
    counters::Counters,
    error::FatalError,
    messages::{Command, Event},
    sockets::{Bound, Sockets},
    statistics,
    tun::{Flushed, Tun, TunDevice},
};
use event_loop::{Alarm, Clock};

/// Commands taken in one round.
const COMMANDS_PER_ROUND: usize = 64;
/// Events that may wait for the daemon. Beyond that no packets are read, so that no more events arise.
const MAX_WAITING_EVENTS: usize = 1024;
/// Time limit for the goodbyes to peers.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Owner of everything on the packet path.
pub(super) struct Worker {
    tunnel: Tunnel,
    edge: Edge,
    mark: u32,
    clock: Clock,
    alarm: Alarm,
    statistics: statistics::Publisher,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// Events that did not fit the channel yet, oldest first.
    waiting_events: VecDeque<Event>,
    queries: BTreeMap<QueryId, oneshot::Sender<dns::Decision>>,
    next_query: u64,
}

/// The packet thread's ends of its channels.
pub(super) struct Channels {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) statistics: statistics::Publisher,
}

/// The devices through which packets and datagrams enter and leave.
struct Edge {
    tun: TunDevice,
    sockets: Sockets,
    counters: Counters,
}

/// Why a round began.
enum Wake {
    Command(Option<Command>),
    /// The daemon takes events (true), or has dropped the receiver (false).
    Events(bool),
    /// The statistics are read.
    Statistics,
    /// There is input, or room for output.
    Packets,
    Alarm,
}

/// How the loop continues.
enum Next {
    Round,
    Stop,
}

impl Worker {
    /// Must be called within the runtime that will run it.
    pub(super) fn new(
        tunnel: Tunnel,
        tun: Tun,
        sockets: Bound,
        mark: u32,
        clock: Clock,
        channels: Channels,
    ) -> io::Result<Self> {
        let Channels { commands, events, statistics } = channels;
        Ok(Self {
            tunnel,
            edge: Edge { tun: TunDevice::new(tun)?, sockets: Sockets::new(sockets)?, counters: Counters::default() },
            mark,
            clock,
            alarm: Alarm::new(clock)?,
            statistics,
            commands,
            events,
            waiting_events: VecDeque::new(),
            queries: BTreeMap::new(),
            next_query: 0,
        })
    }

    /// Runs until it is stopped or fails.
    pub(super) async fn run(mut self) {
        let failure = match self.rounds().await {
            Ok(()) => {
                self.say_goodbye().await;
                None
            }
            Err(failure) => Some(failure),
        };
        tracing::debug!(counters = ?self.edge.counters, tunnel = ?self.tunnel.counters(), "the data plane ends");

        let Self { tunnel, edge, statistics, events, .. } = self;
        // Closed before the last event, so that the next session can open them again.
        drop((edge, statistics));
        let names = tunnel.into_names();
        let last_event = match failure {
            Some(failure) => Event::Died { error: failure.into(), names },
            None => Event::Stopped { names },
        };
        // The receiver may have been dropped.
        let _ = events.send(last_event).await;
    }

    async fn rounds(&mut self) -> Result<(), FatalError> {
        loop {
            let now = self.clock.now();
            self.tunnel.handle_timeout(now);
            self.deliver_events();
            let flowing =
                self.edge.flush(&mut self.tunnel)? == Flushed::All && self.waiting_events.len() < MAX_WAITING_EVENTS;
            self.publish_statistics(now);
            let deadline = Deadline::earliest(self.tunnel.poll_timeout(), self.statistics.poll_timeout());
            self.alarm.set(deadline, now).map_err(FatalError::Loop)?;

            let wake = self.wait(flowing).await?;
            let now = self.clock.now();
            match wake {
                Wake::Command(command) => {
                    if let Next::Stop = self.handle_commands(command, now)? {
                        return Ok(());
                    }
                }
                Wake::Events(true) | Wake::Alarm => {}
                Wake::Statistics => self.statistics.handle_request(now),
                // The daemon has dropped the receiver.
                Wake::Events(false) => return Ok(()),
                Wake::Packets => {
                    if flowing {
                        self.edge.read(&mut self.tunnel, now)?;
                    }
                    // Lets the runtime poll the other sources, which a busy one would starve.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Waits for the next reason to do something. All futures are cancel-safe: receiving from and reserving in a channel
    /// are by tokio's word, readiness is only looked at, and a ring of the alarm repeats nothing that was lost.
    async fn wait(&mut self, flowing: bool) -> Result<Wake, FatalError> {
        let Edge { tun, sockets, .. } = &self.edge;
        let has_events = !self.waiting_events.is_empty();

        // Commands first, so that the end comes through also when packets never stop.
        tokio::select! {
            biased;
            command = self.commands.recv() => Ok(Wake::Command(command)),
            permit = self.events.reserve(), if has_events => Ok(Wake::Events(permit.is_ok())),
            () = self.statistics.requested() => Ok(Wake::Statistics),
            result = sockets.writable(), if !flowing => result.map(|()| Wake::Packets).map_err(FatalError::Loop),
            result = tun.writable(), if !flowing && tun.is_waiting() => result.map(|()| Wake::Packets).map_err(FatalError::Tun),
            result = sockets.readable(), if flowing => result.map(|()| Wake::Packets).map_err(FatalError::Loop),
            result = tun.readable(), if flowing => result.map(|()| Wake::Packets).map_err(FatalError::Tun),
            result = self.alarm.rings() => result.map(|()| Wake::Alarm).map_err(FatalError::Loop),
        }
    }

    /// Executes a command, and those queued behind it.
    fn handle_commands(&mut self, first: Option<Command>, now: Instant) -> Result<Next, FatalError> {
        let mut command = first;
        for _ in 0..COMMANDS_PER_ROUND {
            match command {
                // Without a sender the session has ended.
                None | Some(Command::Stop) => return Ok(Next::Stop),
                Some(command) => self.handle_command(command, now)?,
            }
            command = match self.commands.try_recv() {
                Ok(command) => Some(command),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            };
        }

        Ok(Next::Round)
    }

    fn handle_command(&mut self, command: Command, now: Instant) -> Result<(), FatalError> {
        match command {
            Command::Portal(message) => self.tunnel.handle_portal(message, now),
            Command::Query { question, sentinel, reply } => {
                let id = QueryId(self.next_query);
                self.next_query += 1;
                // Removes queries whose senders have given up.
                self.queries.retain(|_, reply| !reply.is_closed());
                self.queries.insert(id, reply);
                self.tunnel.handle_query(id, &question, sentinel, now);
                self.deliver_events();
            }
            Command::Answer { generation, answer } => self.tunnel.handle_answer(generation, answer, now),
            Command::SystemResolvers(resolvers) => self.tunnel.handle_resolvers(&resolvers, now),
            Command::InternetResource(on) => self.tunnel.switch_internet_resource(on, now),
            Command::Reset => self.reset(now)?,
            Command::Names(reply) => {
                let _ = reply.send(self.tunnel.names());
            }
            Command::Explain(name, reply) => {
                let _ = reply.send(self.tunnel.explain(&name, now));
            }
            Command::FlushNames => self.tunnel.flush_names(),
            Command::Stop => {}
        }

        Ok(())
    }

    fn publish_statistics(&mut self, now: Instant) {
        let Self { statistics, tunnel, edge, .. } = self;
        statistics.handle_timeout(now, || statistics::Snapshot {
            paths: tunnel.paths(),
            dropped: tunnel.dropped().chain(edge.counters.iter()).collect(),
        });
    }

    /// Discards paths, keys and sockets of the old network, and datagrams that wait to be sent through them.
    fn reset(&mut self, now: Instant) -> Result<(), FatalError> {
        tracing::debug!("the network changed; starting over");
        while self.tunnel.poll_transmit().is_some() {}
        self.edge.sockets.close();
        self.edge.sockets = Sockets::new(Bound::open(self.mark)?).map_err(FatalError::Loop)?;
        self.tunnel.reset(now);

        Ok(())
    }

    /// Delivers the events of the tunnel. Events that the daemon does not take yet are queued.
    fn deliver_events(&mut self) {
        while let Some(event) = self.tunnel.poll_event() {
            match event {
                tunnel::Event::Decided { id, decision } => {
                    if let Some(reply) = self.queries.remove(&id) {
                        let _ = reply.send(decision);
                    }
                }
                event => self.waiting_events.push_back(Event::Tunnel(event)),
            }
        }
        while !self.waiting_events.is_empty() {
            // The channel is full or closed; the loop learns about the latter from the commands.
            let Ok(permit) = self.events.try_reserve() else {
                return;
            };
            if let Some(event) = self.waiting_events.pop_front() {
                permit.send(event);
            }
        }
    }

    /// Says goodbye to all peers, within the time limit.
    async fn say_goodbye(&mut self) {
        self.tunnel.stop(self.clock.now());
        let edge = &mut self.edge;
        let tunnel = &mut self.tunnel;
        let sent = async {
            while edge.send(tunnel) == Flushed::Blocked {
                edge.sockets.writable().await?;
            }
            io::Result::Ok(())
        };
        if !matches!(tokio::time::timeout(GOODBYE_TIMEOUT, sent).await, Ok(Ok(()))) {
            tracing::debug!("not all goodbyes to peers were sent");
        }
    }
}

impl Edge {
    /// Reads one round of each source. Output is sent in between, while it is in the cache.
    fn read(&mut self, tunnel: &mut Tunnel, now: Instant) -> Result<(), FatalError> {
        let Self { sockets, counters, .. } = self;
        sockets.receive(counters, |datagram| {
            tunnel.handle_inbound(datagram.local, datagram.from, datagram.ecn, datagram.payload, now);
        });
        if self.flush(tunnel)? == Flushed::Blocked {
            return Ok(());
        }
        let Self { tun, counters, .. } = self;
        tun.read(counters, |packet| tunnel.handle_outbound(packet, now)).map_err(FatalError::Tun)
    }

    /// Sends and writes all output of the tunnel. Output that a full edge does not take stays queued.
    fn flush(&mut self, tunnel: &mut Tunnel) -> Result<Flushed, FatalError> {
        let sent = self.send(tunnel);
        while let Some(packet) = tunnel.poll_packet() {
            self.tun.push(packet);
        }
        let written = self.tun.flush(&mut self.counters).map_err(FatalError::Tun)?;

        Ok(if (sent, written) == (Flushed::All, Flushed::All) { Flushed::All } else { Flushed::Blocked })
    }

    fn send(&mut self, tunnel: &mut Tunnel) -> Flushed {
        while let Some(transmit) = tunnel.poll_transmit() {
            self.sockets.push(transmit, &mut self.counters);
        }

        self.sockets.flush(&mut self.counters)
    }
}
