use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
};

use metallb_test_runner::{in_namespace, skip};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::daemons::{Frr, eventually, run, words};

const CONFIGURATION: &str = "bfd
 profile fast
router bgp 64500
 no bgp default ipv4-unicast
 neighbor 192.0.2.1 remote-as 64501
 neighbor 192.0.2.1 bfd
 neighbor eth1 interface remote-as external
 address-family ipv4 unicast
  neighbor 192.0.2.1 activate
";

/// What curl gets: the body, and below it the code.
fn get(path: &str, token: &str) -> String {
    let output = Command::new("curl")
        .args([
            "-sk",
            "--max-time",
            "10",
            "-w",
            "\n%{http_code}",
            "-H",
            &format!("Authorization: Bearer {token}"),
        ])
        .arg(format!("https://127.0.0.1:9121{path}"))
        .output()
        .unwrap();
    words(&output)
}

struct Exporter {
    child: Child,
    api: metallb_lab_api::ApiServer,
    _folder: TempDir,
}

impl Exporter {
    /// Starts it; skips the test without curl.
    async fn start(frr: &Frr) -> Self {
        if Command::new("curl").arg("--version").output().is_err() {
            skip("curl is not installed");
        }
        let folder = TempDir::new().unwrap();
        let options = metallb_lab_api::Options {
            listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
            dir: folder.path().to_owned(),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_frr-metrics")])
            .args(["--metrics-port=9121", "--metrics-bind-address=0.0.0.0"])
            .env("KUBECONFIG", api.kubeconfig_path())
            .env("FRR_SOCKETS", frr.path(""))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // There is no watchfrr here.
        eventually("answer about life", || {
            let answer = get("/livez", "");
            (answer == "not running: watchfrr\n\n404").then_some(()).ok_or(answer)
        });
        Self {
            child,
            api,
            _folder: folder,
        }
    }

    fn metrics(&self) -> String {
        get("/metrics", self.api.token())
    }

    /// Programs that it has started and that have not ended.
    fn programs(&self) -> String {
        let pid = self.child.id();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// FRR-39, FRR-40, FRR-41, FRR-42
pub(crate) fn sessions_are_shown_to_whoever_has_a_token_and_life_to_everybody() {
    in_namespace(async {
        run("ip link set lo up");
        let frr = Frr::start(None);
        frr.apply(CONFIGURATION);
        let exporter = Exporter::start(&frr).await;
        assert!(get("/metrics", "wrong").ends_with("401"));
        let metrics = exporter.metrics();
        for line in [
            "# TYPE metallb_bgp_session_up gauge",
            "metallb_bgp_session_up{peer=\"192.0.2.1:-1\",vrf=\"default\"} 0",
            "metallb_bgp_session_up{peer=\"eth1\",vrf=\"default\"} 0",
            "# TYPE metallb_bgp_opens_sent counter",
            "metallb_bgp_announced_prefixes_total{peer=\"192.0.2.1:-1\",vrf=\"default\"} 0",
            "metallb_bfd_session_up{peer=\"192.0.2.1\",vrf=\"default\"} 0",
            "# TYPE metallb_bfd_zebra_notifications counter",
        ] {
            assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
        }
    });
}

// FRR-42
pub(crate) fn a_daemon_that_hangs_holds_up_neither_answers_nor_programs() {
    in_namespace(async {
        run("ip link set lo up");
        let frr = Frr::start(None);
        frr.apply(CONFIGURATION);
        let exporter = Exporter::start(&frr).await;
        let bgpd = Pid::from_raw(i32::try_from(frr.pid("bgpd")).unwrap());
        kill(bgpd, Signal::SIGSTOP).unwrap();
        // Those who scrape hang up before FRR has answered; what asks for them ends.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| run("curl -sk --max-time 1 https://127.0.0.1:9121/livez || true"));
            }
        });
        let rests = || {
            eventually("end of what nobody waits for", || {
                let programs = exporter.programs();
                programs.is_empty().then_some(()).ok_or(programs)
            });
        };
        rests();
        let life = get("/livez", "");
        assert!(
            life.starts_with("no answer to 'show daemons' within 5s") && life.ends_with("500"),
            "{life}"
        );
        let metrics = exporter.metrics();
        assert!(
            metrics.ends_with("200") && !metrics.contains("metallb_bgp_session_up"),
            "{metrics}"
        );
        rests();
        kill(bgpd, Signal::SIGCONT).unwrap();
        assert!(exporter.metrics().contains("metallb_bgp_session_up"));
    });
}
