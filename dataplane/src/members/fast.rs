//! The fast path: a thread with its own socket and timers, so that neither a long list nor a flood delays it.
//!
//! ```text
//!  membership ── Members, Keys ──┐                            ┌──► watch: suspects
//!  speaker ── partners, answers ─┴► channel ─► fast thread ───┴──► broadcast: questions
//!                                              (metallb_members::fast::Detector) ◄──► its part of the UDP port
//! ```
//! The thread ends when all senders of the channel are gone; until then it answers the others.

use std::{
    io,
    net::UdpSocket as StdSocket,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use metallb_members::fast::{Action, Config, Detector, Event, Keys, MAX_LEN, Pace, Question, Suspects};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    net::UdpSocket,
    runtime,
    sync::{Notify, broadcast, mpsc, oneshot, watch},
    time::{self, MissedTickBehavior},
};

use super::{
    heartbeat::{self, Heartbeat, Heartbeats, Watched},
    losses::Losses,
    sleep_until,
};

/// So many datagrams are heard before what else there is to do.
const HEARD_AT_A_TIME: u32 = 64;
/// So many are heard before the silence of others is judged.
const HEARD_FIRST: u32 = 1024;
/// After a socket error, so that a broken socket does not become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// Questions that a slow reader may leave unread; older ones are not worth an answer.
const QUESTIONS_KEPT: usize = 64;

/// What the thread is told.
#[derive(Debug)]
enum Told {
    /// What the detector is told.
    Event(Event),
    /// To watch a part of the speaker.
    Watch(Watched),
}

/// Controls the running fast path; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Fast {
    inbox: mpsc::UnboundedSender<Told>,
    pub(super) suspects: watch::Receiver<Suspects>,
    pub(super) questions: broadcast::Sender<Question>,
}

impl Fast {
    /// Starts the thread; the receiver learns when it has ended.
    pub(super) fn start(
        node: &str,
        socket: StdSocket,
        keys: Keys,
        returned: Arc<Notify>,
        losses: Losses,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (sender, inbox) = mpsc::unbounded_channel();
        let (suspects_writer, suspects) = watch::channel(Suspects::default());
        let (questions, _) = broadcast::channel(QUESTIONS_KEPT);
        let (ending, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let task = Task {
            detector: detector(node, keys),
            suspects: suspects_writer,
            questions: questions.clone(),
            returned,
            heartbeats: Heartbeats::default(),
            stuck: Vec::new(),
            fit: true,
            losses,
        };
        thread::Builder::new().name("members-fast".to_owned()).spawn(move || {
            // Dropped when the thread ends, however it does.
            let _ending: oneshot::Sender<()> = ending;
            if let Err(error) = runtime.block_on(task.run(socket, inbox)) {
                tracing::error!(%error, "the fast path of the membership has failed");
            }
        })?;
        let fast = Self {
            inbox: sender,
            suspects,
            questions,
        };
        Ok((fast, ended))
    }

    /// Whoever owns the membership sees it when the thread has ended.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.inbox.send(Told::Event(event));
    }

    pub(super) fn watch(&self, part: &'static str) -> Heartbeat {
        let (heartbeat, watched) = Watched::new(part);
        let _ = self.inbox.send(Told::Watch(watched));
        heartbeat
    }
}

fn detector(node: &str, keys: Keys) -> Detector {
    let random = SystemRandom::new();
    let fill = move |buffer: &mut [u8]| {
        random.fill(buffer).expect("a kernel that runs programs has randomness");
    };
    let mut boot = [0; 8];
    fill(&mut boot);
    let config = Config {
        node: node.to_owned(),
        boot: u64::from_ne_bytes(boot),
        pace: Pace::default(),
        keys,
    };
    Detector::new(config, Instant::now(), fill)
}

struct Task {
    detector: Detector,
    suspects: watch::Sender<Suspects>,
    questions: broadcast::Sender<Question>,
    returned: Arc<Notify>,
    heartbeats: Heartbeats,
    /// The parts of the speaker that are stuck.
    stuck: Vec<&'static str>,
    /// Whether the speaker says that it can announce.
    fit: bool,
    losses: Losses,
}

impl Task {
    /// Every arm is cancel-safe.
    async fn run(mut self, socket: StdSocket, mut inbox: mpsc::UnboundedReceiver<Told>) -> io::Result<()> {
        let socket = UdpSocket::from_std(socket)?;
        let mut buffer = [0; MAX_LEN];
        let mut heard = 0;
        let mut looks = time::interval(heartbeat::LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.detector.next_deadline();
            tokio::select! {
                biased;
                received = socket.recv(&mut buffer), if heard < HEARD_AT_A_TIME => {
                    heard += 1;
                    match received {
                        Ok(len) => self.hear(&socket, &buffer[..len]).await,
                        Err(error) => {
                            tracing::warn!(%error, "receiving for the fast path of the membership");
                            time::sleep(ERROR_PAUSE).await;
                        }
                    }
                    continue;
                }
                told = inbox.recv() => match told {
                    Some(Told::Event(Event::Fit(fit))) => {
                        self.fit = fit;
                        self.tell_fitness(&socket).await;
                    }
                    Some(Told::Event(event)) => self.feed(&socket, event).await,
                    Some(Told::Watch(watched)) => self.heartbeats.add(watched),
                    None => return Ok(()),
                },
                _ = looks.tick() => self.look(&socket).await,
                () = sleep_until(deadline) => {
                    self.hear_first(&socket, &mut buffer).await;
                    self.feed(&socket, Event::Tick).await;
                }
                () = std::future::ready(()), if heard >= HEARD_AT_A_TIME => {}
            }
            heard = 0;
        }
    }

    /// Looks whether the speaker is stuck, and can answer for nothing although this thread answers the others.
    async fn look(&mut self, socket: &UdpSocket) {
        let stuck = self.heartbeats.look(Instant::now());
        if stuck == self.stuck {
            return;
        }
        if stuck.is_empty() {
            tracing::info!(event = "speakerGoesOn", "the speaker goes on");
        } else {
            tracing::error!(
                event = "speakerStuck",
                ?stuck,
                "the speaker is stuck: others are to stand in"
            );
        }
        self.stuck = stuck;
        self.tell_fitness(socket).await;
    }

    async fn tell_fitness(&mut self, socket: &UdpSocket) {
        let fit = self.fit && self.stuck.is_empty();
        self.feed(socket, Event::Fit(fit)).await;
    }

    /// Hears what has already come in, before anybody is judged.
    async fn hear_first(&mut self, socket: &UdpSocket, buffer: &mut [u8]) {
        for _ in 0..HEARD_FIRST {
            let Ok(len) = socket.try_recv(buffer) else { return };
            self.hear(socket, &buffer[..len]).await;
        }
    }

    async fn hear(&mut self, socket: &UdpSocket, bytes: &[u8]) {
        self.feed(socket, Event::Datagram(bytes.to_vec())).await;
    }

    async fn feed(&mut self, socket: &UdpSocket, event: Event) {
        match self.detector.handle(Instant::now(), event) {
            Ok(actions) => {
                for action in actions {
                    self.perform(socket, action).await;
                }
            }
            // The key is warned of by memberlist's part.
            Err(reason) => tracing::debug!(%reason, "datagram of the fast path refused"),
        }
    }

    async fn perform(&self, socket: &UdpSocket, action: Action) {
        match action {
            Action::Send { to, bytes } => {
                // A member that cannot be reached is found out by its silence.
                if let Err(error) = socket.send_to(&bytes, to).await {
                    tracing::debug!(%to, %error, "sending a datagram of the fast path");
                }
            }
            Action::Ask(question) => {
                // Without a reader nobody can answer.
                let _ = self.questions.send(question);
            }
            Action::Returned(member) => {
                tracing::info!(
                    event = "memberAnswersAgain",
                    member,
                    "a speaker that was suspected is heard again"
                );
                self.returned.notify_one();
            }
            Action::Suspects(suspects) => {
                let names = &suspects.names;
                if *names != self.suspects.borrow().names {
                    tracing::info!(
                        event = "membersSuspected",
                        suspects = ?names,
                        "speakers that others stand in for"
                    );
                    let heard = |node: &str| self.detector.last_heard(node);
                    self.losses.suspected(names, Instant::now(), heard);
                }
                self.suspects.send_replace(suspects);
            }
        }
    }
}
