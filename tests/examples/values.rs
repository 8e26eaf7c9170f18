//! Reads a chart's values.yaml from standard input, and prints what its comments say: `schema` or `reference`.
//!
//! ```yaml
//! # What a group is about.
//! group:
//!   # -- (int? ≥1) What a value does.
//!   value: null
//! ```

use std::io::Read as _;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

fn main() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let tree = Tree::read(&text)?;
    match std::env::args().nth(1).as_deref() {
        Some("schema") => println!("{:#}", tree.schema()?),
        Some("reference") => print!("{}", tree.reference()),
        _ => bail!("say `schema` or `reference`"),
    }
    Ok(())
}

/// A group of values, or one value.
enum Entry {
    Group {
        about: String,
        entries: Vec<(String, Self)>,
    },
    Value(Leaf),
}

struct Leaf {
    kind: String,
    about: String,
    default: Value,
}

struct Tree {
    intro: Vec<String>,
    entries: Vec<(String, Entry)>,
}

/// One key of the file, with the comment above it.
struct Line<'a> {
    indent: usize,
    key: &'a str,
    comment: Vec<&'a str>,
}

impl Tree {
    fn read(text: &str) -> Result<Self> {
        let defaults: Value = serde_saphyr::from_str(text).context("values.yaml is no YAML")?;
        let (head, body) = text
            .split_once("\n\n")
            .context("an introduction and an empty line come first")?;
        // The second paragraph is for those who edit the file.
        let intro = head.lines().map(uncommented).take_while(|line| !line.is_empty());
        let intro = intro.map(str::to_owned).collect();
        let lines = keys(body);
        let mut rest = lines.as_slice();
        let entries = entries(&mut rest, 0, &defaults)?;
        ensure!(rest.is_empty(), "{}: odd indentation", rest[0].key);
        Ok(Self { intro, entries })
    }

    fn schema(&self) -> Result<Value> {
        let mut schema = group_schema(&self.entries)?;
        schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        Ok(schema)
    }

    fn reference(&self) -> String {
        let mut text = String::from("<!-- Generated from values.yaml by .ci/generate. -->\n\n# Values\n\n");
        text += &self.intro.join("\n");
        text += "\n\nHow to install, upgrade and move from another chart: [docs/install/helm.md](../../docs/install/helm.md).\n";
        let (groups, values): (Vec<_>, Vec<_>) = self
            .entries
            .iter()
            .partition(|(_, entry)| matches!(entry, Entry::Group { .. }));
        text += "\n## General\n";
        rows(&mut text, "", values);
        for (name, entry) in groups {
            let Entry::Group { about, entries } = entry else {
                continue;
            };
            text += &format!("\n## {name}\n");
            if !about.is_empty() {
                text += &format!("\n{about}\n");
            }
            rows(&mut text, &format!("{name}."), entries);
        }
        text
    }
}

fn uncommented(line: &str) -> &str {
    line.trim_start().trim_start_matches('#').trim()
}

/// The keys with a documented value, and those of groups; what lies below a documented value is its default.
fn keys(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut comment = Vec::new();
    let mut inside: Option<usize> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if trimmed.is_empty() {
            comment.clear();
        } else if inside.is_some_and(|value| indent > value) {
        } else if trimmed.starts_with('#') {
            comment.push(uncommented(trimmed));
        } else if let Some((key, _)) = trimmed.split_once(':') {
            let documented = comment.iter().any(|line| line.starts_with("--"));
            inside = documented.then_some(indent);
            let comment = std::mem::take(&mut comment);
            lines.push(Line { indent, key, comment });
        }
    }
    lines
}

fn entries(rest: &mut &[Line<'_>], indent: usize, defaults: &Value) -> Result<Vec<(String, Entry)>> {
    let mut found = Vec::new();
    while let Some((line, after)) = rest.split_first()
        && line.indent == indent
    {
        *rest = after;
        let default = defaults.get(line.key).cloned().unwrap_or_default();
        let about = line.comment.join(" ");
        let entry = match about.strip_prefix("-- (").and_then(|rest| rest.split_once(") ")) {
            Some((kind, about)) => Entry::Value(Leaf {
                kind: kind.into(),
                about: about.into(),
                default,
            }),
            None => {
                ensure!(default.is_object(), "{} has no comment `-- (type) text`", line.key);
                let entries = entries(rest, indent + 2, &default)?;
                Entry::Group { about, entries }
            }
        };
        found.push((line.key.to_owned(), entry));
    }
    Ok(found)
}

fn group_schema(entries: &[(String, Entry)]) -> Result<Value> {
    let mut properties = Map::new();
    for (name, entry) in entries {
        let schema = match entry {
            Entry::Group { entries, .. } => group_schema(entries)?,
            Entry::Value(leaf) => leaf.schema().with_context(|| format!("the type of {name}"))?,
        };
        properties.insert(name.clone(), schema);
    }
    // What Helm says of an unknown value: `at '/speaker/x': value must be 'nothing, …'`. Were it `propertyNames` that lists
    // what exists, Helm 3.22 would name a value at random instead; `false` would list nothing.
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let refusal = format!("nothing, for there is no such value; there are {}", names.join(", "));
    Ok(json!({
        "type": "object",
        "additionalProperties": {"const": refusal},
        "properties": properties,
    }))
}

impl Leaf {
    fn schema(&self) -> Result<Value> {
        let mut schema = kind_schema(&self.kind)?;
        schema["description"] = json!(self.about);
        Ok(schema)
    }
}

/// `int? ≥1 ≤9`, `enum a b`, `[string]` and the like.
fn kind_schema(kind: &str) -> Result<Value> {
    if let Some(item) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Ok(json!({"type": "array", "items": kind_schema(item)?}));
    }
    let (name, rest) = kind.split_once(' ').unwrap_or((kind, ""));
    let (name, nullable) = match name.strip_suffix('?') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let mut schema = named_schema(name, rest)?;
    if nullable {
        or_null(&mut schema).with_context(|| format!("{kind} cannot be null"))?;
    }
    Ok(schema)
}

fn or_null(schema: &mut Value) -> Result<()> {
    let values = schema.get_mut("enum").and_then(Value::as_array_mut);
    match values {
        Some(values) => values.push(Value::Null),
        None => match schema.get("type").cloned().context("it has no type")? {
            Value::Array(mut kinds) => {
                kinds.push(json!("null"));
                schema["type"] = kinds.into();
            }
            only => schema["type"] = json!([only, "null"]),
        },
    }
    Ok(())
}

fn named_schema(name: &str, rest: &str) -> Result<Value> {
    let strings = json!({"type": "object", "additionalProperties": {"type": "string"}});
    Ok(match name {
        "bool" => json!({"type": "boolean"}),
        "string" => json!({"type": "string"}),
        // A string that YAML may take for a number.
        "text" => json!({"type": ["string", "integer"]}),
        "object" => json!({"type": "object"}),
        "strings" => strings,
        "port" => json!({"type": "integer", "minimum": 1, "maximum": 65535}),
        "int" => {
            let mut schema = json!({"type": "integer"});
            for bound in rest.split_whitespace() {
                let (side, number) = match (bound.strip_prefix('≥'), bound.strip_prefix('≤')) {
                    (Some(least), _) => ("minimum", least),
                    (_, Some(most)) => ("maximum", most),
                    _ => bail!("{bound} is no bound"),
                };
                schema[side] = json!(number.parse::<i64>()?);
            }
            schema
        }
        "enum" => json!({"enum": rest.split(' ').map(|word| word.trim_matches('"')).collect::<Vec<_>>()}),
        // A number is seconds; the rest is how Prometheus writes durations.
        "duration" => json!({
            "type": ["string", "integer"],
            "minimum": 1,
            "pattern": "^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        }),
        "strategy" => json!({
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"type": "string"}, "rollingUpdate": {"type": ["object", "null"]}},
            "additionalProperties": false,
        }),
        "pullSecret" => json!({
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}},
            "additionalProperties": false,
        }),
        "threshold" => json!({
            "type": "object",
            "required": ["percent"],
            "properties": {
                "percent": {"type": "number", "minimum": 0, "maximum": 100},
                "labels": strings,
            },
            "additionalProperties": false,
        }),
        _ => bail!("{name} is no known type"),
    })
}

fn rows<'a>(text: &mut String, prefix: &str, entries: impl IntoIterator<Item = &'a (String, Entry)>) {
    text.push_str("\n| Value | Type | Default | Meaning |\n| --- | --- | --- | --- |\n");
    for (name, entry) in entries {
        row(text, &format!("{prefix}{name}"), entry);
    }
}

fn row(text: &mut String, path: &str, entry: &Entry) {
    match entry {
        Entry::Value(leaf) => {
            let kind = leaf.kind.replace('"', "`");
            let kind = kind.replace("``", "`\"\"`");
            text.push_str(&format!(
                "| `{path}` | {kind} | `{}` | {} |\n",
                leaf.default, leaf.about
            ));
        }
        Entry::Group { entries, .. } => {
            for (name, entry) in entries {
                row(text, &format!("{path}.{name}"), entry);
            }
        }
    }
}
