//! The conditions of the MetalLB resource.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// The longest message that the schema takes, in characters.
const MESSAGE_LIMIT: usize = 32_768;

/// The types, in the order in which they are listed.
pub(crate) const TYPES: [&str; 4] = ["Available", "Upgradeable", "Progressing", "Degraded"];

/// How the deployment goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All workloads run as wanted.
    Available {
        /// `Available`, or what is odd about it as one word.
        reason: &'static str,
        /// What is odd about it, for people.
        message: String,
    },
    /// Everything is applied and not yet running; the message names the workloads.
    Progressing(String),
    /// The resource cannot be deployed.
    Degraded {
        /// Why, as one word.
        reason: String,
        /// Why, for people.
        message: String,
    },
}

impl State {
    #[cfg(test)]
    pub(crate) const fn available() -> Self {
        Self::Available {
            reason: "Available",
            message: String::new(),
        }
    }

    pub(crate) fn degraded(reason: &str, message: impl Into<String>) -> Self {
        Self::Degraded {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// Gives reason and message of a condition that is true, none for one that is not.
    pub(crate) fn of(&self, type_: &str) -> Option<(&str, &str)> {
        match (self, type_) {
            (Self::Available { reason, message }, "Available") => Some((reason, message)),
            (Self::Available { .. }, "Upgradeable") => Some(("Upgradeable", "")),
            (Self::Progressing(message), "Progressing") => Some(("Progressing", message)),
            (Self::Degraded { reason, message }, "Degraded") => Some((reason, message)),
            _ => None,
        }
    }

    /// Tells whether somebody should look at it.
    pub(crate) fn is_worrying(&self) -> bool {
        match self {
            Self::Available { reason, .. } => *reason != "Available",
            Self::Progressing(_) => false,
            Self::Degraded { .. } => true,
        }
    }

    /// Gives the type of the condition that tells this state, its reason and its message.
    pub(crate) fn summary(&self) -> (&'static str, &str, &str) {
        match self {
            Self::Available { reason, message } => ("Available", reason, message),
            Self::Progressing(message) => ("Progressing", "Progressing", message),
            Self::Degraded { reason, message } => ("Degraded", reason, message),
        }
    }
}

/// Makes the four conditions of a state. The time of a condition moves only when its status does.
///
/// Upstream: sets the time at every pass, and so writes the status at every pass.
pub(crate) fn conditions(
    state: &State,
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    TYPES
        .map(|type_| condition(type_, state.of(type_), generation, before, now))
        .into()
}

fn condition(
    type_: &str,
    truth: Option<(&str, &str)>,
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let status = if truth.is_some() { "True" } else { "False" };
    let (reason, message) = truth.unwrap_or((type_, ""));
    let same = before.iter().find(|old| old.type_ == type_ && old.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(MESSAGE_LIMIT).collect(),
        last_transition_time: same.map_or(Time(now), |old| old.last_transition_time.clone()),
        observed_generation: generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn truths(conditions: &[Condition]) -> Vec<&str> {
        conditions
            .iter()
            .filter(|it| it.status == "True")
            .map(|it| it.type_.as_str())
            .collect()
    }

    fn degraded() -> State {
        State::degraded("ApplyFailed", "cannot apply Deployment controller: no")
    }

    // OP-39
    #[test]
    fn four_conditions_stand_in_order_and_one_state_holds() {
        for (state, wanted) in [
            (State::available(), vec!["Available", "Upgradeable"]),
            (State::Progressing("x".into()), vec!["Progressing"]),
            (degraded(), vec!["Degraded"]),
        ] {
            let made = conditions(&state, Some(3), &[], at(1));
            assert_eq!(made.iter().map(|it| it.type_.as_str()).collect::<Vec<_>>(), TYPES);
            assert_eq!(truths(&made), wanted);
            assert!(made.iter().all(|it| it.observed_generation == Some(3)));
        }
    }

    // OP-39
    #[test]
    fn reasons_are_words_and_those_of_idle_conditions_are_their_types() {
        let made = conditions(&degraded(), None, &[], at(1));
        let reasons: Vec<_> = made.iter().map(|it| it.reason.as_str()).collect();
        assert_eq!(reasons, ["Available", "Upgradeable", "Progressing", "ApplyFailed"]);
        assert_eq!(made[3].message, "cannot apply Deployment controller: no");
        assert!(made[..3].iter().all(|it| it.message.is_empty()));
    }

    // OP-38
    #[test]
    fn the_time_moves_only_with_the_status() {
        let first = conditions(&State::Progressing("0 of 1".into()), Some(1), &[], at(1));
        let second = conditions(&State::Progressing("1 of 2".into()), Some(2), &first, at(2));
        assert!(second.iter().all(|it| it.last_transition_time == Time(at(1))));
        let third = conditions(&State::available(), Some(2), &second, at(3));
        let moved: Vec<_> = third
            .iter()
            .filter(|it| it.last_transition_time == Time(at(3)))
            .map(|it| &it.type_)
            .collect();
        assert_eq!(moved, ["Available", "Upgradeable", "Progressing"]);
    }

    // OP-37
    #[test]
    fn the_same_state_makes_the_same_conditions() {
        let first = conditions(&degraded(), Some(1), &[], at(1));
        assert_eq!(conditions(&degraded(), Some(1), &first, at(2)), first);
    }

    #[test]
    fn messages_fit_the_schema() {
        let long = State::degraded("ApplyFailed", "\u{e4}".repeat(40_000));
        assert_eq!(
            conditions(&long, None, &[], at(1))[3].message.chars().count(),
            MESSAGE_LIMIT
        );
    }
}
