//! YAML with the place of every value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use crate::input::files::limits;

/// Where a value begins in its file; lines and columns count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl From<&Location> for Place {
    fn from(location: &Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) at: Place,
    pub(super) node: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Map(Vec<Member>),
    List(Vec<Tree>),
    Scalar(Value),
}

/// A member of a map, with the place of its name.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) at: Place,
    pub(super) tree: Tree,
}

impl Tree {
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.members()
            .iter()
            .find(|member| member.name == name)
            .map(|member| &member.tree)
    }

    pub(super) fn members(&self) -> &[Member] {
        match &self.node {
            Node::Map(members) => members,
            _ => &[],
        }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        match self.get(name).map(|tree| &tree.node) {
            Some(Node::Scalar(Value::String(text))) => text,
            _ => "",
        }
    }

    pub(super) fn value(&self) -> Value {
        match &self.node {
            Node::Map(members) => {
                let members = members.iter().map(|member| (member.name.clone(), member.tree.value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
            Node::List(list) => list.iter().map(Self::value).collect(),
            Node::Scalar(value) => value.clone(),
        }
    }

    /// Where `spec.addresses[0]` is, or as much of it as there is.
    pub(super) fn place(&self, path: &str) -> Place {
        let (mut tree, mut at) = (self, self.at);
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (&tree.node, step.strip_suffix(']')) {
                (Node::List(list), Some(number)) => {
                    let number = number.parse::<usize>().ok();
                    number.and_then(|number| list.get(number)).map(|tree| (tree, tree.at))
                }
                (Node::Map(members), None) => {
                    let member = members.iter().find(|member| member.name == step);
                    member.map(|member| (&member.tree, member.value_or_name()))
                }
                _ => None,
            };
            let Some(next) = next else {
                break;
            };
            (tree, at) = next;
        }
        at
    }
}

impl Member {
    /// A block is pointed at by its name, a scalar itself.
    fn value_or_name(&self) -> Place {
        match self.tree.node {
            Node::Scalar(_) if self.tree.at.line > 0 => self.tree.at,
            _ if self.at.line > 0 => self.at,
            _ => self.tree.at,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Node>::deserialize(deserializer)?;
        Ok(Self {
            at: Place::from(&spanned.referenced),
            node: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(tree) = access.next_element()? {
            list.push(tree);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = access.next_key::<Spanned<String>>()? {
            let tree = access.next_value()?;
            members.push(Member {
                at: Place::from(&name.referenced),
                name: name.value,
                tree,
            });
        }
        Ok(Node::Map(members))
    }
}

/// Reads all documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Tree>, serde_saphyr::Error> {
    let all: Vec<Option<Tree>> = serde_saphyr::from_multiple_with_options(text, limits())?;
    Ok(all.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    // CLI-26
    #[test]
    fn places_are_those_of_the_values_also_behind_comments_and_anchors() {
        let text = "a: 1\n---\n# nothing\n---\nspec: &s\n  # why\n  addresses:\n  - 192.0.2.1\n  - x\nother: *s\n";
        let all = documents(text).unwrap();
        let tree = all.last().unwrap();
        assert_eq!(tree.place("spec.addresses[1]"), Place { line: 9, column: 5 });
        assert_eq!(tree.place("spec.addresses"), Place { line: 7, column: 3 });
        assert_eq!(tree.place("spec.addresses[9].x"), Place { line: 7, column: 3 });
        assert_eq!(tree.value()["other"]["addresses"][1], "x");
    }
}
