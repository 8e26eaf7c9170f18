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

/// A label that has one of the values, or any value when none is named; or the opposite of that.
#[derive(Debug, PartialEq)]
struct Requirement {
    key: String,
    values: Option<Vec<String>>,
    not: bool,
}

impl Selector {
    /// Parses `labelSelector` and `fieldSelector`.
    pub(crate) fn parse(labels: &str, fields: &str) -> Result<Self> {
        let labels = split_outside_parentheses(labels).into_iter();
        let fields = fields.split(',').filter(|part| !part.is_empty());
        Ok(Self {
            labels: labels
                .filter(|part| !part.trim().is_empty())
                .map(requirement)
                .collect::<Result<_>>()?,
            fields: fields.map(parse_field).collect::<Result<_>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let mut fields = self.fields.iter();
        self.labels
            .iter()
            .all(|requirement| requirement.matches(&object["metadata"]["labels"]))
            && fields.all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

impl Requirement {
    fn new(key: &str, values: Option<Vec<String>>, not: bool) -> Self {
        let key = key.trim().to_owned();
        Self { key, values, not }
    }

    fn matches(&self, labels: &Value) -> bool {
        let value = labels.get(&self.key).and_then(Value::as_str);
        let fits = |value: &str| {
            self.values
                .as_ref()
                .is_none_or(|values| values.iter().any(|v| v == value))
        };
        value.is_some_and(fits) != self.not
    }
}

/// The value of a selectable field as text; a field that is not set is the empty string.
fn field(object: &Value, path: &str) -> String {
    // Events are kept in the core form, but may be asked for by the names of the newer group.
    let path = path
        .replace("regarding.", "involvedObject.")
        .replace("reportingController", "reportingComponent");
    match object.pointer(&format!("/{}", path.replace('.', "/"))) {
        None | Some(Value::Null) if path == "spec.unschedulable" => "false".into(),
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Splits `a=b`, `a==b` or `a!=b`; the flag says whether they are to be equal.
fn equation(part: &str) -> Option<(&str, bool, String)> {
    let differs = part.split_once("!=").map(|(left, right)| (left, false, right));
    let equals = || part.split_once("==").or_else(|| part.split_once('='));
    let found = differs.or_else(|| equals().map(|(left, right)| (left, true, right)));
    found.map(|(left, equal, right)| (left, equal, right.trim().to_owned()))
}

fn parse_field(part: &str) -> Result<(String, bool, String)> {
    let found = equation(part).map(|(path, equal, value)| (path.to_owned(), equal, value));
    found.ok_or_else(|| ApiError::bad_request(format!("invalid field selector {part:?}")))
}

fn requirement(part: &str) -> Result<Requirement> {
    let part = part.trim();
    if let Some(key) = part.strip_prefix('!').filter(|key| !key.contains('=')) {
        return Ok(Requirement::new(key, None, true));
    }
    if let Some((key, equal, value)) = equation(part) {
        return Ok(Requirement::new(key, Some(vec![value]), !equal));
    }
    let refuse = || ApiError::bad_request(format!("unable to parse requirement: {part:?}"));
    let Some((head, rest)) = part.split_once('(') else {
        let key = Some(part).filter(|part| !part.contains(' ')).ok_or_else(refuse)?;
        return Ok(Requirement::new(key, None, false));
    };
    let values = rest
        .trim_end_matches(')')
        .split(',')
        .map(|value| value.trim().to_owned());
    match head.split_whitespace().collect::<Vec<_>>()[..] {
        [key, operator @ ("in" | "notin")] => Ok(Requirement::new(key, Some(values.collect()), operator == "notin")),
        _ => Err(refuse()),
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut inside = false;
    let split = |c: char| {
        inside = (inside || c == '(') && c != ')';
        c == ',' && !inside
    };
    text.split(split).collect()
}

/// Whether a `LabelSelector` object (`matchLabels`, `matchExpressions`) selects these labels; an absent one selects all.
pub(crate) fn label_selector_matches(selector: &Value, labels: &Value) -> bool {
    let mut pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let expression = |expression: &Value| {
        let values = meta::strings(&expression["values"]).into_iter().map(str::to_owned);
        let (values, not) = match meta::text(expression, "/operator") {
            "In" => (Some(values.collect()), false),
            "NotIn" => (Some(values.collect()), true),
            operator => (None, operator == "DoesNotExist"),
        };
        Requirement::new(meta::text(expression, "/key"), values, not).matches(labels)
    };
    pairs.all(|(key, value)| labels.get(key) == Some(value))
        && meta::array(&selector["matchExpressions"]).iter().all(expression)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_of_every_form_match() {
        let labels = json!({"app": "web", "tier": "a"});
        let object = json!({"metadata": {"name": "a", "labels": labels}, "involvedObject": {"name": "x"}});
        let matches = |labels: &str, fields: &str| Selector::parse(labels, fields).unwrap().matches(&object);
        for yes in [
            "app=web",
            "app==web,tier",
            "app in (web, x),tier notin (b)",
            "!gone",
            "app!=x",
            "",
        ] {
            assert!(matches(yes, ""), "{yes}");
        }
        for no in ["app=x", "!app", "gone", "app notin (web)", "app in (x,y)"] {
            assert!(!matches(no, ""), "{no}");
        }
        for yes in [
            "metadata.name=a",
            "spec.nodeName!=n2",
            "status.phase=",
            "regarding.name=x",
        ] {
            assert!(matches("", yes), "{yes}");
        }
        assert!(!matches("", "metadata.name=b"));
        assert!(Selector::parse("app ~ web", "").is_err());
    }
}
