//! Which BGP announcements fit a pool and each other.

use crate::age::{Age, Conflict, settle};
use crate::announcement::Announcement;
use crate::context::Context;
use crate::error::{Findings, ObjectRef};
use crate::model::{BgpAdvertisement, Pool};
use crate::rule::Rule;

/// Keeps the advertisements that fit the pool and each other; of two that conflict, the older.
pub(crate) fn fitting(
    pool_object: &ObjectRef,
    pool: &Pool,
    chosen: Vec<&Announcement>,
    context: &Context<'_>,
    findings: &mut Findings,
) -> Vec<BgpAdvertisement> {
    let mut out: Vec<bool> = chosen
        .iter()
        .map(|entry| !check_aggregation(entry, pool_object, pool, findings))
        .collect();
    let ages: Vec<&Age> = chosen.iter().map(|entry| &entry.age).collect();
    let mut conflicts = Vec::new();
    for (a, first) in chosen.iter().enumerate() {
        for (b, second) in chosen.iter().enumerate().skip(a + 1) {
            if local_prefs_conflict(&first.advertisement, &second.advertisement, pool) {
                conflicts.push(Conflict { a, b, about: () });
            }
        }
    }
    for verdict in settle(&ages, &mut out, conflicts, context.options.strict()) {
        let (loser, winner) = (chosen[verdict.loser], chosen[verdict.winner]);
        let reason = format!(
            "invalid localPref {}: localPref {} is already set by {}{} for the same kind of update of pool \"{}\"",
            loser.advertisement.local_pref,
            winner.advertisement.local_pref,
            winner.object,
            winner.path.trim_start_matches("spec"),
            pool.name,
        );
        let mut involves = vec![winner.object.clone(), pool_object.clone()];
        involves.retain(|other| *other != loser.object);
        involves.dedup();
        findings.refuse_with(
            Rule::A5,
            &loser.object,
            format!("{}.localPref", loser.path),
            reason,
            involves,
        );
    }
    if !context.wants_announcements() {
        return Vec::new();
    }
    chosen
        .into_iter()
        .zip(out)
        .filter(|(_, out)| !out)
        .map(|(entry, _)| entry.advertisement.clone())
        .collect()
}

/// An aggregate must not reach out of any entry of the pool. The advertisement is then left off this pool only.
fn check_aggregation(entry: &Announcement, pool_object: &ObjectRef, pool: &Pool, findings: &mut Findings) -> bool {
    let mark = findings.refused.len();
    for range in &pool.entries {
        let (length, field) = if range.is_ipv4() {
            (entry.advertisement.aggregation_v4, "aggregationLength")
        } else {
            (entry.advertisement.aggregation_v6, "aggregationLengthV6")
        };
        let widest = range.widest_prefix();
        if length < widest {
            let reason = format!(
                "invalid aggregation length {length}: prefix {widest} in this pool is more specific than the aggregation length for addresses {range}"
            );
            let involves = (entry.object != *pool_object).then(|| pool_object.clone());
            let rule = if involves.is_some() { Rule::A4 } else { Rule::Ap7 };
            findings.refuse_with(rule, &entry.object, format!("{}.{field}", entry.path), reason, involves);
        }
    }
    !findings.since(mark)
}

/// Tells whether two advertisements say different things about the same route.
///
/// With service selectors that depends on the Service, so the speaker asks [`BgpAdvertisement::conflicts_with`] again.
fn local_prefs_conflict(a: &BgpAdvertisement, b: &BgpAdvertisement, pool: &Pool) -> bool {
    a.services.is_empty() && b.services.is_empty() && a.conflicts_with(b, pool.has_v4(), pool.has_v6())
}

impl BgpAdvertisement {
    /// Tells whether both give different LOCAL_PREFs to the same route on some node, for some peer.
    ///
    /// `v4` and `v6` are the families of the pool.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self, v4: bool, v6: bool) -> bool {
        let same_length =
            (v4 && self.aggregation_v4 == other.aggregation_v4) || (v6 && self.aggregation_v6 == other.aggregation_v6);
        let peers_meet = self.peers.is_empty() || other.peers.is_empty() || !self.peers.is_disjoint(&other.peers);
        self.local_pref != other.local_pref && same_length && peers_meet && !self.nodes.is_disjoint(&other.nodes)
    }
}
