//! BFD under load, beside FRR's bfdd in the same run: false downs, how soon silence is noticed, processor time. Prints figures,
//! asserts none. Needs root; without FRR it measures ours alone.
//!
//! `cargo bench -p metallb-dataplane --bench bfd [-- [load|detect|many|packets] [seconds]]`
//!
//! Each line that is measured is a process of its own in a network namespace of its own, so that those to be compared run at
//! the same time on the same processors: `ours` with real-time priority if this process may have it, `unprivileged` without
//! SYS_NICE as in a pod, `bfdd`.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

mod detect;
mod ends;
#[path = "../../tests/bgp/neighbour.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod neighbour;

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ends::Rate;

/// Says to a process which line it is.
const ROLE: &str = "METALLB_BENCH_BFD_ROLE";
const FAST: Rate = Rate {
    interval: 50,
    multiplier: 3,
};
const SLOW: Rate = Rate {
    interval: 300,
    multiplier: 3,
};

/// Who speaks BFD, on both ends of the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// We do, with real-time priority where that is allowed.
    Ours,
    /// We do, without SYS_NICE.
    Unprivileged,
    /// FRR does.
    Bfdd,
    /// We on one end and FRR on the other.
    Mixed,
}

impl Who {
    const ALL: [Self; 3] = [Self::Ours, Self::Unprivileged, Self::Bfdd];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Unprivileged => "unprivileged",
            Self::Bfdd => "bfdd",
            Self::Mixed => "mixed",
        }
    }

    fn parse(name: &str) -> Self {
        let all = [Self::Ours, Self::Unprivileged, Self::Bfdd, Self::Mixed];
        all.into_iter().find(|who| who.name() == name).unwrap()
    }

    fn is_possible(self) -> bool {
        matches!(self, Self::Ours | Self::Unprivileged) || metallb_test_runner::frr::has("bfdd")
    }
}

fn main() {
    if let Ok(role) = env::var(ROLE) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let words: Vec<_> = role.split(' ').collect();
        let who = Who::parse(words[1]);
        return runtime.block_on(async {
            match words[0] {
                "pair" => {
                    let [interval, multiplier] = [3, 4].map(|at| words[at].parse().unwrap());
                    ends::run(who, words[2].parse().unwrap(), Rate { interval, multiplier }).await;
                }
                "detect" => detect::run(who).await,
                role => panic!("no such role: {role}"),
            }
        });
    }
    let args: Vec<_> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let what = args.first().map(String::as_str);
    let seconds = args.get(1).and_then(|text| text.parse().ok());
    let does = |name| what.is_none_or(|what| what == name);
    if does("packets") {
        packets(seconds.unwrap_or(20));
    }
    if does("detect") {
        detection();
    }
    if does("load") {
        load(seconds.unwrap_or(30));
    }
    if does("many") {
        many(seconds.unwrap_or(30));
    }
}

/// A line that runs.
struct Line {
    who: Who,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Line {
    fn start(role: &str, who: Who, rest: &str) -> Self {
        let nobody_nice: &[&str] = if who == Who::Unprivileged {
            &["--bounding-set=-sys_nice", "--inh-caps=-sys_nice"]
        } else {
            &[]
        };
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(nobody_nice)
            .args(["unshare", "--net"])
            .arg(env::current_exe().unwrap())
            .env(ROLE, format!("{role} {} {rest}", who.name()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            who,
            child,
            stdin,
            stdout,
        }
    }

    /// Lines with every candidate that is possible here, all of them ready.
    fn all(role: &str, candidates: &[Who], rest: &str) -> Vec<Self> {
        let candidates = candidates.iter().filter(|who| who.is_possible());
        let mut lines: Vec<_> = candidates.map(|who| Self::start(role, *who, rest)).collect();
        for line in &mut lines {
            line.hear();
        }
        lines
    }

    fn hear(&mut self) -> String {
        let mut text = String::new();
        self.stdout.read_line(&mut text).unwrap();
        assert!(!text.is_empty(), "{:?} has ended", self.who);
        text.trim().to_owned()
    }

    fn tell(&mut self) {
        writeln!(self.stdin).unwrap();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks all lines now and after a time, and prints both answers' difference.
fn measure(title: &str, lines: &mut [Line], seconds: u64) {
    let ask = |lines: &mut [Line]| -> Vec<ends::Figures> {
        lines.iter_mut().for_each(Line::tell);
        lines
            .iter_mut()
            .map(|line| ends::Figures::parse(&line.hear()))
            .collect()
    };
    let before = ask(lines);
    let begun = Instant::now();
    thread::sleep(Duration::from_secs(seconds));
    let after = ask(lines);
    let elapsed = begun.elapsed();
    println!("{title}, {} s", elapsed.as_secs());
    for ((line, before), after) in lines.iter().zip(before).zip(after) {
        println!("  {:<13} {}", line.who.name(), after.since(&before, elapsed));
    }
}

/// Processor time by packet.
fn packets(seconds: u64) {
    for (count, rate) in [(200, FAST), (1000, SLOW)] {
        for who in [Who::Ours, Who::Bfdd, Who::Mixed] {
            let mut lines = Line::all("pair", &[who], &format!("{count} {rate}"));
            if !lines.is_empty() {
                measure(&format!("{count} sessions at {rate}"), &mut lines, seconds);
            }
        }
    }
}

/// Both processors are busy: two processes that spin, and one that changes routes.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Self {
        let churn = "ip link set lo up; while :; do \
            for n in 1 2 3 4 5 6 7 8 9; do ip route replace 10.9.$n.0/24 dev lo; ip addr add 10.8.$n.1/32 dev lo; done; \
            ip route flush 10.9.0.0/16; ip addr flush to 10.8.0.0/16 dev lo; done";
        let spin = &["sh", "-c", "while :; do :; done"][..];
        let churn = &["unshare", "--net", "sh", "-c", churn][..];
        let start = |command: &&[&str]| {
            let mut all = Command::new("setpriv");
            all.args(["--pdeathsig", "KILL"]).args(*command);
            all.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        Self([spin, spin, churn].iter().map(start).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// False downs at 50 ms × 3 while both processors are busy.
fn load(seconds: u64) {
    let mut lines = Line::all("pair", &Who::ALL, &format!("10 {FAST}"));
    let _busy = Busy::start();
    measure(&format!("busy processors, 10 sessions at {FAST}"), &mut lines, seconds);
}

/// A thousand sessions; one after the other, as bfdd needs a whole processor to bring that many up.
fn many(seconds: u64) {
    for who in [Who::Ours, Who::Bfdd] {
        let mut lines = Line::all("pair", &[who], &format!("1000 {SLOW}"));
        if !lines.is_empty() {
            measure(&format!("1000 sessions at {SLOW}"), &mut lines, seconds);
        }
    }
}

/// How soon silence is noticed.
fn detection() {
    for busy in [false, true] {
        let mut lines = Line::all("detect", &Who::ALL, "");
        let _busy = busy.then(Busy::start);
        println!(
            "silent router at {FAST}, from its last packet to ours that says Down{}",
            if busy { ", busy processors" } else { "" }
        );
        lines.iter_mut().for_each(Line::tell);
        for line in &mut lines {
            let figures = line.hear();
            println!("  {:<13} {figures}", line.who.name());
        }
    }
}
