//! Reading and filling `metadata`, and small helpers on JSON objects.

use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value, json};

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(crate) fn revision(object: impl AsRef<Value>) -> u64 {
    text(object.as_ref(), "/metadata/resourceVersion").parse().unwrap_or(0)
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    strings(&object["metadata"]["finalizers"])
}

pub(crate) fn strings(list: &Value) -> Vec<&str> {
    array(list).iter().filter_map(Value::as_str).collect()
}

pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `metadata` as an object, made if missing.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    member(object, "metadata")
}

/// A member that is an object, made if missing.
pub(crate) fn member<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let slot = &mut object[name];
    if !slot.is_object() {
        *slot = json!({});
    }
    slot.as_object_mut().expect("made an object above")
}

/// A member that is an object, made if missing, as a value.
pub(crate) fn child<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    member(object, name);
    &mut object[name]
}

/// Sets a member of an object if it is absent.
pub(crate) fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        map.entry(name.to_owned()).or_insert_with(|| value.into());
    }
}

/// Changes every element of a member that is a list.
pub(crate) fn each(object: &mut Value, list: &str, change: impl FnMut(&mut Value)) {
    let list = object.get_mut(list).and_then(Value::as_array_mut);
    list.into_iter().flatten().for_each(change);
}

/// Writes 1.0 as 1, as Go does: schemas hold their bounds as floats, and clients compare what they sent with what they
/// get.
pub(crate) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Array(list) => list.iter_mut().for_each(whole_numbers),
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15) {
                *value = Value::from(whole as i64);
            }
        }
        _ => {}
    }
}

/// The time now in whole seconds, as `metadata` has it.
pub(crate) fn now() -> String {
    in_seconds(0)
}

/// The time in so many seconds.
pub(crate) fn in_seconds(seconds: u64) -> String {
    let at = k8s_openapi::jiff::Timestamp::now() + std::time::Duration::from_secs(seconds);
    format!("{:.0}", at.round(k8s_openapi::jiff::Unit::Second).unwrap_or_default())
}

/// `length` characters from the alphabet of generated names.
pub(crate) fn suffix(length: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let letters = random::<32>().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]));
    letters.into_iter().take(length).collect()
}

/// A random UUID (version 4).
pub(crate) fn new_uid() -> String {
    let mut b = random::<16>();
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Unpredictable bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system has randomness");
    bytes
}
