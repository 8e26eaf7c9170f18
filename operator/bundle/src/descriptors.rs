//! How consoles show the fields of our kinds: made of the schemas, so that no field is forgotten.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSON, JSONSchemaProps};
use serde_json::{Value, json};

/// Words that are not written as they are in names of fields.
const SPELLINGS: [(&str, &str); 17] = [
    ("asn", "ASN"),
    ("bfd", "BFD"),
    ("bgp", "BGP"),
    ("ebgp", "eBGP"),
    ("frr", "FRR"),
    ("frrk8s", "FRR-K8s"),
    ("id", "ID"),
    ("ip", "IP"),
    ("ips", "IPs"),
    ("ipv4", "IPv4"),
    ("ipv6", "IPv6"),
    ("l2", "L2"),
    ("metallb", "MetalLB"),
    ("mp", "MP"),
    ("tls", "TLS"),
    ("ttl", "TTL"),
    ("vrf", "VRF"),
];

/// Kinds and fields whose words cannot be told by their letters.
const WHOLE: [(&str, &str); 2] = [("MetalLB", "MetalLB"), ("IPAddressPool", "IP Address Pool")];

/// Lists a descriptor for each field of `spec` or `status`.
pub(crate) fn list(schema: Option<&JSONSchemaProps>) -> Vec<Value> {
    let properties = schema.and_then(|schema| schema.properties.as_ref());
    let all = properties.into_iter().flatten();
    all.map(|(name, property)| descriptor(name, property)).collect()
}

fn descriptor(name: &str, property: &JSONSchemaProps) -> Value {
    let display = words(name);
    let description = property
        .description
        .as_deref()
        .map_or_else(|| display.clone(), one_line);
    let mut entry = json!({ "path": name, "displayName": display, "description": description });
    let hints = hints(name, property);
    if !hints.is_empty() {
        entry["x-descriptors"] = hints.into();
    }
    entry
}

/// Tells a console how to show and to ask for a value.
fn hints(name: &str, property: &JSONSchemaProps) -> Vec<String> {
    let of = |hint: &str| format!("urn:alm:descriptor:com.tectonic.ui:{hint}");
    let choices: Vec<_> = property
        .enum_
        .iter()
        .flatten()
        .filter_map(|JSON(value)| value.as_str())
        .collect();
    match property.type_.as_deref() {
        _ if name == "conditions" => vec!["urn:alm:descriptor:io.kubernetes.conditions".to_owned()],
        Some("string") if !choices.is_empty() => choices.iter().map(|choice| of(&format!("select:{choice}"))).collect(),
        Some("string") if name == "password" => vec![of("password")],
        Some("string") => vec![of("text")],
        Some("boolean") => vec![of("booleanSwitch")],
        Some("integer") => vec![of("number")],
        _ => Vec::new(),
    }
}

/// Puts a text of several lines into one.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes the name of a kind or a field as people do: `peerASN` → `Peer ASN`.
pub(crate) fn words(name: &str) -> String {
    if let Some((_, whole)) = WHOLE.iter().find(|(known, _)| *known == name) {
        return (*whole).to_owned();
    }
    split(name).iter().map(|word| spell(word)).collect::<Vec<_>>().join(" ")
}

/// Begins a word where a capital follows a small letter, and before the last of several capitals.
fn split(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let after = letters.get(at + 1);
        let ends = after.is_some_and(|after| after.is_lowercase()) && !belongs(&letters[at + 1..]);
        let begins = letter.is_uppercase() && before.is_some_and(|before| !before.is_uppercase() || ends);
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(*letter);
        }
    }
    words
}

/// Tells whether a small letter belongs to the capitals before it: a plural as in `buggyIPs`, a version as in `freeIPv4`.
fn belongs(rest: &[char]) -> bool {
    match rest {
        ['s', after @ ..] => after.first().is_none_or(|next| next.is_uppercase()),
        ['v', next, ..] => next.is_ascii_digit(),
        _ => false,
    }
}

fn spell(word: &str) -> String {
    let small = word.to_lowercase();
    if let Some((_, spelling)) = SPELLINGS.iter().find(|(known, _)| *known == small) {
        return (*spelling).to_owned();
    }
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words() {
        for (name, expected) in [
            ("peerASN", "Peer ASN"),
            ("myASN", "My ASN"),
            ("avoidBuggyIPs", "Avoid Buggy IPs"),
            ("bgpBackend", "BGP Backend"),
            ("frrk8sConfig", "FRR-K8s Config"),
            ("ebgpMultiHop", "eBGP Multi Hop"),
            ("routerID", "Router ID"),
            ("BGPPeer", "BGP Peer"),
            ("IPAddressPool", "IP Address Pool"),
            ("L2Advertisement", "L2 Advertisement"),
            ("ServiceBGPStatus", "Service BGP Status"),
            ("MetalLB", "MetalLB"),
            ("availableIPv4", "Available IPv4"),
            ("ipAddressPoolSelectors", "IP Address Pool Selectors"),
        ] {
            assert_eq!(words(name), expected);
        }
    }
}
