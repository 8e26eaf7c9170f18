//! Flags of BGP that upstream does not have.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use metallb_dataplane::bgp::GracefulRestart;

use crate::drain::{DrainOptions, Triggers};

/// The restart time has twelve bits (RFC 4724 §3).
const RESTART_LIMIT: u64 = 4095;
/// Seconds between the warning of a drain and the withdrawal: the default, and the longest.
const DRAIN_WAIT: u64 = 30;
const DRAIN_LIMIT: u64 = 86_400;

/// Flags of BGP that upstream does not have.
#[derive(Args, Clone, Debug)]
pub struct BgpArgs {
    /// Seconds that routers with graceful restart wait for the speaker, up to 4095 [default: 120]
    #[arg(
        long,
        env = "METALLB_BGP_RESTART_TIME",
        default_value = "",
        hide_default_value = true
    )]
    pub bgp_restart_time: String,
    /// What drains the node of BGP traffic besides the label metallb.io/drain: cordon, taint, or both with a comma
    #[arg(long, env = "METALLB_BGP_DRAIN", default_value = "", hide_default_value = true)]
    pub bgp_drain: String,
    /// Seconds between the warning of a drain (GRACEFUL_SHUTDOWN) and the withdrawal of the routes [default: 30]
    #[arg(long, env = "METALLB_BGP_DRAIN_WAIT", default_value = "", hide_default_value = true)]
    pub bgp_drain_wait: String,
}

impl BgpArgs {
    /// Graceful restart, as offered to routers.
    ///
    /// # Errors
    /// For a time that is not a number of seconds, or more than 4095.
    pub fn restart(&self) -> Result<GracefulRestart> {
        let default = GracefulRestart::default().restart_time.as_secs();
        let restart_time = seconds("--bgp-restart-time", &self.bgp_restart_time, default, RESTART_LIMIT)?;
        Ok(GracefulRestart { restart_time })
    }

    /// When and how the node is drained of BGP traffic.
    ///
    /// # Errors
    /// For an unknown trigger, and for a wait that is not a number of seconds or more than a day.
    pub fn drain(&self) -> Result<DrainOptions> {
        let mut triggers = Triggers::default();
        for name in self.bgp_drain.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "cordon" => triggers.cordon = true,
                "taint" => triggers.taint = true,
                other => bail!("--bgp-drain {other:?} is unknown: must be cordon or taint"),
            }
        }
        Ok(DrainOptions {
            triggers,
            wait: seconds("--bgp-drain-wait", &self.bgp_drain_wait, DRAIN_WAIT, DRAIN_LIMIT)?,
        })
    }
}

/// Reads a flag of whole seconds, with or without the unit: `90` or `90s`; empty is `default`, more than `limit` an error.
pub(crate) fn seconds(flag: &str, text: &str, default: u64, limit: u64) -> Result<Duration> {
    let seconds = match text.trim() {
        "" => default,
        text => text
            .strip_suffix('s')
            .unwrap_or(text)
            .parse()
            .with_context(|| format!("{flag} {text:?} is not a number of seconds"))?,
    };
    ensure!(seconds <= limit, "{flag} {seconds} is more than {limit}");
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn flags(restart: &str, drain: &str, wait: &str) -> BgpArgs {
        BgpArgs {
            bgp_restart_time: restart.to_owned(),
            bgp_drain: drain.to_owned(),
            bgp_drain_wait: wait.to_owned(),
        }
    }

    // BGP-70
    #[rstest]
    #[case("", Some(120))]
    #[case("0", Some(0))]
    #[case("4095s", Some(4095))]
    #[case("4096", None)]
    #[case("-1", None)]
    #[case("soon", None)]
    fn the_restart_time_has_twelve_bits(#[case] text: &str, #[case] expected: Option<u64>) {
        let restart = flags(text, "", "").restart().ok();
        assert_eq!(restart.map(|restart| restart.restart_time.as_secs()), expected);
    }

    // BGP-72
    #[rstest]
    #[case("", "", Some((false, false, 30)))]
    #[case("cordon", "0", Some((true, false, 0)))]
    #[case("cordon, taint", "90s", Some((true, true, 90)))]
    #[case("reboot", "", None)]
    #[case("", "86401", None)]
    fn a_drain_has_its_triggers_and_its_wait(
        #[case] triggers: &str,
        #[case] wait: &str,
        #[case] expected: Option<(bool, bool, u64)>,
    ) {
        let drain = flags("", triggers, wait).drain().ok();
        let told = drain.map(|drain| (drain.triggers.cordon, drain.triggers.taint, drain.wait.as_secs()));
        assert_eq!(told, expected);
    }
}
