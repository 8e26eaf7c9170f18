//! What several Services announce together: an address that they share, a prefix that covers them.

use std::collections::BTreeMap;

/// What Services contribute to each key, and how many of them the same.
///
/// Remembers what stood before the first change since [`Contributions::changes`] was asked last, so that a change costs
/// what it touches, however many Services there are.
#[derive(Debug)]
pub(crate) struct Contributions<K, V> {
    current: BTreeMap<K, Vec<(V, usize)>>,
    before: BTreeMap<K, Vec<V>>,
}

impl<K, V> Default for Contributions<K, V> {
    fn default() -> Self {
        Self {
            current: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Copy, V: PartialEq + Clone> Contributions<K, V> {
    /// How many keys somebody contributes to.
    pub(crate) fn len(&self) -> usize {
        self.current.len()
    }

    /// Says whether somebody contributes to `key`.
    pub(crate) fn contains(&self, key: K) -> bool {
        self.current.contains_key(&key)
    }

    /// Replaces what one Service contributes.
    pub(crate) fn replace(&mut self, old: impl Iterator<Item = (K, V)>, new: impl Iterator<Item = (K, V)>) {
        for (key, value) in new {
            self.add(key, value);
        }
        for (key, value) in old {
            self.remove(key, &value);
        }
    }

    fn add(&mut self, key: K, value: V) {
        self.note(key);
        let values = self.current.entry(key).or_insert_with(|| Vec::with_capacity(1));
        match values.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => values.push((value, 1)),
        }
    }

    fn remove(&mut self, key: K, value: &V) {
        self.note(key);
        let Some(values) = self.current.get_mut(&key) else {
            return;
        };
        if let Some(at) = values.iter().position(|(known, _)| known == value) {
            values[at].1 -= 1;
            if values[at].1 == 0 {
                values.remove(at);
            }
        }
        if values.is_empty() {
            self.current.remove(&key);
        }
    }

    fn note(&mut self, key: K) {
        self.before.entry(key).or_insert_with(|| values(self.current.get(&key)));
    }

    /// Returns the keys of which `merge` makes something else than when this was asked last; `None` = nobody
    /// contributes any more.
    pub(crate) fn changes<T: PartialEq>(&mut self, merge: impl Fn(Vec<V>) -> T) -> Vec<(K, Option<T>)> {
        let merged = |values: Vec<V>| (!values.is_empty()).then(|| merge(values));
        let mut changes = Vec::new();
        for (key, before) in std::mem::take(&mut self.before) {
            let now = merged(values(self.current.get(&key)));
            if merged(before) != now {
                changes.push((key, now));
            }
        }
        changes
    }
}

fn values<V: Clone>(counted: Option<&Vec<(V, usize)>>) -> Vec<V> {
    counted.into_iter().flatten().map(|(value, _)| value.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn merge(values: Vec<u8>) -> BTreeSet<u8> {
        values.into_iter().collect()
    }

    proptest! {
        /// Whoever applies the changes knows what the Services contribute now, and is told nothing twice.
        #[test]
        fn changes_add_up_to_what_is_contributed(
            steps in prop::collection::vec((0usize..4, prop::collection::btree_map(0u8..4, 0u8..3, 0..3), any::<bool>()), 0..40)
        ) {
            let mut contributions = Contributions::<u8, u8>::default();
            let mut services = [(); 4].map(|()| BTreeMap::<u8, u8>::new());
            let mut told = BTreeMap::new();
            for (service, wanted, ask) in steps {
                contributions.replace(services[service].clone().into_iter(), wanted.clone().into_iter());
                services[service] = wanted;
                if ask {
                    for (key, now) in contributions.changes(merge) {
                        prop_assert_ne!(told.get(&key), now.as_ref());
                        match now {
                            Some(now) => drop(told.insert(key, now)),
                            None => drop(told.remove(&key)),
                        }
                    }
                    let mut expected = BTreeMap::<u8, BTreeSet<u8>>::new();
                    for (key, value) in services.iter().flatten() {
                        expected.entry(*key).or_default().insert(*value);
                    }
                    prop_assert_eq!(&told, &expected);
                }
            }
        }
    }
}
