//! Label and field selectors of list and watch requests.

use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::meta;

/// Which objects a request wants.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Parses `labelSelector` and `fieldSelector`.
    pub(crate) fn parse(labels: &str, fields: &str) -> Result<Self> {
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(fields)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|r| r.matches(labels))
            && self
                .fields
                .iter()
                .all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        let value = |key: &str| labels.get(key).and_then(Value::as_str);
        match self {
            Self::In(key, values) => value(key).is_some_and(|v| values.iter().any(|x| x == v)),
            Self::NotIn(key, values) => value(key).is_none_or(|v| values.iter().all(|x| x != v)),
            Self::Exists(key) => value(key).is_some(),
            Self::Absent(key) => value(key).is_none(),
        }
    }
}

/// The value of a selectable field as text; a field that is not set is the empty string.
fn field(object: &Value, path: &str) -> String {
    // Events are kept in the core form, but may be asked for by the names of the newer group.
    let path = match path.split_once('.') {
        Some(("regarding", rest)) => format!("involvedObject.{rest}"),
        _ if path == "reportingController" => "reportingComponent".to_owned(),
        _ => path.to_owned(),
    };
    match object.pointer(&format!("/{}", path.replace('.', "/"))) {
        None | Some(Value::Null) if path == "spec.unschedulable" => "false".into(),
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn parse_fields(text: &str) -> Result<Vec<(String, bool, String)>> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, true, value)
            } else {
                return Err(ApiError::bad_request(format!("invalid field selector {part:?}")));
            };
            Ok((path.to_owned(), equal, value.to_owned()))
        })
        .collect()
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>> {
    split_outside_parentheses(text)
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .map(requirement)
        .collect()
}

fn requirement(part: &str) -> Result<Requirement> {
    let part = part.trim();
    let owned = |s: &str| s.trim().to_owned();
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(owned(key)));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(owned(key), vec![owned(value)]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(owned(key), vec![owned(value)]));
    }
    let Some((head, rest)) = part.split_once('(') else {
        return match part.contains(' ') {
            true => Err(ApiError::bad_request(format!("unable to parse requirement: {part:?}"))),
            false => Ok(Requirement::Exists(part.to_owned())),
        };
    };
    let values: Vec<String> = rest.trim_end_matches(')').split(',').map(owned).collect();
    match head.split_whitespace().collect::<Vec<_>>()[..] {
        [key, "in"] => Ok(Requirement::In(key.to_owned(), values)),
        [key, "notin"] => Ok(Requirement::NotIn(key.to_owned(), values)),
        _ => Err(ApiError::bad_request(format!("unable to parse requirement: {part:?}"))),
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Whether a `LabelSelector` object (`matchLabels`, `matchExpressions`) selects these labels; an absent one selects all.
pub(crate) fn label_selector_matches(selector: &Value, labels: &Value) -> bool {
    let pairs = selector["matchLabels"].as_object();
    pairs
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
        && meta::array(&selector["matchExpressions"]).iter().all(|expression| {
            let key = meta::text(expression, "/key").to_owned();
            let values = meta::strings(&expression["values"])
                .into_iter()
                .map(str::to_owned)
                .collect();
            match meta::text(expression, "/operator") {
                "In" => Requirement::In(key, values).matches(labels),
                "NotIn" => Requirement::NotIn(key, values).matches(labels),
                "Exists" => Requirement::Exists(key).matches(labels),
                "DoesNotExist" => Requirement::Absent(key).matches(labels),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_of_every_form_match() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "a"}}});
        for yes in [
            "app=web",
            "app==web,tier",
            "app in (web, x),tier notin (b)",
            "!gone",
            "app!=x",
            "",
        ] {
            assert!(Selector::parse(yes, "").unwrap().matches(&object), "{yes}");
        }
        for no in ["app=x", "!app", "gone", "app notin (web)", "app in (x,y)"] {
            assert!(!Selector::parse(no, "").unwrap().matches(&object), "{no}");
        }
        assert!(Selector::parse("app ~ web", "").is_err());
    }

    #[test]
    fn field_selectors_reach_into_the_object() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "involvedObject": {"name": "x"}});
        for yes in [
            "metadata.name=a,spec.nodeName=n1",
            "spec.nodeName!=n2",
            "status.phase=",
            "regarding.name=x",
        ] {
            assert!(Selector::parse("", yes).unwrap().matches(&object), "{yes}");
        }
        assert!(!Selector::parse("", "metadata.name=b").unwrap().matches(&object));
    }
}
