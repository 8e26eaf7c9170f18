//! Brings what is desired to FRR, one configuration at a time.

use std::time::Duration;

use metallb_engine::ConfigReport;
use metallb_frr::Text;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::Settings;
use super::answer::{Answer, Outcome};
use super::desired::desired;
use super::model::Shared;
use super::reloader::Reloader;

/// How long changes are gathered when nobody has a wish: those of one pass of the engine arrive together. While FRR is
/// busy with a configuration, changes gather anyhow.
const GATHER: Duration = Duration::from_millis(10);
/// How often the answer is looked for: the reloader has no other way to tell us.
const LOOK: Duration = Duration::from_millis(20);
/// How long FRR may be busy. With thousands of prefixes frr-reload.py takes minutes.
const BUSY: Duration = Duration::from_secs(600);
/// After which silence people are told.
const SILENT: Duration = Duration::from_secs(60);
/// Pause after the first failure; doubles.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What is told then.
const SILENCE: &str = "FRR's reloader does not answer";

/// The task.
#[derive(Debug)]
pub(super) struct Work {
    settings: Settings,
    model: Shared,
    reloader: Reloader,
    problems: watch::Sender<ConfigReport>,
    /// What FRR has been brought to.
    applied: Option<Text>,
    pause: Duration,
}

/// What comes after an attempt.
enum Next {
    /// Nothing, until something changes.
    Wait,
    /// Once more.
    Retry,
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
            applied: None,
            pause: PAUSE,
        }
    }

    /// Works until nobody is left who could change anything.
    pub(super) async fn run(mut self) {
        let (mut changes, mut retry) = (self.model.changes(), None);
        // What came before us counts, too.
        changes.mark_changed();
        loop {
            let again = async {
                match retry {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // Every arm is cancel-safe.
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = again => {}
            }
            // Not extended by changes that follow: upstream's window is fixed, too.
            sleep(self.settings.window.unwrap_or(GATHER)).await;
            changes.mark_unchanged();
            retry = match self.attempt().await {
                Next::Wait => {
                    self.pause = PAUSE;
                    None
                }
                Next::Retry => {
                    let at = Instant::now() + self.pause;
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    Some(at)
                }
            };
        }
    }

    async fn attempt(&mut self) -> Next {
        let Some((desired, problems)) = self.model.known(|model| desired(model, &self.settings.fixed)) else {
            return Next::Wait;
        };
        let text = desired.render();
        if self.applied.is_none() && self.reloader.has_applied(&text) {
            // By whoever ran before us.
            self.applied = Some(text.clone());
        }
        let (refusal, next) = match self.applied.as_ref() == Some(&text) {
            true => (None, Next::Wait),
            false => self.bring(text).await,
        };
        self.tell(problems.into_iter().chain(refusal).collect());
        next
    }

    fn tell(&self, errors: Vec<String>) {
        self.problems.send_if_modified(|known| {
            let news = known.errors != errors;
            known.errors = errors;
            news
        });
    }

    /// Hands a configuration over and waits for what becomes of it.
    async fn bring(&mut self, text: Text) -> (Option<String>, Next) {
        // What FRR runs is not known from here on.
        self.applied = None;
        let before = self.reloader.answer();
        let handed_over = self.reloader.write(&text).and_then(|()| self.reloader.signal());
        if let Err(why) = handed_over {
            warn!(event = "reload", cause = "reload", error = format!("{why:#}"));
            // At the start the reloader may come later than we do, which is no problem.
            let problem = (self.pause > PAUSE).then(|| format!("FRR is not told what to do: {why:#}"));
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
                (Some(format!("FRR refuses its configuration: {words}")), Next::Retry)
            }
            None => (Some(SILENCE.to_owned()), Next::Retry),
        }
    }

    /// Waits for what becomes of a configuration.
    async fn outcome(&self, text: &Text, before: &Answer) -> Option<Outcome> {
        let answer = async {
            loop {
                if let Some(outcome) = self.reloader.answer().outcome(text.as_str(), before) {
                    return outcome;
                }
                sleep(LOOK).await;
            }
        };
        tokio::pin!(answer);
        if let Ok(outcome) = timeout(SILENT, &mut answer).await {
            return Some(outcome);
        }
        warn!(event = "reload", cause = "reload", "no answer yet");
        self.tell(vec![SILENCE.to_owned()]);
        timeout(BUSY, answer).await.ok()
    }
}
