//! Small collections that are kept for every Service and hardly ever change: a B-tree takes half a kilobyte for its first
//! entry.

use std::collections::BTreeMap;
use std::fmt;

/// The labels of a Service, in one piece of memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels(Box<str>);

/// Neither keys nor values can hold it.
const END: char = '\0';

impl Labels {
    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split_terminator(END);
        std::iter::from_fn(move || parts.next().zip(parts.next()))
    }
}

impl metallb_config::Labels for Labels {
    fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let mut all = String::new();
        for (key, value) in labels {
            for part in [key.as_ref(), value.as_ref()] {
                all.push_str(part);
                all.push(END);
            }
        }
        Self(all.into())
    }
}

impl From<&BTreeMap<String, String>> for Labels {
    fn from(labels: &BTreeMap<String, String>) -> Self {
        labels.iter().collect()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Names in order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Box<[Box<str>]>);

impl Names {
    /// Tells whether the name is one of them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }

    /// Lists them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

impl<T: Into<Box<str>>> FromIterator<T> for Names {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        let mut all: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }
}

#[cfg(test)]
mod tests {
    use metallb_config::Labels as _;

    use super::*;

    #[test]
    fn a_label_is_found_by_its_key_and_an_empty_value_is_one() {
        let labels: Labels = [("a", ""), ("b", "a"), ("c", "")].into_iter().collect();
        let values = ["a", "b", "c", "", "d"].map(|key| labels.get(key));
        assert_eq!(values, [Some(""), Some("a"), Some(""), None, None]);
        assert_eq!(format!("{labels:?}"), r#"{"a": "", "b": "a", "c": ""}"#);
        assert_eq!(Labels::default(), Labels::from(&BTreeMap::new()));
    }

    #[test]
    fn names_are_a_set() {
        let names: Names = ["b", "a", "b"].into_iter().collect();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(names.contains("a") && names.contains("b") && !names.contains("c"));
        assert_eq!(names, ["a", "b"].into_iter().collect());
    }
}
