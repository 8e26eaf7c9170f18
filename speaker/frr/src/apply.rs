//! From one configuration to the next, as quickly as it can be done.

use std::fs;

use anyhow::{Context, Result};

use crate::{
    files::{Outcome, Shared},
    frr::{Frr, Lives},
};

/// What FRR runs as far as is known.
#[derive(Debug)]
struct Running {
    text: String,
    /// The daemons that were told.
    lives: Lives,
}

/// Brings FRR to what the speaker wants.
#[derive(Debug)]
pub(crate) struct Applier {
    shared: Shared,
    frr: Frr,
    running: Option<Running>,
    /// Whether something was changed without a look at all that FRR runs.
    unchecked: bool,
    /// Whether something is wanted of an FRR that was not there.
    waiting: bool,
}

impl Applier {
    pub(crate) fn new(shared: Shared, frr: Frr) -> Self {
        Self {
            shared,
            frr,
            running: None,
            unchecked: false,
            // Something may have been wanted while nobody was there to apply it.
            waiting: true,
        }
    }

    /// Tells whether daemons that are there have not been told yet what is wanted, because they are new.
    pub(crate) fn is_behind(&self) -> bool {
        let lives = self.frr.lives();
        lives.is_some()
            && self
                .running
                .as_ref()
                .is_some_and(|running| Some(&running.lives) != lives.as_ref())
    }

    /// Tells whether the last changes were made without a look at all that FRR runs.
    pub(crate) fn is_unchecked(&self) -> bool {
        self.unchecked
    }

    /// Applies what is wanted now and tells the speaker what became of it. Nothing happens while nothing is wanted.
    pub(crate) async fn apply(&mut self) -> Result<()> {
        let _lock = self.shared.lock()?;
        let Some(text) = self.shared.wanted()? else {
            return Ok(());
        };
        let Some(lives) = self.frr.lives() else {
            self.waiting = true;
            println!("FRR does not run yet");
            return Ok(());
        };
        self.waiting = false;
        if self.by_shortcut(&text, &lives).await? {
            return self.by_and_by(text, lives).await;
        }
        match self.by_file().await {
            Ok(()) => {
                self.unchecked = false;
                self.succeeded(text, lives, "by a reload")
            }
            Err(words) => self.failed(&text, &words),
        }
    }

    /// Tells the speaker first: how long FRR takes to remember grows with what it runs.
    async fn by_and_by(&mut self, text: String, lives: Lives) -> Result<()> {
        self.succeeded(text, lives, "line by line")?;
        self.unchecked = true;
        if let Err(words) = self.frr.remember().await {
            // A restart of FRR without it would be seen, and mended by loading the file.
            println!("not remembered: {words}");
        }
        Ok(())
    }

    /// Adds what is new and removes prefixes, if no more than that is to be done; tells whether that worked.
    ///
    /// frr-reload.py needs seconds where this needs a moment, two minutes for the first thousand prefixes, and it sets
    /// what is new twice, which ends sessions with BFD.
    async fn by_shortcut(&mut self, text: &str, lives: &Lives) -> Result<bool> {
        let before = match self.running.take() {
            Some(before) if before.lives == *lives => before.text,
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
        fs::remove_file(&file).context("cannot remove the file with commands")?;
        if let Err(words) = &done {
            println!("not applied in one go, will be reloaded: {words}");
        }
        Ok(done.is_ok())
    }

    /// Loads the whole file.
    async fn by_file(&self) -> Result<(), String> {
        let file = self.shared.path("frr.conf");
        self.frr.test(&file).await?;
        if self.frr.load(&file).await.is_ok() {
            return Ok(());
        }
        // FRR 8.4 calls it a failure when graceful restart is switched on for a neighbour, and does it: once more, nothing
        // is left to be done.
        let Err(words) = self.frr.load(&file).await else {
            return Ok(());
        };
        let good = self.shared.path("good.conf");
        if good.exists() {
            // Half of what is wanted may be worse than all of what was wanted before.
            let back = match self.frr.load(&good).await {
                Ok(()) => "the last good configuration is in force",
                Err(_) => "nor could the last good configuration be restored",
            };
            return Err(format!("{words}; {back}"));
        }
        Err(words)
    }

    fn succeeded(&mut self, text: String, lives: Lives, how: &str) -> Result<()> {
        self.shared.report(&text, Outcome::Success, "")?;
        println!("applied {:016x} {how}", metallb_frr::digest(&text));
        self.shared.write("good.conf", &text)?;
        self.running = Some(Running { text, lives });
        Ok(())
    }

    fn failed(&self, text: &str, words: &str) -> Result<()> {
        println!("not applied {:016x}: {words}", metallb_frr::digest(text));
        Ok(self.shared.report(text, Outcome::Failure, words)?)
    }

    /// Loads the whole file although nothing new is wanted: whatever else was changed in FRR is undone.
    pub(crate) async fn check(&mut self) -> Result<()> {
        self.running = None;
        self.unchecked = false;
        self.apply().await
    }
}
