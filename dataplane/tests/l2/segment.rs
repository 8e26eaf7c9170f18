//! A segment with a node (this process) and a client (a thread in another network namespace).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    process::{Command, Output},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use metallb_net::{ETHERTYPE_ARP, PacketSocket};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::gettid,
};

use metallb_test_runner::{Way, run_inside};

pub(crate) const NODE_MAC: &str = "02:00:00:00:00:01";
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x50];
const CLIENT_ADDRESS: &str = "192.0.2.50/24";
/// How long anything may take before a test gives up; generous, as machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Runs `body` in a child process that has no capabilities over the network namespace it is in.
pub(crate) fn without_capabilities(body: impl Future<Output = ()>) {
    const WAY: Way = &["unshare", "--user"];
    let works = || {
        let tried = Command::new(WAY[0]).args(&WAY[1..]).arg("true").output();
        tried.is_ok_and(|done| done.status.success()).then_some(WAY)
    };
    run_inside(body, works, "there are no user namespaces");
}

/// Waits until `claim` holds.
pub(crate) async fn eventually(what: &str, claim: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !claim() {
        assert!(Instant::now() < end, "still missing after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// `node0` here, `client0` in the client's namespace.
pub(crate) struct Segment {
    jobs: mpsc::Sender<Job>,
    client: String,
}

impl Segment {
    pub(crate) fn new() -> Self {
        let (jobs, work) = mpsc::channel::<Job>();
        let (ready, client) = mpsc::channel();
        // The namespace belongs to this thread and whatever it starts, and ends with it.
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(gettid().to_string()).unwrap();
            work.into_iter().for_each(|job| job());
        });
        let segment = Self {
            jobs,
            client: client.recv().unwrap(),
        };
        segment.add_link("node0", "client0", NODE_MAC, CLIENT_ADDRESS);
        segment
    }

    /// Joins node and client by one more pair of interfaces.
    pub(crate) fn add_link(&self, node: &str, client: &str, node_mac: &str, client_address: &str) {
        let pid = &self.client;
        self.node(&format!(
            "ip link add {node} address {node_mac} type veth peer name {client} netns {pid}"
        ));
        if client == "client0" {
            let [a, b, c, d, e, f] = CLIENT_MAC;
            self.client(&format!(
                "ip link set {client} address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
            ));
        }
        self.client(&format!("ip addr add {client_address} dev {client}"));
        self.client(&format!("ip link set {client} up"));
        self.node(&format!("ip link set {node} up"));
    }

    /// Runs a command on the node.
    pub(crate) fn node(&self, command: &str) -> String {
        text(command, &run(command))
    }

    /// Says whether a command succeeds on the node.
    pub(crate) fn can(&self, command: &str) -> bool {
        run(command).status.success()
    }

    /// Runs a command on the client.
    pub(crate) fn client(&self, command: &str) -> String {
        let owned = command.to_owned();
        text(command, &self.on_client(move || run(&owned)))
    }

    pub(crate) fn on_client<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, done) = mpsc::channel();
        let job = Box::new(move || drop(result.send(job())));
        self.jobs.send(job).unwrap();
        done.recv().expect("the client's job has panicked")
    }

    /// Sends raw frames from the client.
    pub(crate) fn inject(&self, frames: Vec<Vec<u8>>) {
        let index: u32 = self
            .client("cat /proc/thread-self/net/dev_mcast")
            .lines()
            .find_map(index_of_client0)
            .unwrap();
        self.on_client(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let _context = runtime.enter();
            let socket = PacketSocket::open(ETHERTYPE_ARP).unwrap();
            frames.iter().for_each(|frame| socket.send(index, frame).unwrap());
        });
    }

    /// Waits until the client, by asking, has found `ip` at `mac`.
    pub(crate) async fn client_resolves(&self, ip: &str, mac: &str) {
        self.client_speaks_to(ip);
        self.client_has(ip, mac).await;
    }

    /// Waits until the client's neighbour table says that `ip` is at `mac`, without asking.
    pub(crate) async fn client_has(&self, ip: &str, mac: &str) {
        let what = format!("{ip} at {mac}, the client has {:?}", self.neighbour(ip));
        eventually(&what, || self.neighbour(ip).contains(&format!("lladdr {mac}"))).await;
    }

    /// Waits until the client has given up on `ip`, after three requests in three seconds.
    pub(crate) async fn client_fails_to_resolve(&self, ip: &str) {
        self.client_speaks_to(ip);
        eventually(&format!("failure to resolve {ip}"), || {
            self.neighbour(ip).contains("FAILED")
        })
        .await;
    }

    fn neighbour(&self, ip: &str) -> String {
        self.client(&format!("ip neigh show {ip}"))
    }

    /// A datagram to anywhere makes Linux resolve the address.
    fn client_speaks_to(&self, ip: &str) {
        let ip: IpAddr = ip.parse().unwrap();
        let any: IpAddr = if ip.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        self.on_client(move || {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            // Fails while the entry is marked as failed; that is the answer which the caller waits for.
            let _ = socket.send_to(b"anybody there?", (ip, 9));
        });
    }
}

/// Lines are `index name users global address`.
pub(crate) fn index_of_client0(line: &str) -> Option<u32> {
    let mut words = line.split_whitespace();
    let index = words.next()?;
    (words.next()? == "client0").then(|| index.parse().ok())?
}

fn run(command: &str) -> Output {
    let words: Vec<&str> = command.split_whitespace().collect();
    Command::new(words[0]).args(&words[1..]).output().unwrap()
}

fn text(command: &str, output: &Output) -> String {
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
