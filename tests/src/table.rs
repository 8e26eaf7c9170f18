//! The table of `api/crdgen/tests/schemas.txt`, and the values that show each of its facts: one that keeps it, and one
//! that breaks it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const TABLE: &str = include_str!("../../api/crdgen/tests/schemas.txt");

/// The facts of one kind in one version.
#[derive(Default)]
pub struct Block {
    pub kind: String,
    pub version: String,
    pub deprecated: Option<String>,
    /// Name and JSON path.
    pub columns: Vec<(String, String)>,
    fields: BTreeMap<String, Facts>,
}

/// What holds for one field.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub type_: String,
    pub named: BTreeMap<String, String>,
    pub rules: Vec<String>,
}

/// What is asked of the server, and what it has to say.
#[derive(Debug)]
pub struct Case {
    /// The field, and what is done to it.
    pub what: String,
    pub body: Value,
    pub accepted: bool,
    /// Where a default must stand in the answer, and which.
    pub default: Option<(Vec<String>, Value)>,
    /// What the object is changed from.
    pub before: Option<Value>,
}

pub fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix("== ") {
            let mut words = header.split(' ').map(str::to_owned);
            blocks.push(Block {
                kind: words.next().unwrap(),
                version: words.next().unwrap(),
                ..Block::default()
            });
        } else {
            blocks.last_mut().unwrap().read(line);
        }
    }
    blocks
}

impl Block {
    fn read(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix("deprecated ") {
            self.deprecated = Some(text.to_owned());
        } else if let Some(column) = line.strip_prefix("column ") {
            let (name, rest) = column.split_once('"').unwrap().1.split_once('"').unwrap();
            let path = rest.split_whitespace().nth(1).unwrap();
            self.columns.push((name.to_owned(), path.to_owned()));
        } else {
            let (path, facts) = line.split_once(' ').unwrap();
            self.fields.insert(path.to_owned(), Facts::read(facts));
        }
    }

    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// The smallest object that is accepted.
    pub fn smallest(&self) -> Value {
        self.required("")
    }

    /// Every case that the table gives rise to; `status` tells those of the status from the others.
    pub fn cases(&self, status: bool) -> Vec<Case> {
        let of_status = |path: &&String| (**path == ".status" || path.starts_with(".status.")) == status;
        self.fields
            .keys()
            .filter(of_status)
            .flat_map(|path| self.cases_of(path))
            .collect()
    }

    fn cases_of(&self, path: &str) -> Vec<Case> {
        let facts = &self.fields[path];
        let case = |what: &str, value: Option<Value>, accepted| Case {
            what: format!("{path} {what}"),
            body: self.with(path, value),
            accepted,
            default: None,
            before: None,
        };
        let mut cases = vec![case("good", Some(self.good(path)), true)];
        cases.extend(
            facts
                .good()
                .into_iter()
                .map(|value| case("at its limit", Some(value), true)),
        );
        let bad = facts.bad().into_iter();
        cases.extend(bad.map(|value| case(&format!("as {value}"), Some(value), false)));
        if facts.named.contains_key("required") {
            cases.push(case("left out", None, false));
        }
        if facts.named.contains_key("list-keys") {
            let twice = json!([self.good(&format!("{path}.*")), self.good(&format!("{path}.*"))]);
            cases.push(case("with a key twice", Some(twice), false));
        }
        if let Some(default) = facts.named.get("default") {
            let place = path.split('.').skip(1).map(str::to_owned).collect();
            let value = serde_json::from_str(default).unwrap();
            cases.push(Case {
                default: Some((place, value)),
                ..case("left out", None, true)
            });
        }
        cases.extend(facts.rules.iter().flat_map(|rule| self.cases_of_rule(path, rule)));
        cases
    }

    /// CEL is no table: whoever adds a rule adds what keeps and what breaks it here.
    fn cases_of_rule(&self, path: &str, rule: &str) -> Vec<Case> {
        let case = |body: Value, accepted| Case {
            what: format!("{path} by the rule {rule}"),
            body,
            accepted,
            default: None,
            before: None,
        };
        let at = |value: Value| self.with(path, Some(value));
        let change = |to: Value, accepted| Case {
            before: Some(self.with(path, Some(self.good(path)))),
            ..case(at(to), accepted)
        };
        let other = match self.good(path) {
            Value::Bool(value) => json!(!value),
            _ => json!("another"),
        };
        match rule {
            "self == oldSelf" => vec![change(self.good(path), true), change(other, false)],
            rule if rule.contains("getSeconds") => {
                vec![
                    case(at(json!("65535s")), true),
                    case(at(json!("0s")), false),
                    case(at(json!("65536s")), false),
                ]
            }
            rule if rule.contains("getMilliseconds") => {
                vec![case(at(json!("1000ms")), true), case(at(json!("1500ms")), false)]
            }
            rule if rule.contains("serviceSelectors") => vec![
                case(at(json!({ "serviceSelectors": [{}] })), true),
                case(at(json!({ "serviceSelectors": [], "aggregationLength": 24 })), true),
                case(at(json!({ "serviceSelectors": [{}], "aggregationLength": 24 })), false),
                case(
                    at(json!({ "serviceSelectors": [{}], "aggregationLengthV6": 64 })),
                    false,
                ),
            ],
            _ => panic!("no values are known that keep and break {rule:?} of {path}"),
        }
    }

    /// The smallest object in which `path` has that value, or is left out.
    fn with(&self, path: &str, value: Option<Value>) -> Value {
        let steps: Vec<&str> = path.split('.').skip(1).collect();
        self.place("", &steps, value).unwrap_or_default()
    }

    fn place(&self, at: &str, steps: &[&str], value: Option<Value>) -> Option<Value> {
        let Some((step, rest)) = steps.split_first() else {
            return value;
        };
        let inner = self.place(&format!("{at}.{step}"), rest, value);
        if *step == "*" {
            return Some(Value::from_iter(inner));
        }
        let mut node = match step {
            &"?" => json!({}),
            _ => self.required(at),
        };
        let key = if *step == "?" { "key" } else { step };
        match inner {
            Some(inner) => node[key] = inner,
            None => drop(node.as_object_mut().unwrap().remove(key)),
        }
        Some(node)
    }

    /// An object with nothing but what is required.
    fn required(&self, path: &str) -> Value {
        let children = self.fields.iter().filter_map(|(child, facts)| {
            let name = child.strip_prefix(path)?.strip_prefix('.')?;
            let direct = !name.contains('.') && facts.named.contains_key("required");
            direct.then(|| (name.to_owned(), self.good(child)))
        });
        Value::Object(children.collect::<Map<_, _>>())
    }

    /// A value of which nobody has anything to say.
    fn good(&self, path: &str) -> Value {
        let facts = &self.fields[path];
        let name = path.rsplit('.').next().unwrap_or_default();
        match facts.type_.as_str() {
            "array" => match self.fields.contains_key(&format!("{path}.*")) {
                true => json!([self.good(&format!("{path}.*"))]),
                false => json!([]),
            },
            "object" if self.fields.contains_key(&format!("{path}.?")) => {
                json!({ "key": self.good(&format!("{path}.?")) })
            }
            "object" => self.required(path),
            "core" if name.ends_with("Tolerations") => json!([{ "operator": "Exists" }]),
            "core" => json!({}),
            "boolean" => json!(true),
            "integer" => facts
                .bound("max")
                .or_else(|| facts.bound("min"))
                .map_or_else(|| json!(1), Value::from),
            "string" => facts.text(),
            // A number or a percentage.
            "untyped" => json!("25%"),
            other => panic!("{path} has the unknown type {other}"),
        }
    }
}

impl Facts {
    fn read(text: &str) -> Self {
        let mut parts = text.split(" cel=[");
        let mut words = parts.next().unwrap_or_default().split_whitespace().map(str::to_owned);
        let type_ = words.next().unwrap_or_default();
        let pair = |word: String| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (word, String::new()),
        };
        Self {
            type_,
            named: words.map(pair).collect(),
            rules: parts
                .filter_map(|rule| rule.strip_suffix(']'))
                .map(str::to_owned)
                .collect(),
        }
    }

    fn bound(&self, name: &str) -> Option<i64> {
        self.named.get(name).map(|value| value.parse::<f64>().unwrap() as i64)
    }

    fn text(&self) -> Value {
        if let Some(values) = self.named.get("enum") {
            return values
                .split(',')
                .next()
                .map(|first| serde_json::from_str(first).unwrap())
                .unwrap();
        }
        match self.named.get("format").map(String::as_str) {
            Some("date-time") => json!("2026-01-01T00:00:00Z"),
            Some(other) => panic!("unknown format {other}"),
            None if self.rules.iter().any(|rule| rule.contains("duration")) => json!("10s"),
            None if self
                .named
                .get("pattern")
                .is_some_and(|pattern| pattern.contains("(ms|s|m|h)")) =>
            {
                json!("10s")
            }
            None => json!("text"),
        }
    }

    /// Values at the limits, which are good still.
    fn good(&self) -> Vec<Value> {
        let bounds = ["min", "max"]
            .iter()
            .filter_map(|name| self.bound(name))
            .map(Value::from);
        let lengths = ["minLength", "maxLength"].iter().filter_map(|name| self.bound(name));
        let texts = lengths.map(|length| json!("a".repeat(usize::try_from(length).unwrap())));
        let values = self.named.get("enum").into_iter().flat_map(|values| values.split(','));
        bounds
            .chain(texts)
            .chain(values.map(|value| serde_json::from_str(value).unwrap()))
            .collect()
    }

    /// Values that break one fact each.
    fn bad(&self) -> Vec<Value> {
        let mut bad = vec![if self.type_ == "string" {
            json!(7)
        } else {
            json!("text")
        }];
        bad.extend(self.bound("min").map(|bound| json!(bound - 1)));
        bad.extend(self.bound("max").map(|bound| json!(bound + 1)));
        bad.extend(self.bound("minLength").map(|_| json!("")));
        bad.extend(
            self.bound("maxLength")
                .map(|length| json!("a".repeat(usize::try_from(length).unwrap() + 1))),
        );
        bad.extend(self.bound("minItems").map(|_| json!([])));
        for name in ["enum", "pattern", "format"] {
            let text = self.type_ == "string" && self.named.contains_key(name);
            bad.extend(text.then(|| json!("-no such thing-")));
        }
        if self.named.contains_key("selector") {
            bad.push(json!({ "matchExpressions": [{ "key": "rack" }] }));
            bad.push(json!({ "matchLabels": { "rack": 1 } }));
        }
        bad
    }
}
