//! A client that asks for the address all the time, and notes who answers. The ARP requests come from a host beside it,
//! so that their answers do not teach the client's Linux what it has to find out itself.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metallb_l2::Instruction;
use metallb_net::{ETHERTYPE_ARP, PacketSocket};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::network::{Network, Number, SERVICE, WATCHER, node_of, patient};

/// Between two requests.
pub(super) const PACE: Duration = Duration::from_millis(1);
/// Between two ARP requests, which all speakers hear.
pub(super) const QUERY_PACE: Duration = Duration::from_millis(2);
/// The ARP requests come from addresses 198.18.0.0/16 (RFC 2544) in turn, so that an answer tells which it is to.
const SENDERS: [u8; 2] = [198, 18];
/// A filter that takes everything.
const TAKE_ALL: Instruction = Instruction {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 0xffff,
};

/// A question, and who has answered it when.
#[derive(Debug)]
pub(super) struct Asked {
    /// When it was sent.
    pub(super) at: Instant,
    /// Which nodes, and when.
    pub(super) answers: Vec<(Number, Instant)>,
}

/// Everything that the client has asked, in order.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Datagrams to the address, for which Linux finds the node as it always does.
    pub(super) requests: Vec<Asked>,
    /// ARP requests to all.
    pub(super) queries: Vec<Asked>,
}

/// Asks until it is dropped.
#[derive(Debug)]
pub(super) struct Client {
    notes: Arc<Mutex<Notes>>,
    ended: Arc<AtomicBool>,
    _queries: JoinSet<Result<()>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Client {
    /// Starts to ask.
    ///
    /// # Errors
    /// When there are no sockets.
    pub(super) fn start(network: &Network) -> Result<Self> {
        let notes = Arc::<Mutex<Notes>>::default();
        let socket = network.client.run(|| {
            let socket = patient(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?)?;
            socket.connect(SERVICE)?;
            anyhow::Ok(socket)
        })??;
        let (frames, interface) = network.watcher.run(|| {
            let frames = PacketSocket::open(ETHERTYPE_ARP)?;
            frames.set_filter(&[TAKE_ALL])?;
            let index = std::fs::read_to_string("/proc/thread-self/net/dev_mcast")?;
            let index = index.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                let index = words.next()?.parse().ok()?;
                (words.next() == Some("eth0")).then_some(index)
            });
            anyhow::Ok((frames, index.context("the watcher has no eth0")?))
        })??;
        let (sender, reader) = (socket.try_clone()?, socket);
        let ended = Arc::<AtomicBool>::default();
        let (theirs, goes_on) = (Arc::clone(&notes), going(&ended));
        thread::spawn(move || {
            let mut next = Instant::now();
            while goes_on() {
                request(&sender, &theirs);
                next = (next + PACE).max(Instant::now());
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        reader.set_read_timeout(Some(Duration::from_secs(1)))?;
        let (theirs, goes_on) = (Arc::clone(&notes), going(&ended));
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while goes_on() {
                // It fails while nobody has the address.
                if let Ok(length) = reader.recv(&mut buffer) {
                    note(&theirs, &buffer[..length], Instant::now());
                }
            }
        });
        let mut queries = JoinSet::new();
        queries.spawn(query(frames, interface, Arc::clone(&notes)));
        Ok(Self {
            notes,
            ended,
            _queries: queries,
        })
    }

    /// Looks at what was noted so far; the client waits meanwhile.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Notes) -> T) -> T {
        look(&lock(&self.notes))
    }
}

impl Notes {
    /// The requests and the queries that were sent between the two.
    pub(super) fn between(&self, from: Instant, to: Instant) -> [&[Asked]; 2] {
        [&self.requests, &self.queries].map(|asked| {
            let at = |time| asked.partition_point(|asked: &Asked| asked.at < time);
            &asked[at(from)..at(to.max(from))]
        })
    }
}

fn going(ended: &Arc<AtomicBool>) -> impl Fn() -> bool + Send + 'static {
    let ended = Arc::clone(ended);
    move || !ended.load(Ordering::Relaxed)
}

fn lock(notes: &Mutex<Notes>) -> std::sync::MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends one datagram, which says when it was sent.
fn request(socket: &UdpSocket, notes: &Mutex<Notes>) {
    let mut notes = lock(notes);
    let number = notes.requests.len() as u64;
    let at = Instant::now();
    notes.requests.push(Asked {
        at,
        answers: Vec::new(),
    });
    drop(notes);
    // It fails while nobody has the address: then nobody answers either.
    let _ = socket.send(&number.to_be_bytes());
}

fn note(notes: &Mutex<Notes>, answer: &[u8], at: Instant) {
    let Some((number, [node])) = answer.split_first_chunk() else {
        return;
    };
    let number = usize::try_from(u64::from_be_bytes(*number)).unwrap_or(usize::MAX);
    if let Some(asked) = lock(notes).requests.get_mut(number) {
        asked.answers.push((*node, at));
    }
}

async fn query(socket: PacketSocket, interface: u32, notes: Arc<Mutex<Notes>>) -> Result<()> {
    let mut pace = tokio::time::interval(QUERY_PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = [0; 128];
    loop {
        // Both arms are cancel-safe.
        tokio::select! {
            _ = pace.tick() => {
                let mut notes = lock(&notes);
                let frame = question(notes.queries.len());
                socket.send(interface, &frame)?;
                notes.queries.push(Asked { at: Instant::now(), answers: Vec::new() });
            }
            received = socket.receive(&mut buffer) => {
                let length = received?.len;
                claim(&mut lock(&notes), &buffer[..length]);
            }
        }
    }
}

/// An ARP request for the address (RFC 826).
fn question(number: usize) -> Vec<u8> {
    let number = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    let header = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let service = SERVICE.ip().octets();
    [
        &[0xff; 6],
        &WATCHER,
        &header[..],
        &WATCHER,
        &SENDERS,
        &number,
        &[0; 6],
        &service,
    ]
    .concat()
}

/// Notes an ARP reply with the question that it answers.
fn claim(notes: &mut Notes, frame: &[u8]) {
    let (Some([0, 2]), Some(mac), Some(ip)) = (frame.get(20..22), frame.get(22..28), frame.get(28..32)) else {
        return;
    };
    let (Some([198, 18, high, low]), Some(node)) = (frame.get(38..42), node_of(mac)) else {
        return;
    };
    let number = usize::from(u16::from_be_bytes([*high, *low]));
    if ip == SERVICE.ip().octets()
        && let Some(asked) = notes.queries.get_mut(number)
    {
        asked.answers.push((node, Instant::now()));
    }
}
