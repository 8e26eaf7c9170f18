use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use metallb_frr::{Attributes, Desired, Endpoint, Neighbour, RemoteAs, Router, Session, digest, word::Password};
use metallb_test_runner::in_namespace;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::daemons::{DAEMONS, Frr, eventually, run};

struct Reloader {
    child: Child,
    shared: TempDir,
}

impl Reloader {
    fn start(frr: &Frr) -> Self {
        let shared = TempDir::new().unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_frr-reloader")])
            .env("SHARED_VOLUME", shared.path())
            .env("FRR_SOCKETS", frr.path(""))
            .env("FRR_CONFIG_DIR", frr.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let reloader = Self { child, shared };
        eventually("process id", || {
            fs::read_to_string(reloader.path("reloader.pid")).map_err(|e| e.to_string())
        });
        reloader
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        // As the speaker does.
        let pid: i32 = self.read("reloader.pid").parse().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    fn want(&self, text: &str) {
        fs::write(self.path("frr.conf"), text).unwrap();
        self.signal(Signal::SIGHUP);
    }

    /// What became of `text`, which is wanted.
    fn outcome(&self, text: &str) -> String {
        let digest = format!("{:016x} ", digest(text));
        eventually("answer of the reloader", || {
            let answer = self.read(".status-of");
            answer.strip_prefix(&digest).map(str::to_owned).ok_or(answer)
        })
    }

    /// Ends it and returns what it said.
    fn end(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let mut said = String::new();
        std::io::Read::read_to_string(self.child.stdout.as_mut().unwrap(), &mut said).unwrap();
        assert!(self.child.wait().unwrap().success());
        for name in ["reloader.pid", "lock"] {
            assert!(!self.path(name).exists(), "{name}");
        }
        said
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(address: &str, routes: u32) -> String {
    let router = Router {
        asn: 64500,
        id: None,
        vrf: None,
    };
    let neighbour = Neighbour {
        password: Some(Password::new("hunter2").unwrap()),
        ..Neighbour::new(Endpoint::Address(address.parse().unwrap()), RemoteAs::Asn(64501))
    };
    let mut session = Session::new(router, neighbour);
    let prefixes = (0..routes).map(|n| format!("198.51.{}.{}/32", n / 256, n % 256).parse().unwrap());
    session
        .routes
        .extend(prefixes.map(|prefix| (prefix, Attributes::default())));
    let desired = Desired {
        sessions: vec![session],
        ..Desired::default()
    };
    desired.render().as_str().to_owned()
}

fn started() -> (Frr, Reloader) {
    run("ip link set lo up");
    let frr = Frr::start(None);
    let reloader = Reloader::start(&frr);
    (frr, reloader)
}

fn runs(frr: &Frr, line: &str) -> bool {
    frr.vtysh("show running-config").lines().any(|it| it.trim() == line)
}

// FRR-31, FRR-15
pub(crate) fn what_the_speaker_wants_is_applied_and_told() {
    in_namespace(async {
        let (frr, reloader) = started();
        let wanted = text("192.0.2.1", 1);
        reloader.want(&wanted);
        assert_eq!(reloader.outcome(&wanted), "success");
        assert!(reloader.read(".status").ends_with(" success"));
        for line in ["neighbor 192.0.2.1 password hunter2", "network 198.51.0.0/32"] {
            assert!(runs(&frr, line), "{line}");
            // The speaker is told before it is saved.
            eventually(&format!("saved {line}"), || {
                let saved = fs::read_to_string(frr.path("frr.conf")).unwrap_or_default();
                saved.contains(line).then_some(()).ok_or(saved)
            });
        }
        let said = reloader.end();
        assert!(said.contains("applied") && !said.contains("hunter2"), "{said}");
    });
}

pub(crate) fn routes_come_and_go_without_a_reload() {
    in_namespace(async {
        let (frr, reloader) = started();
        reloader.want(&text("192.0.2.1", 0));
        assert_eq!(reloader.outcome(&text("192.0.2.1", 0)), "success");
        for routes in [300, 301, 300, 0, 3] {
            let wanted = text("192.0.2.1", routes);
            reloader.want(&wanted);
            assert_eq!(reloader.outcome(&wanted), "success");
            let shown = frr.vtysh("show running-config").matches("  network ").count();
            assert_eq!(shown, usize::try_from(routes).unwrap());
        }
        eventually("three routes that FRR remembers", || {
            let file = fs::read_to_string(frr.path("frr.conf")).unwrap();
            (file.matches("  network ").count() == 3).then_some(()).ok_or(file)
        });
        let left = frr.reload(&text("192.0.2.1", 3), "--test");
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        assert!(!left.contains("prefix-list") && !left.contains("network"), "{left}");
        let said = reloader.end();
        assert_eq!(said.matches("line by line").count(), 6, "{said}");
    });
}

// FRR-32
pub(crate) fn a_file_that_frr_cannot_read_changes_nothing_and_is_told_in_its_words() {
    in_namespace(async {
        let (frr, reloader) = started();
        let good = text("192.0.2.1", 1);
        reloader.want(&good);
        assert_eq!(reloader.outcome(&good), "success");
        let bad = text("192.0.2.2", 1) + "frobnicate password hunter2\n";
        reloader.want(&bad);
        assert_eq!(reloader.outcome(&bad), "failure");
        let words = reloader.read("last-error");
        assert!(words.contains("frobnicate") && !words.contains("hunter2"), "{words}");
        assert!(runs(&frr, "neighbor 192.0.2.1 remote-as 64501"));
        assert!(!runs(&frr, "neighbor 192.0.2.2 remote-as 64501"));
        reloader.want(&good);
        assert_eq!(reloader.outcome(&good), "success");
        assert_eq!(reloader.read("last-error"), "");
    });
}

pub(crate) fn what_is_half_applied_is_taken_back() {
    in_namespace(async {
        let (frr, reloader) = started();
        let good = text("192.0.2.1", 1);
        reloader.want(&good);
        assert_eq!(reloader.outcome(&good), "success");
        // FRR knows the words, but not why a second instance should have another number.
        let bad = text("192.0.2.2", 1) + "router bgp 65000\n bgp router-id 192.0.2.9\n";
        reloader.want(&bad);
        assert_eq!(reloader.outcome(&bad), "failure");
        let words = reloader.read("last-error");
        assert!(
            words.contains("router bgp 65000") && words.contains("last good"),
            "{words}"
        );
        assert!(runs(&frr, "neighbor 192.0.2.1 remote-as 64501"));
        assert!(!runs(&frr, "neighbor 192.0.2.2 remote-as 64501"));
    });
}

// FRR-36
pub(crate) fn a_daemon_that_starts_anew_is_told_again() {
    in_namespace(async {
        let (mut frr, reloader) = started();
        let wanted = text("192.0.2.1", 1);
        reloader.want(&wanted);
        assert_eq!(reloader.outcome(&wanted), "success");
        frr.restart("bgpd");
        eventually("the neighbour again", || {
            let known = runs(&frr, "neighbor 192.0.2.1 remote-as 64501");
            known.then_some(()).ok_or_else(|| frr.vtysh("show running-config"))
        });
        drop(reloader);
    });
}

// FRR-30
pub(crate) fn what_is_wanted_before_frr_runs_is_applied_when_it_does() {
    in_namespace(async {
        run("ip link set lo up");
        let mut frr = Frr::absent();
        let reloader = Reloader::start(&frr);
        let wanted = text("192.0.2.1", 1);
        reloader.want(&wanted);
        eventually("words about FRR", || {
            let words = reloader.read("last-error");
            words
                .contains("zebra, bgpd, bfdd, staticd cannot be reached")
                .then_some(())
                .ok_or(words)
        });
        frr.begin(None);
        // Nobody signals a second time.
        assert_eq!(reloader.outcome(&wanted), "success");
        assert!(runs(&frr, "neighbor 192.0.2.1 remote-as 64501"));
        assert_eq!(reloader.read("last-error"), "");
    });
}

pub(crate) fn a_new_reloader_applies_what_the_last_one_did_not() {
    in_namespace(async {
        run("ip link set lo up");
        let frr = Frr::start(None);
        let reloader = Reloader::start(&frr);
        let wanted = text("192.0.2.1", 1);
        fs::write(reloader.path("frr.conf"), &wanted).unwrap();
        assert_eq!(reloader.outcome(&wanted), "success");
        assert!(runs(&frr, "neighbor 192.0.2.1 remote-as 64501"));
    });
}

/// Has these daemons killed, and wants something of them.
fn what_is_wanted_of_dead_daemons(dead: &[&'static str]) {
    let (mut frr, reloader) = started();
    let first = text("192.0.2.1", 1);
    reloader.want(&first);
    assert_eq!(reloader.outcome(&first), "success");
    for daemon in dead {
        // Its socket is still there.
        let pid = i32::try_from(frr.pid(daemon)).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    let wanted = text("192.0.2.2", 1);
    reloader.want(&wanted);
    eventually("words about FRR", || {
        let words = reloader.read("last-error");
        let told = dead.iter().all(|daemon| words.contains(daemon));
        told.then_some(()).ok_or(words)
    });
    assert!(
        !reloader
            .read(".status-of")
            .starts_with(&format!("{:016x} ", digest(&wanted)))
    );
    dead.iter().for_each(|daemon| frr.restart(daemon));
    // Nobody signals a second time.
    assert_eq!(reloader.outcome(&wanted), "success");
    assert!(runs(&frr, "neighbor 192.0.2.2 remote-as 64501"));
    let said = reloader.end();
    assert!(said.lines().count() < 20, "{said}");
}

// FRR-36
pub(crate) fn what_dead_daemons_could_not_be_told_is_told_to_their_successors() {
    in_namespace(async { what_is_wanted_of_dead_daemons(&DAEMONS) });
}

// FRR-36
pub(crate) fn what_a_dead_daemon_could_not_be_told_is_told_to_its_successor() {
    in_namespace(async { what_is_wanted_of_dead_daemons(&["bgpd"]) });
}

// FRR-34
pub(crate) fn signals_during_a_reload_lead_to_the_newest_file() {
    in_namespace(async {
        let (frr, reloader) = started();
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            reloader.want(&text(address, 1));
        }
        assert_eq!(reloader.outcome(&text("192.0.2.3", 1)), "success");
        assert!(runs(&frr, "neighbor 192.0.2.3 remote-as 64501"));
        assert!(!runs(&frr, "neighbor 192.0.2.2 remote-as 64501"));
    });
}

// FRR-34
pub(crate) fn a_burst_of_changes_is_one_reload() {
    in_namespace(async {
        let (_frr, reloader) = started();
        for routes in 0..100 {
            reloader.want(&text("192.0.2.1", routes));
        }
        assert_eq!(reloader.outcome(&text("192.0.2.1", 99)), "success");
        let said = reloader.end();
        assert!(said.lines().count() < 20, "{said}");
    });
}
