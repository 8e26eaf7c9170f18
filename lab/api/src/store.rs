//! The objects, one global revision, and a bounded history that watches are fed from.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::meta;

pub(crate) type Object = Arc<Value>;

/// How many changes per resource a watch may lag behind before it is told 410.
const HISTORY: usize = 5000;

/// Namespace (empty for cluster scope) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// A change of one object; `object` is `None` once it is gone.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) object: Option<Object>,
    /// What it was before, for selectors that no longer match; carries the new revision if the object is gone.
    pub(crate) previous: Option<Object>,
}

struct Bucket {
    objects: BTreeMap<Key, Object>,
    history: VecDeque<Change>,
    /// The revision of the newest change that the history has forgotten.
    forgotten: u64,
    revision: watch::Sender<u64>,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten: 0,
            revision: watch::Sender::new(0),
        }
    }
}

/// All stored objects.
#[derive(Default)]
pub(crate) struct Store {
    revision: u64,
    buckets: BTreeMap<String, Bucket>,
    /// Rung whenever the garbage collector may have something to do.
    pub(crate) garbage: Arc<Notify>,
}

/// The history does not reach back far enough.
#[derive(Debug)]
pub(crate) struct TooOld;

impl Store {
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, bucket: &str, key: &Key) -> Option<Object> {
        self.buckets.get(bucket)?.objects.get(key).cloned()
    }

    /// Objects in order of namespace and name.
    pub(crate) fn list(&self, bucket: &str, namespace: Option<&str>) -> Vec<Object> {
        let Some(bucket) = self.buckets.get(bucket) else {
            return Vec::new();
        };
        let first = Key::new(namespace.unwrap_or_default(), "");
        let inside = |key: &Key| namespace.is_none_or(|n| key.namespace == n);
        let range = bucket.objects.range(first..).take_while(|(key, _)| inside(key));
        range.map(|(_, object)| object.clone()).collect()
    }

    /// Every object with the name of its bucket.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Key, &Object)> {
        self.buckets
            .iter()
            .flat_map(|(name, b)| b.objects.iter().map(move |(key, o)| (name.as_str(), key, o)))
    }

    /// Stores `object` if what is stored now still is `expected`; returns it with its new revision.
    pub(crate) fn put(
        &mut self,
        bucket: &str,
        key: &Key,
        expected: Option<&Object>,
        mut object: Value,
    ) -> Option<Object> {
        let stored = self.buckets.entry(bucket.to_owned()).or_default();
        let current = stored.objects.get(key).cloned();
        if current.as_ref().map(meta::revision) != expected.map(meta::revision) {
            return None;
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = Value::String(self.revision.to_string());
        let object = Arc::new(object);
        stored.objects.insert(key.clone(), object.clone());
        let interesting =
            meta::is_deleting(&object) || (current.is_none() && object["metadata"]["ownerReferences"].is_array());
        stored.record(Change {
            revision: self.revision,
            object: Some(object.clone()),
            previous: current,
        });
        if interesting {
            self.garbage.notify_one();
        }
        Some(object)
    }

    /// Removes the object if it still is `expected`; returns its last state.
    pub(crate) fn remove(&mut self, bucket: &str, key: &Key, expected: &Object) -> Option<Object> {
        let stored = self.buckets.get_mut(bucket)?;
        if stored.objects.get(key).map(meta::revision) != Some(meta::revision(expected)) {
            return None;
        }
        stored.objects.remove(key);
        self.revision += 1;
        let mut last = Value::clone(expected);
        last["metadata"]["resourceVersion"] = Value::String(self.revision.to_string());
        let last = Arc::new(last);
        stored.record(Change {
            revision: self.revision,
            object: None,
            previous: Some(last.clone()),
        });
        self.garbage.notify_one();
        Some(last)
    }

    /// What happened after `revision`.
    pub(crate) fn since(&self, bucket: &str, revision: u64) -> Result<Vec<Change>, TooOld> {
        if revision > self.revision {
            return Err(TooOld);
        }
        let Some(bucket) = self.buckets.get(bucket) else {
            return Ok(Vec::new());
        };
        if revision < bucket.forgotten {
            return Err(TooOld);
        }
        let first = bucket.history.partition_point(|change| change.revision <= revision);
        Ok(bucket.history.iter().skip(first).cloned().collect())
    }

    /// Follows the revision of the bucket's newest change.
    pub(crate) fn subscribe(&mut self, bucket: &str) -> watch::Receiver<u64> {
        self.buckets.entry(bucket.to_owned()).or_default().revision.subscribe()
    }
}

impl Bucket {
    fn record(&mut self, change: Change) {
        let revision = change.revision;
        self.history.push_back(change);
        if self.history.len() > HISTORY
            && let Some(old) = self.history.pop_front()
        {
            self.forgotten = old.revision;
        }
        self.revision.send_replace(revision);
    }
}
