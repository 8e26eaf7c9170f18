//! Reading just the fields that matter, whatever the others are like.
//!
//! Wire structs name the fields that a view needs; all else, `managedFields` included, is skipped while the answer is
//! parsed, and nothing of it is ever held. Each field is read with [`lenient`]: a value of another type than expected
//! counts as absent. So a wire struct cannot fail, and one odd object can neither end a watch nor hide others. For kinds
//! that are built into Kubernetes this is guard enough: the API server itself keeps their fields to their types.
//!
//! ```
//! use metallb_runtime::watch::wire::{Fields, lenient};
//! use serde::Deserialize;
//!
//! #[derive(Clone, Debug, Default, Deserialize)]
//! #[serde(default, rename_all = "camelCase")]
//! struct PodSpec {
//!     #[serde(deserialize_with = "lenient")]
//!     node_name: Option<String>,
//! }
//! impl Fields for PodSpec {}
//!
//! let odd: PodSpec = serde_json::from_str(r#"{ "nodeName": 7, "containers": "none" }"#)?;
//! assert_eq!(odd.node_name, None);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The metadata that views may be made of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Empty if there is none, which no API server lets happen.
    #[serde(deserialize_with = "lenient")]
    pub name: String,
    /// Empty if the object has no namespace.
    #[serde(deserialize_with = "lenient")]
    pub namespace: String,
    /// `metadata.uid`.
    #[serde(deserialize_with = "lenient")]
    pub uid: Option<String>,
    /// `metadata.resourceVersion`; empty if there is none.
    #[serde(deserialize_with = "lenient")]
    pub resource_version: String,
    /// `metadata.labels`.
    #[serde(deserialize_with = "lenient")]
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    #[serde(deserialize_with = "lenient")]
    pub annotations: BTreeMap<String, String>,
    /// `metadata.ownerReferences`.
    #[serde(deserialize_with = "lenient")]
    pub owner_references: Vec<OwnerReference>,
    /// `metadata.deletionTimestamp`: the object is being deleted.
    #[serde(deserialize_with = "lenient")]
    pub deletion_timestamp: Option<String>,
}

impl Fields for Metadata {}

/// Who owns an object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct OwnerReference {
    /// `uid` of the owner.
    #[serde(deserialize_with = "lenient")]
    pub uid: String,
}

impl Fields for OwnerReference {}

/// An object as far as it is read: a struct of [`lenient`] fields, of which one is the metadata.
pub trait Wire: Fields + Clone + fmt::Debug + Send + 'static {
    /// The metadata of the object.
    fn metadata(&self) -> &Metadata;
}

/// A struct whose fields are all read with [`lenient`], so that reading it cannot fail.
pub trait Fields: DeserializeOwned + Default {}

/// Reads a value, and takes the default for one of another type.
///
/// # Errors
/// When the text is not what the format asks for at all.
pub fn lenient<'de, D: Deserializer<'de>, T: Shape>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Reader(PhantomData))
}

/// What a [`lenient`] field can be made from; all else is the default.
pub trait Shape: Default {
    /// From a text.
    fn text(_: &str) -> Self {
        Self::default()
    }

    /// From `true` or `false`.
    fn flag(_: bool) -> Self {
        Self::default()
    }

    /// From a list.
    ///
    /// # Errors
    /// Those of the format.
    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    /// From an object.
    ///
    /// # Errors
    /// Those of the format.
    fn object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl Shape for String {
    fn text(text: &str) -> Self {
        text.to_owned()
    }
}

impl Shape for Option<String> {
    fn text(text: &str) -> Self {
        Some(text.to_owned())
    }
}

impl Shape for Option<bool> {
    fn flag(flag: bool) -> Self {
        Some(flag)
    }
}

/// Entries that are no texts are left out.
impl Shape for BTreeMap<String, String> {
    fn object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut all = Self::new();
        while let Some((name, value)) = object.next_entry::<String, Lenient<Option<String>>>()? {
            all.extend(value.0.map(|value| (name, value)));
        }
        Ok(all)
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut all = Self::new();
        while let Some(value) = list.next_element::<Lenient<T>>()? {
            all.push(value.0);
        }
        Ok(all)
    }
}

impl<T: Fields> Shape for T {
    fn object<'de, A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        Self::deserialize(MapAccessDeserializer::new(object))
    }
}

/// A value that is read with [`lenient`].
pub(super) struct Lenient<T>(pub(super) T);

impl<'de, T: Shape> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lenient(deserializer).map(Self)
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Shape> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::flag(value))
    }
    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::text(value))
    }
    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::object(object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Clone, Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Odd {
        #[serde(deserialize_with = "lenient")]
        text: Option<String>,
        #[serde(deserialize_with = "lenient")]
        flag: Option<bool>,
        #[serde(deserialize_with = "lenient")]
        map: BTreeMap<String, String>,
        #[serde(deserialize_with = "lenient")]
        list: Vec<Self>,
        #[serde(deserialize_with = "lenient")]
        metadata: Metadata,
    }
    impl Fields for Odd {}

    #[test]
    fn whatever_a_field_holds_the_others_are_read() {
        let values = [
            json!(null),
            json!(true),
            json!(-7),
            json!(7),
            json!(0.5),
            json!("text"),
            json!([1, {"a": [null]}]),
            json!({"a": {"b": 1}, "name": 3}),
        ];
        for field in ["text", "flag", "map", "list", "metadata", "other"] {
            for value in &values {
                let mut whole = json!({"text": "t", "flag": true, "map": {"k": "v", "n": 1}, "metadata": {"name": "n"},
                    "list": [{"text": "in"}]});
                whole[field] = value.clone();
                // Both from a text and from what serde has buffered.
                let read: Odd = serde_json::from_str(&whole.to_string()).unwrap();
                assert_eq!(read, serde_json::from_value(whole).unwrap());
                let odd = [
                    read.text.as_deref() != Some("t"),
                    read.flag != Some(true),
                    read.map != BTreeMap::from([("k".into(), "v".into())]),
                    read.list.first().and_then(|inner| inner.text.as_deref()) != Some("in"),
                    read.metadata.name != "n",
                ];
                let allowed = usize::from(field != "other");
                assert!(
                    odd.iter().filter(|odd| **odd).count() <= allowed,
                    "{field} = {value}: {read:?}"
                );
            }
        }
    }

    #[test]
    fn a_list_keeps_its_places() {
        let read: Lenient<Vec<Option<String>>> = serde_json::from_str(r#"["a", 1, null, "b"]"#).unwrap();
        assert_eq!(read.0, [Some("a".to_owned()), None, None, Some("b".to_owned())]);
    }
}
