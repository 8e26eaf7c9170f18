//! Requests, counted for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::request::{Request, Verb};

/// How often each component did what to which resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<(String, Verb, String), usize>,
}

impl Tally {
    /// Counts `requests`.
    #[must_use]
    pub fn of<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Self {
        let mut counts = BTreeMap::new();
        for request in requests {
            let key = (request.caller.component.clone(), request.verb, request.resource.clone());
            *counts.entry(key).or_insert(0) += 1;
        }
        Self { counts }
    }

    /// How many there are that `wanted` says yes to: by component, verb and resource.
    #[must_use]
    pub fn count(&self, wanted: impl Fn(&str, Verb, &str) -> bool) -> usize {
        let matching = self
            .counts
            .iter()
            .filter(|((component, verb, resource), _)| wanted(component, *verb, resource));
        matching.map(|(_, count)| count).sum()
    }

    /// Writes that are no renewals of a Lease, in words.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        let writes = self
            .counts
            .iter()
            .filter(|((_, verb, resource), _)| verb.writes() && resource != "leases");
        writes
            .map(|((component, verb, resource), count)| format!("{component} {verb} {resource} {count}×"))
            .collect()
    }

    /// The most requests that one pod sent within `window`.
    #[must_use]
    pub fn peak(requests: &[Request], window: Duration) -> Option<(String, usize)> {
        let mut by_pod: BTreeMap<&str, Vec<std::time::Instant>> = BTreeMap::new();
        for request in requests {
            let times = by_pod.entry(request.caller.pod.as_str()).or_default();
            times.push(request.at);
        }
        let peaks = by_pod.into_iter().map(|(pod, mut times)| {
            times.sort_unstable();
            let mut from = 0;
            let counts = times.iter().enumerate().map(|(at, time)| {
                while time.duration_since(times[from]) > window {
                    from += 1;
                }
                at - from + 1
            });
            (pod.to_owned(), counts.max().unwrap_or(0))
        });
        peaks.max_by_key(|(_, count)| *count)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: BTreeMap<(&str, Verb), (usize, Vec<String>)> = BTreeMap::new();
        for ((component, verb, resource), count) in &self.counts {
            let row = rows.entry((component, *verb)).or_default();
            row.0 += count;
            row.1.push(format!("{resource} {count}"));
        }
        writeln!(f, "  {:<15} {:<7} {:>6}  resources", "component", "verb", "count")?;
        for ((component, verb), (count, resources)) in rows {
            writeln!(f, "  {component:<15} {verb:<7} {count:>6}  {}", resources.join(", "))?;
        }
        Ok(())
    }
}
