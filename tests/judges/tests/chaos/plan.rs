//! Which faults a seed stands for.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use metallb_test_support::faults::{Fault, Rule, Verb};

/// What happens to the API server as a whole, or to some of its answers.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Away,
    Deaf,
    Expired,
    Rule(Rule),
}

/// One fault of the day.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// After the one before it began.
    pub after: Duration,
    pub lasts: Duration,
    pub what: What,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Away => f.write_str("API server away"),
            What::Deaf => f.write_str("API server deaf"),
            What::Expired => f.write_str("certificate expired"),
            What::Rule(rule) => write!(f, "{rule}"),
        }?;
        write!(f, " for {:?}", self.lasts)
    }
}

/// `count` faults, one every `pace` or so.
pub(crate) fn faults(rng: &mut Rng, count: usize, pace: Duration) -> Vec<Planned> {
    let mut plan: Vec<Planned> = (0..count).map(|_| planned(rng, pace)).collect();
    // Every day has a time when the API server is away.
    if let Some(middle) = plan.get_mut(count / 2) {
        middle.what = What::Away;
        middle.lasts = Duration::from_secs(4);
    }
    plan
}

fn planned(rng: &mut Rng, pace: Duration) -> Planned {
    let what = match rng.u8(0..30) {
        0 => What::Away,
        1 => What::Deaf,
        2 => What::Expired,
        _ => What::Rule(rule(rng)),
    };
    Planned {
        after: pace.mul_f64(rng.f64() * 2.0),
        lasts: millis(rng, 50..1500),
        what,
    }
}

fn rule(rng: &mut Rng) -> Rule {
    let fault = match rng.u8(0..13) {
        0 => Fault::Delay(millis(rng, 20..1000)),
        1 => Fault::Refuse,
        2 => Fault::Reset,
        3 => Fault::LoseAnswer,
        4 => Fault::Busy { retry_after: 1 },
        5 => Fault::Answer(500),
        6 => Fault::Answer(503),
        7 | 8 => Fault::Conflict,
        9 => Fault::Gone,
        10 => Fault::DropWatch,
        11 => Fault::Silence,
        _ => Fault::SlowBody(rng.usize(50..2000)),
    };
    let mut rule = Rule::new(fault);
    let component = [
        None,
        Some("controller"),
        Some("speaker"),
        Some("manager"),
        Some("webhook-server"),
    ];
    if let Some(Some(component)) = rng.choice(component) {
        rule = rule.of(component);
    }
    let resource = [
        None,
        Some("services"),
        Some("services/status"),
        Some("endpointslices"),
        Some("ipaddresspools"),
        Some("servicel2statuses"),
        Some("servicebgpstatuses"),
        Some("leases"),
        Some("events"),
    ];
    if let Some(Some(resource)) = rng.choice(resource) {
        rule = rule.resource(resource);
    }
    match rng.u8(0..6) {
        0 => rule.writes(),
        1 => rule.verbs(&[Verb::List, Verb::Watch]),
        2 => rule.times(rng.u32(1..5)),
        _ => rule,
    }
}

fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
