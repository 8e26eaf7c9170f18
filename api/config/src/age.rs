//! Who stays when two objects exclude each other: the older one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The order in which objects may claim what only one can have.
///
/// An object without creation time is just being created, so it comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    /// Another one is in use already, this one is not.
    newcomer: bool,
    uncreated: bool,
    nanoseconds: i128,
    name: String,
    kind: &'static str,
}

impl Age {
    /// The age of an object, which counts as being created if it is to be the `newest`.
    pub(crate) fn of(meta: &ObjectMeta, kind: &'static str, newest: bool) -> Self {
        let created = meta.creation_timestamp.as_ref().filter(|_| !newest);
        Self {
            newcomer: false,
            uncreated: created.is_none(),
            nanoseconds: created.map_or(0, |time| time.0.as_nanosecond()),
            name: meta.name.clone().unwrap_or_default(),
            kind,
        }
    }

    /// The same, behind all that are in use already unless it is one of them.
    pub(crate) fn behind_those_in_use(&self, in_use: bool) -> Self {
        Self {
            newcomer: !in_use,
            ..self.clone()
        }
    }

    /// The age of an entry of a list: the first is the oldest.
    pub(crate) fn of_place(place: usize) -> Self {
        Self {
            newcomer: false,
            uncreated: false,
            nanoseconds: place as i128,
            name: String::new(),
            kind: "",
        }
    }
}

/// Two claimants that exclude each other, by index, and what about.
#[derive(Clone, Debug)]
pub(crate) struct Conflict<T> {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) about: T,
}

/// A conflict that is held against `loser`; `swapped` says that the loser is `a`.
#[derive(Clone, Debug)]
pub(crate) struct Verdict<T> {
    pub(crate) loser: usize,
    pub(crate) winner: usize,
    pub(crate) swapped: bool,
    pub(crate) about: T,
}

/// Decides conflicts from the oldest object to the newest.
///
/// A claimant that has lost (or is `out` already) can defeat nobody, unless `strict`: admission wants to hear
/// of every conflict, whoever would win it today. Losers are marked in `out`.
pub(crate) fn settle<T>(ages: &[&Age], out: &mut [bool], conflicts: Vec<Conflict<T>>, strict: bool) -> Vec<Verdict<T>> {
    if conflicts.is_empty() {
        return Vec::new();
    }
    let mut against: Vec<Vec<Verdict<T>>> = ages.iter().map(|_| Vec::new()).collect();
    for Conflict { a, b, about } in conflicts {
        let swapped = ages[a] > ages[b];
        let (winner, loser) = if swapped { (b, a) } else { (a, b) };
        against[loser].push(Verdict {
            loser,
            winner,
            swapped,
            about,
        });
    }
    let mut order: Vec<usize> = (0..ages.len()).collect();
    order.sort_by(|&a, &b| ages[a].cmp(ages[b]));
    let mut verdicts = Vec::new();
    for index in order {
        let held: Vec<_> = std::mem::take(&mut against[index])
            .into_iter()
            .filter(|v| strict || !out[v.winner])
            .collect();
        out[index] |= !held.is_empty();
        verdicts.extend(held);
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(name: &str) -> Age {
        Age {
            newcomer: false,
            uncreated: false,
            nanoseconds: 0,
            name: name.to_owned(),
            kind: "X",
        }
    }

    #[test]
    fn a_loser_defeats_nobody() {
        // a beats b, so c, which only b excludes, stays.
        let ages = [age("a"), age("b"), age("c")];
        let ages = ages.each_ref();
        let conflicts = || vec![Conflict { a: 1, b: 0, about: () }, Conflict { a: 1, b: 2, about: () }];
        let mut out = [false; 3];
        assert_eq!(settle(&ages, &mut out, conflicts(), false).len(), 1);
        assert_eq!(out, [false, true, false]);
        let mut out = [false; 3];
        assert_eq!(settle(&ages, &mut out, conflicts(), true).len(), 2);
        assert_eq!(out, [false, true, true]);
    }

    #[test]
    fn an_object_being_created_is_the_newest() {
        let new = Age {
            uncreated: true,
            ..age("a")
        };
        let old = age("z");
        let mut out = [false; 2];
        settle(&[&new, &old], &mut out, vec![Conflict { a: 0, b: 1, about: () }], false);
        assert_eq!(out, [true, false]);
    }
}
