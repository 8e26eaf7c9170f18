//! How much FRR logs.

use std::{fmt, str::FromStr};

use crate::word::Refusal;

/// A level of FRR's log, under FRR's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// `emergencies`.
    Emergencies,
    /// `alerts`.
    Alerts,
    /// `critical`.
    Critical,
    /// `errors`.
    Errors,
    /// `warnings`.
    Warnings,
    /// `notifications`.
    Notifications,
    /// `informational`.
    #[default]
    Informational,
    /// `debugging`.
    Debugging,
}

impl Level {
    const ALL: [Self; 8] = [
        Self::Emergencies,
        Self::Alerts,
        Self::Critical,
        Self::Errors,
        Self::Warnings,
        Self::Notifications,
        Self::Informational,
        Self::Debugging,
    ];

    /// FRR's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Emergencies => "emergencies",
            Self::Alerts => "alerts",
            Self::Critical => "critical",
            Self::Errors => "errors",
            Self::Warnings => "warnings",
            Self::Notifications => "notifications",
            Self::Informational => "informational",
            Self::Debugging => "debugging",
        }
    }

    /// Translates a value of MetalLB's flag `--log-level`, as upstream does.
    pub fn of_flag(level: &str) -> Self {
        match level {
            "all" | "debug" => Self::Debugging,
            "warn" => Self::Warnings,
            "error" => Self::Errors,
            "none" => Self::Emergencies,
            _ => Self::Informational,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = Refusal;

    /// Understands FRR's names and, as FRR itself, their beginnings.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let mut found = Self::ALL
            .into_iter()
            .filter(|level| !text.is_empty() && level.as_str().starts_with(text));
        match (found.next(), found.next()) {
            (Some(level), None) => Ok(level),
            _ => Err(Refusal::Shape {
                what: "the log level of FRR",
                must: "be emergencies, alerts, critical, errors, warnings, notifications, informational or debugging",
            }),
        }
    }
}
