//! The folder of the lab that `up` keeps running, by which `down`, `logs` and `exec` find it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getuid};

/// Holds the pid and start time of the outer process.
const OUTER_PID: &str = "outer.pid";
/// How long an orderly end may take.
const END_WITHIN: Duration = Duration::from_secs(15);

/// One user's lab.
pub(crate) struct Home {
    pub dir: PathBuf,
}

impl Home {
    pub(crate) fn of_this_user() -> Self {
        let dir = match std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir())
        {
            Some(dir) => dir.join("metallb-lab"),
            None => std::env::temp_dir().join(format!("metallb-lab-{}", getuid())),
        };
        Self { dir }
    }

    /// Takes the folder for this process; what a crashed run left is removed.
    pub(crate) fn claim(&self) -> Result<()> {
        if let Some(pid) = self.running() {
            bail!("a lab is already running (process {pid}): `metallb-lab down` ends it");
        }
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)
                .with_context(|| format!("cannot remove what a crashed lab left in {}", self.dir.display()))?;
        }
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let own = std::process::id();
        fs::write(
            self.dir.join(OUTER_PID),
            format!("{own} {}", start_time(own).unwrap_or_default()),
        )?;
        Ok(())
    }

    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.dir);
    }

    /// The process that keeps the lab, if it lives; pids are used again, so its start time must match.
    pub(crate) fn running(&self) -> Option<u32> {
        let text = fs::read_to_string(self.dir.join(OUTER_PID)).ok()?;
        let (pid, since) = text.split_once(' ')?;
        let pid = pid.parse().ok()?;
        (start_time(pid)? == since).then_some(pid)
    }

    /// Ends the running lab.
    pub(crate) fn end(&self) -> Result<()> {
        let Some(pid) = self.running() else {
            bail!("no lab is running")
        };
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM).context("cannot end the lab")?;
        let began = Instant::now();
        while self.running().is_some() {
            if began.elapsed() > END_WITHIN {
                kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
                bail!("the lab did not end in {END_WITHIN:?} and was killed");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The folder, if a lab runs.
    pub(crate) fn dir_of_running(&self) -> Result<&Path> {
        self.running()
            .map(|_| &*self.dir)
            .context("no lab is running: `metallb-lab up` starts one")
    }
}

/// Field 22 of `/proc/PID/stat`, counted from the end of the name, which may hold blanks.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_left_by_a_dead_process_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home {
            dir: dir.path().join("lab"),
        };
        home.claim().unwrap();
        assert_eq!(home.running(), Some(std::process::id()));
        assert!(home.claim().unwrap_err().to_string().contains("already running"));
        fs::write(home.dir.join(OUTER_PID), format!("{} 1", std::process::id())).unwrap();
        assert_eq!(home.running(), None);
        home.claim().unwrap();
    }
}
