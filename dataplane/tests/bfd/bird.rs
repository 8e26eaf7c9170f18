//! BIRD as the router's side.

use std::{path::Path, process::Command, time::Duration};

use metallb_dataplane::bfd::Diagnostic;
use metallb_test_runner::skip;
use tempfile::TempDir;

use crate::{
    agreed, eventually, far, freeze,
    frr::change_profiles,
    key,
    neighbour::{Neighbour, in_namespace},
    speaker, up,
};

const BIRD: &str = "/usr/sbin/bird";
/// The machine may be busy.
const PATIENT: u8 = 30;
const ONE_HOP: &str = "neighbor 10.0.0.1 dev \"peer0\" local 10.0.0.2;";

struct Bird {
    _neighbour: Neighbour,
    folder: TempDir,
    pid: u32,
}

impl Bird {
    /// Starts a router at 10.0.0.2 and fd00::2 with these BFD neighbours; skips the test if BIRD is not there.
    fn start(multiplier: u8, neighbors: &str) -> Self {
        if !Path::new(BIRD).exists() {
            skip("BIRD is not installed");
        }
        let mut neighbour = Neighbour::new(&["10.0.0.1/24", "fd00::1/64"], &["10.0.0.2/24", "fd00::2/64"]);
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let rates = format!("interval 100 ms; multiplier {multiplier};");
        let config = format!(
            "router id 10.0.0.2;\nprotocol device {{}}\n\
             protocol bfd {{ interface \"peer0\" {{ {rates} }}; multihop {{ {rates} }}; {neighbors} }}\n"
        );
        std::fs::write(path("bird.conf"), config).unwrap();
        let (config, control, pid) = (path("bird.conf"), path("control"), path("pid"));
        let pid = neighbour.start(BIRD, &["-f", "-c", &config, "-s", &control, "-P", &pid]);
        Self {
            _neighbour: neighbour,
            folder,
            pid,
        }
    }

    fn birdc(&self, command: &str) -> String {
        let control = self.folder.path().join("control");
        let output = Command::new("birdc")
            .arg("-s")
            .arg(control)
            .arg(command)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn shows_up(&self, sessions: usize) {
        eventually("sessions that are up", || {
            let answer = self.birdc("show bfd sessions");
            let up = answer.lines().filter(|line| line.contains(" Up ")).count();
            (up == sessions).then_some(()).ok_or(answer)
        })
        .await;
    }
}

// BGP-84, BGP-93
pub(crate) fn bird_is_up_over_one_hop_with_either_family() {
    in_namespace(async {
        let bird = Bird::start(
            PATIENT,
            &format!("{ONE_HOP} neighbor fd00::1 dev \"peer0\" local fd00::2;"),
        );
        let handle = speaker([key("10.0.0.2"), key("fd00::2")]);
        up(&handle, &key("10.0.0.2")).await;
        up(&handle, &key("fd00::2")).await;
        bird.shows_up(2).await;
    });
}

// BGP-86
pub(crate) fn bird_is_up_over_several_hops() {
    in_namespace(async {
        let bird = Bird::start(PATIENT, "neighbor 10.0.0.1 local 10.0.0.2 multihop on;");
        let handle = speaker([far("10.0.0.2")]);
        up(&handle, &far("10.0.0.2")).await;
        bird.shows_up(1).await;
    });
}

// BGP-88
pub(crate) fn frozen_bird_is_down_at_the_detection_time_and_comes_back() {
    in_namespace(async {
        let bird = Bird::start(3, ONE_HOP);
        let handle = speaker([key("10.0.0.2")]);
        agreed(&handle, &key("10.0.0.2"), Duration::from_millis(100)).await;
        let state = freeze(&handle, &key("10.0.0.2"), bird.pid).await;
        assert_eq!(state.status.diagnostic, Diagnostic::TimeExpired);
        up(&handle, &key("10.0.0.2")).await;
    });
}

// BGP-87
pub(crate) fn bird_keeps_the_session_while_our_profile_changes() {
    in_namespace(async {
        let bird = Bird::start(PATIENT, ONE_HOP);
        let handle = speaker([key("10.0.0.2")]);
        up(&handle, &key("10.0.0.2")).await;
        change_profiles(&handle, &key("10.0.0.2")).await;
        bird.shows_up(1).await;
    });
}
