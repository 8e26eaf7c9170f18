//! A router that falls silent.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use metallb_bfd::{Action, Arrival, Bfd, Control, Diagnostic, Event, Hops, SessionId, SessionKey, State};
use metallb_dataplane::bfd::{self};
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Socket, Type};

use crate::{
    FAST, Who,
    ends::{self, Bfdd},
    neighbour::{Neighbour, run as shell},
};

const ROUTERS: usize = 10;
const ROUNDS: usize = 10;
const PORT: u16 = 3784;
const VICTIM: &str = "10.0.0.2";

/// The routers, which have a core of ours, and sockets of their own.
struct Script {
    core: Bfd,
    sockets: HashMap<SessionId, UdpSocket>,
    locals: HashMap<SessionId, IpAddr>,
    last_sent: HashMap<SessionId, Instant>,
    /// Those that say nothing any more.
    silent: HashMap<SessionId, Option<Duration>>,
}

/// Freezes ten routers at once, ten times; says the median and the highest times.
pub(crate) async fn run(who: Who) {
    shell("ip link set lo up");
    let mut neighbour = Neighbour::new(&[], &[&format!("{VICTIM}/24")]);
    let routers: Vec<IpAddr> = (0..ROUTERS)
        .map(|n| format!("10.0.0.{}", 101 + n).parse().unwrap())
        .collect();
    for router in &routers {
        shell(&format!("ip addr add {router}/24 dev node0"));
    }
    let victim: IpAddr = VICTIM.parse().unwrap();
    let mut script = Script::new(victim, &routers);
    let keys: Vec<_> = routers.iter().map(|router| (victim, *router)).collect();
    // Lives until the end.
    let _victim = match who {
        Who::Ours | Who::Unprivileged => {
            let (handle, _) = ends::start_in(Some(&mut neighbour));
            let session = |(local, peer)| {
                let key = SessionKey {
                    local: Some(local),
                    ..SessionKey::new(peer, Hops::Single)
                };
                (key, FAST.config())
            };
            handle.set_sessions(
                keys.into_iter()
                    .map(session)
                    .collect::<BTreeMap<_, bfd::SessionConfig>>(),
            );
            (Some(handle), None)
        }
        Who::Bfdd | Who::Mixed => (None, Some(Bfdd::start(Some(&mut neighbour), keys.into_iter(), FAST))),
    };
    script.run_until(Script::all_up);
    println!("ready");
    io::stdin().read_line(&mut String::new()).unwrap();
    let (mut times, mut lost) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        script.run_until(Script::all_up);
        // The rates are agreed on, and no round begins at the same point of an interval.
        let wait = Duration::from_millis(500 + 7 * round as u64);
        let begun = Instant::now();
        script.run_until(|_| begun.elapsed() > wait);
        lost += ROUTERS - script.up();
        script.silent = script.sockets.keys().map(|id| (*id, None)).collect();
        script.run_until(|script| script.silent.values().all(Option::is_some));
        times.extend(script.silent.drain().filter_map(|(_, time)| time));
    }
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    println!(
        "median {:.1} ms, p99 {:.1} ms, longest {:.1} ms of {}, {lost} were down before",
        at(50),
        at(99),
        at(100),
        times.len()
    );
}

impl Script {
    fn new(victim: IpAddr, routers: &[IpAddr]) -> Self {
        let random = SystemRandom::new();
        let mut script = Self {
            core: Bfd::new(move |buffer| random.fill(buffer).unwrap()),
            sockets: HashMap::new(),
            locals: HashMap::new(),
            last_sent: HashMap::new(),
            silent: HashMap::new(),
        };
        let session = |local: &IpAddr| {
            let key = SessionKey {
                local: Some(*local),
                ..SessionKey::new(victim, Hops::Single)
            };
            (key, FAST.config())
        };
        let sessions = routers.iter().map(session).collect();
        script.feed(Event::Sessions(sessions));
        script
    }

    fn up(&self) -> usize {
        self.core
            .sessions()
            .filter(|(_, status)| status.state == State::Up && !status.polling)
            .count()
    }

    fn all_up(&self) -> bool {
        self.up() == ROUTERS
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let mut buffer = [0; 128];
        while !done(self) {
            let mut heard = Vec::new();
            for (id, socket) in &self.sockets {
                while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    heard.push((*id, buffer[..len].to_vec(), from));
                }
            }
            for (id, bytes, from) in heard {
                self.hear(id, &bytes, from);
            }
            if self.core.next_deadline().is_some_and(|at| at <= Instant::now()) {
                self.feed(Event::Tick);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn hear(&mut self, id: SessionId, bytes: &[u8], from: SocketAddr) {
        let packet = Control::decode(bytes).unwrap();
        if let Some(time @ None) = self.silent.get_mut(&id)
            && packet.state == State::Down
            && packet.diagnostic == Diagnostic::TimeExpired
        {
            *time = Some(self.last_sent[&id].elapsed());
        }
        let arrival = Arrival {
            hops: Hops::Single,
            peer: from.ip(),
            local: self.locals[&id],
            interface: "node0",
            device: None,
            ttl: 255,
        };
        self.feed(Event::Control { arrival, bytes });
    }

    fn feed(&mut self, event: Event<'_>) {
        for action in self.core.handle(Instant::now(), event) {
            match action {
                Action::Opened { id, key } => {
                    let local = key.local.unwrap();
                    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), None).unwrap();
                    socket.set_ttl_v4(255).unwrap();
                    socket.bind(&SocketAddr::new(local, PORT).into()).unwrap();
                    self.sockets.insert(id, socket.into());
                    self.locals.insert(id, local);
                }
                Action::Send { id, bytes } if !self.silent.contains_key(&id) => {
                    // Before it is sent, so that it is never too late.
                    self.last_sent.insert(id, Instant::now());
                    let _ = self.sockets[&id].send_to(&bytes, SocketAddr::new(VICTIM.parse().unwrap(), PORT));
                }
                _ => {}
            }
        }
    }
}
