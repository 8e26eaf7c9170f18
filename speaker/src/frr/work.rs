//! Renders the model and has the reloader apply it, one configuration at a time.

use std::time::Duration;

use metallb_engine::ConfigReport;
use metallb_frr::Text;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::Settings;
use super::answer::{Answer, Outcome};
use super::desired::desired;
use super::model::Shared;
use super::reloader::Reloader;
use crate::retry::{Next, Retries};

/// How long changes are gathered by default: enough for those of one pass of the engine. While FRR applies a
/// configuration, further changes gather anyway.
const GATHER: Duration = Duration::from_millis(10);
/// Shortest and longest pause between two looks at the reloader's answer. In between it is an eighth of the time waited so
/// far. Not inotify: nodes run out of inotify instances, so there would have to be a poll as well.
const LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// How long to wait for an answer after [`SILENT`]. With thousands of prefixes frr-reload.py takes minutes.
const BUSY: Duration = Duration::from_secs(600);
/// How long to wait for an answer before it is reported that there is none.
const SILENT: Duration = Duration::from_secs(60);
/// Pause before the first retry; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The task.
#[derive(Debug)]
pub(super) struct Work {
    settings: Settings,
    model: Shared,
    reloader: Reloader,
    problems: watch::Sender<ConfigReport>,
    /// What cannot be part of the configuration.
    left_out: Vec<String>,
    /// Why the last configuration is not applied.
    obstacle: Option<String>,
    /// What FRR runs, if known.
    applied: Option<Text>,
    retries: Retries,
}

impl Work {
    pub(super) fn new(
        settings: Settings,
        model: Shared,
        reloader: Reloader,
        problems: watch::Sender<ConfigReport>,
    ) -> Self {
        Self {
            settings,
            model,
            reloader,
            problems,
            left_out: Vec::new(),
            obstacle: None,
            applied: None,
            retries: Retries::new(PAUSE, LONGEST_PAUSE),
        }
    }

    /// Works until it is dropped: it holds a sender of changes itself.
    pub(super) async fn run(mut self) {
        let mut changes = self.model.changes();
        // There may have been changes before.
        changes.mark_changed();
        loop {
            // Every arm is cancel-safe.
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = self.retries.due() => {}
            }
            // As upstream, later changes do not extend the window.
            sleep(self.settings.window.unwrap_or(GATHER)).await;
            changes.mark_unchanged();
            let next = self.attempt().await;
            self.retries.attempted(next);
        }
    }

    async fn attempt(&mut self) -> Next {
        let Some(model) = self.model.known() else {
            return Next::Wait;
        };
        let (desired, left_out) = desired(&model, &self.settings.fixed);
        self.left_out = left_out;
        self.tell();
        let text = desired.render();
        if self.applied.is_none() && self.reloader.has_applied(&text) {
            // By an earlier run of the speaker.
            self.applied = Some(text.clone());
        }
        let (obstacle, next) = match self.applied.as_ref() == Some(&text) {
            true => (None, Next::Wait),
            false => self.bring(text).await,
        };
        self.obstacle = obstacle;
        self.tell();
        next
    }

    /// Publishes what FRR does not do.
    fn tell(&self) {
        let errors: Vec<String> = self.left_out.iter().chain(&self.obstacle).cloned().collect();
        self.problems.send_if_modified(|known| {
            let news = known.errors != errors;
            known.errors = errors;
            news
        });
    }

    /// Has a configuration applied; returns why it was not, if so.
    async fn bring(&mut self, text: Text) -> (Option<String>, Next) {
        // Unknown until the outcome is.
        self.applied = None;
        let before = self.reloader.answer();
        let handed_over = self.reloader.write(&text).and_then(|()| self.reloader.signal());
        if let Err(why) = handed_over {
            warn!(event = "reload", cause = "reload", error = format!("{why:#}"));
            // Not reported at first: the reloader may start after us.
            let problem = self
                .retries
                .has_failed()
                .then(|| format!("FRR cannot be configured: {why:#}"));
            return (problem, Next::Retry);
        }
        match self.outcome(&text, &before).await {
            Some(Outcome::Applied) => {
                info!(event = "reloaded", lines = text.as_str().lines().count());
                self.applied = Some(text);
                (None, Next::Wait)
            }
            Some(Outcome::Refused(words)) => {
                error!(event = "reload-validate", cause = "frr reload failed", error = words);
                (Some(refusal(&words)), Next::Retry)
            }
            None => (Some(self.silence(&before)), Next::Retry),
        }
    }

    /// Waits for the outcome.
    async fn outcome(&mut self, text: &Text, before: &Answer) -> Option<Outcome> {
        let (start, reloader) = (Instant::now(), self.reloader.clone());
        let answer = async {
            loop {
                if let Some(outcome) = reloader.answer().outcome(text.as_str(), before) {
                    return outcome;
                }
                sleep((start.elapsed() / 8).clamp(LOOK, LONGEST_LOOK)).await;
            }
        };
        tokio::pin!(answer);
        if let Ok(outcome) = timeout(SILENT, &mut answer).await {
            return Some(outcome);
        }
        let silence = self.silence(before);
        warn!(event = "reload", cause = "reload", error = silence);
        self.obstacle = Some(silence);
        self.tell();
        timeout(BUSY, answer).await.ok()
    }

    /// Why there is no answer.
    fn silence(&self, before: &Answer) -> String {
        match self.reloader.answer().news(before) {
            Some(words) => format!("FRR is not configured: {words}"),
            None => "FRR's reloader does not answer".to_owned(),
        }
    }
}

fn refusal(words: &str) -> String {
    // Upstream's reloader gives no reason.
    let words = if words.is_empty() {
        "the log of its reloader says why"
    } else {
        words
    };
    format!("FRR refuses its configuration: {words}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;

    use metallb_announce::Path;
    use metallb_engine::{Peers, RouteChange};
    use metallb_runtime::files;
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::backend::Change;
    use crate::bfd::tests::peers;
    use crate::frr::Frr;

    /// The back-end with a process that is called like a reloader and ignores signals.
    struct Lab {
        folder: TempDir,
        reloader: Child,
        frr: Frr,
        work: JoinHandle<anyhow::Result<()>>,
    }

    impl Lab {
        fn start(window: Option<Duration>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let mut command = Command::new("sh");
            // Ends with its standard input, which this test holds.
            command.args(["-c", "trap '' HUP; echo; read line", "frr-reloader"]);
            let mut reloader = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            reloader.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            fs::write(path("reloader.pid"), reloader.id().to_string()).unwrap();
            let (frr, work) = Frr::start(Settings {
                config_file: path("frr.conf"),
                pid_file: path("reloader.pid"),
                window,
                fixed: Default::default(),
            });
            Self {
                folder,
                reloader,
                frr,
                work: tokio::spawn(work),
            }
        }

        /// Tells all that there is to be known.
        fn know(&self, peers: Peers) {
            self.frr.model().apply(Change::Peers(peers));
            self.frr.model().set_extras(None);
            self.frr.model().apply(Change::Known);
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn answer(&self, outcome: metallb_frr::Outcome, words: &str) {
            let text = fs::read_to_string(self.path("frr.conf")).unwrap();
            let verdict = metallb_frr::Verdict::new(&text, outcome);
            files::replace(&self.path("last-error"), words).unwrap();
            files::replace(&self.path(".status-of"), &verdict.to_string()).unwrap();
        }

        async fn end(mut self) {
            self.frr.shutdown();
            self.work.await.unwrap().unwrap();
            self.reloader.kill().unwrap();
            self.reloader.wait().unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_the_reloader_does_what_is_left_out_stays_told() {
        let lab = Lab::start(None);
        let two = [
            ("far", json!({ "peerAddress": "fe80::1%eth0" })),
            ("tor", json!({ "peerAddress": "192.0.2.1" })),
        ];
        lab.know(peers(&two, &[("fast", json!({}))]));
        let mut problems = lab.frr.problems();
        let mut told = async || {
            problems.changed().await.unwrap();
            let told = problems.borrow_and_update().errors.clone();
            assert!(told[0].starts_with("BGPPeer far: "), "{told:?}");
            told[1..].to_vec()
        };
        assert_eq!(told().await, [""; 0]);
        assert_eq!(told().await, ["FRR's reloader does not answer"]);
        lab.answer(metallb_frr::Outcome::Failure, "line 3: % Unknown command");
        assert_eq!(
            told().await,
            ["FRR refuses its configuration: line 3: % Unknown command"]
        );
        // The next attempt is no news before its outcome.
        sleep(PAUSE + SILENT / 2).await;
        lab.answer(metallb_frr::Outcome::Success, "");
        assert_eq!(told().await, [""; 0]);
        lab.end().await;
    }

    // FRR-26, FRR-27, FRR-29
    #[tokio::test(start_paused = true)]
    async fn changes_within_the_window_are_one_file_and_later_ones_do_not_delay_it() {
        let window = Duration::from_secs(3);
        let lab = Lab::start(Some(window));
        let tor = || {
            peers(
                &[("tor", json!({ "peerAddress": "192.0.2.1" }))],
                &[("fast", json!({}))],
            )
        };
        lab.know(tor());
        for n in 0..100 {
            let path = Path {
                local_pref: 0,
                communities: [].into(),
                peers: [].into(),
            };
            let change = RouteChange {
                prefix: format!("198.51.100.{n}/32").parse().unwrap(),
                paths: vec![Arc::new(path)],
            };
            lab.frr.model().apply(Change::Routes(vec![change]));
            sleep(window / 110).await;
        }
        assert!(!lab.path("frr.conf").exists());
        sleep(window / 8).await;
        let text = fs::read_to_string(lab.path("frr.conf")).unwrap();
        assert_eq!(text.matches("    network ").count(), 100);
        lab.answer(metallb_frr::Outcome::Success, "");
        // Each write makes another file.
        let file = || fs::metadata(lab.path("frr.conf")).unwrap().ino();
        let first = file();
        sleep(4 * window).await;
        lab.frr.model().apply(Change::Peers(tor()));
        sleep(4 * window).await;
        assert_eq!(file(), first, "nothing is new");
        lab.frr.model().apply(Change::Peers(Peers::default()));
        sleep(2 * window).await;
        assert_ne!(file(), first);
        lab.end().await;
    }
}
