//! Applies a configuration to FRR: line by line where possible, otherwise by a reload.

use std::{fs, mem};

use anyhow::{Context, Result};
use metallb_frr::{Outcome, digest};

use crate::{
    files::Shared,
    frr::{Frr, Lives},
};

/// What is known about FRR's running configuration.
#[derive(Debug)]
enum State {
    /// Nothing, and no daemon was configured yet: `frr.conf` is applied once all of them run.
    Waiting,
    /// Nothing: these daemons refused the last configuration.
    Unknown(Lives),
    /// These daemons run this text.
    Running { text: String, lives: Lives },
}

impl State {
    /// The daemons that were configured last.
    fn told(&self) -> Option<&Lives> {
        match self {
            Self::Waiting => None,
            Self::Unknown(lives) | Self::Running { lives, .. } => Some(lives),
        }
    }
}

/// How a configuration is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Line by line if possible.
    Quick,
    /// By a reload of the whole file, which also reverts changes that others made in FRR.
    Whole,
}

/// Applies `frr.conf` to FRR.
#[derive(Debug)]
pub(crate) struct Applier {
    shared: Shared,
    frr: Frr,
    state: State,
    /// Whether FRR may run something other than `state` says.
    unchecked: bool,
}

impl Applier {
    pub(crate) fn new(shared: Shared, frr: Frr) -> Self {
        Self {
            shared,
            frr,
            // The speaker may have written a configuration while no reloader ran.
            state: State::Waiting,
            unchecked: false,
        }
    }

    /// Tells whether there is a configuration for daemons that have (re)started since the last one was applied.
    pub(crate) async fn is_behind(&self) -> bool {
        let changed = self.state.told().is_none_or(|told| self.frr.differs_from(told));
        changed && self.shared.path("frr.conf").exists() && self.frr.lives().await.is_ok()
    }

    /// Tells whether FRR may run something other than what was applied last.
    pub(crate) fn is_unchecked(&self) -> bool {
        self.unchecked
    }

    /// Applies `frr.conf`, if it exists, and reports the outcome to the speaker. If a daemon does not run, reports that
    /// instead; [`Self::is_behind`] becomes true once all of them run.
    pub(crate) async fn apply(&mut self) -> Result<()> {
        self.bring(Way::Quick).await
    }

    /// Reloads the whole file, which also reverts changes that others made in FRR.
    pub(crate) async fn check(&mut self) -> Result<()> {
        // Whatever comes of it: if a daemon is missing, its start is the next occasion.
        self.unchecked = false;
        self.bring(Way::Whole).await
    }

    async fn bring(&mut self, way: Way) -> Result<()> {
        let _lock = self.shared.lock().await?;
        let Some(text) = self.shared.wanted()? else {
            return Ok(());
        };
        let lives = match self.frr.lives().await {
            Ok(lives) => lives,
            Err(missing) => {
                println!("not applied yet {:016x}: {missing}", digest(&text));
                self.state = State::Waiting;
                return self.shared.explain(&missing);
            }
        };
        // Also if this fails half-way: only a restart of a daemon is a reason to try again unasked.
        let before = mem::replace(&mut self.state, State::Unknown(lives.clone()));
        // FRR's own start-up may still load the configuration it saved earlier.
        let new = before.told() != Some(&lives);
        if way == Way::Quick && self.by_shortcut(before, &text, &lives).await? {
            return self.by_and_by(text, lives).await;
        }
        self.unchecked = new;
        match self.by_file().await {
            Ok(()) => self.succeeded(text, lives, "by a reload"),
            Err(words) => self.failed(&text, &words),
        }
    }

    /// Reports to the speaker before FRR saves the configuration, which takes long for a long one.
    async fn by_and_by(&mut self, text: String, lives: Lives) -> Result<()> {
        self.succeeded(text, lives, "line by line")?;
        self.unchecked = true;
        if let Err(words) = self.frr.remember().await {
            // The saved file only matters at FRR's next start, after which `frr.conf` is applied anyway.
            println!("not saved: {words}");
        }
        Ok(())
    }

    /// Applies the change line by line if it only adds lines or removes prefixes; returns whether that was done.
    ///
    /// frr-reload.py takes seconds per change and two minutes for the first thousand prefixes; it also applies new lines
    /// twice, which resets sessions with BFD.
    async fn by_shortcut(&mut self, before: State, text: &str, lives: &Lives) -> Result<bool> {
        let before = match before {
            State::Running { text, lives: told } if told == *lives => text,
            _ if self.frr.is_blank().await => String::new(),
            _ => return Ok(false),
        };
        if self.frr.test(&self.shared.path("frr.conf")).await.is_err() {
            return Ok(false);
        }
        let Some(commands) = metallb_frr::shortcut(&before, text) else {
            return Ok(false);
        };
        if commands.is_empty() {
            return Ok(true);
        }
        self.shared.write("commands", &(commands.join("\n") + "\n"))?;
        let file = self.shared.path("commands");
        let done = self.frr.execute(&file).await;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        if let Err(words) = &done {
            println!("not applied line by line, will be reloaded: {words}");
        }
        Ok(done.is_ok())
    }

    /// Reloads the whole file; if that fails, the last good one.
    async fn by_file(&self) -> Result<(), String> {
        let file = self.shared.path("frr.conf");
        self.frr.test(&file).await?;
        if self.frr.load(&file).await.is_ok() {
            return Ok(());
        }
        // FRR 8.4 reports a failure when graceful restart is enabled for a neighbour, although it takes effect. A second
        // reload then succeeds.
        let Err(words) = self.frr.load(&file).await else {
            return Ok(());
        };
        let good = self.shared.path("good.conf");
        if good.exists() {
            // A half-applied configuration may be worse than the previous one.
            let back = match self.frr.load(&good).await {
                Ok(()) => "the last good configuration is in force".to_owned(),
                Err(words) => format!("nor could the last good configuration be restored: {words}"),
            };
            return Err(format!("{words}; {back}"));
        }
        Err(words)
    }

    fn succeeded(&mut self, text: String, lives: Lives, how: &str) -> Result<()> {
        self.shared.report(&text, Outcome::Success, "")?;
        println!("applied {:016x} {how}", digest(&text));
        self.shared.write("good.conf", &text)?;
        self.state = State::Running { text, lives };
        Ok(())
    }

    fn failed(&self, text: &str, words: &str) -> Result<()> {
        println!("not applied {:016x}: {words}", digest(text));
        self.shared.report(text, Outcome::Failure, words)
    }
}
