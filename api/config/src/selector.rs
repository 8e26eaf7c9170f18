//! Label selectors, compiled once and checked as the API server would.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use thiserror::Error;

use crate::error::{Findings, ObjectRef};
use crate::rule::Rule;

/// Why a label selector is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// Not one of the four operators.
    #[error("\"{0}\" is not a valid label selector operator")]
    Operator(String),
    /// `In` and `NotIn` need values.
    #[error("for 'in', 'notin' operators, values set can't be empty (key \"{0}\")")]
    NoValues(String),
    /// `Exists` and `DoesNotExist` take none.
    #[error("values set must be empty for exists and does not exist (key \"{0}\")")]
    Values(String),
    /// Not a label key.
    #[error("invalid label key \"{0}\"")]
    Key(String),
    /// Not a label value.
    #[error("invalid label value \"{value}\" (key \"{key}\")")]
    Value {
        /// The key it belongs to.
        key: String,
        /// The value.
        value: String,
    },
    /// The same value twice in one expression.
    #[error("duplicate value \"{value}\" in the match expression of key \"{key}\"")]
    DuplicateValue {
        /// The key it belongs to.
        key: String,
        /// The value.
        value: String,
    },
    /// The same expression twice in one selector.
    #[error("duplicate match expression of key \"{0}\"")]
    DuplicateExpression(String),
}

impl SelectorError {
    fn rule(&self) -> Rule {
        match self {
            Self::DuplicateValue { .. } => Rule::S1,
            Self::DuplicateExpression(_) => Rule::S2,
            _ => Rule::S4,
        }
    }
}

/// Compiles a list of selectors and refuses duplicates in it (S-rules).
pub(crate) fn parse_list(
    object: &ObjectRef,
    field: &str,
    list: &[LabelSelector],
    findings: &mut Findings,
) -> Vec<Selector> {
    let mut selectors: Vec<Selector> = Vec::with_capacity(list.len());
    for (place, selector) in list.iter().enumerate() {
        match Selector::parse(selector) {
            Ok(parsed) if selectors.contains(&parsed) => {
                findings.refuse(
                    Rule::S3,
                    object,
                    format!("{field}[{place}]"),
                    "duplicate definition of the same selector",
                );
            }
            Ok(parsed) => selectors.push(parsed),
            Err(error) => findings.refuse(
                error.rule(),
                object,
                format!("{field}[{place}]"),
                format!("invalid label selector: {error}"),
            ),
        }
    }
    selectors
}

/// A compiled label selector; `{}` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    labels: BTreeMap<String, String>,
    expressions: BTreeSet<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Expression {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Compiles a selector, refusing duplicates inside it.
    ///
    /// # Errors
    /// Says which operator, key or value is wrong.
    pub fn parse(selector: &LabelSelector) -> Result<Self, SelectorError> {
        Self::compile(selector, true)
    }

    /// Compiles a selector; duplicates inside it do not matter.
    ///
    /// # Errors
    /// Says which operator, key or value is wrong.
    pub fn parse_lenient(selector: &LabelSelector) -> Result<Self, SelectorError> {
        Self::compile(selector, false)
    }

    fn compile(selector: &LabelSelector, strict: bool) -> Result<Self, SelectorError> {
        let mut compiled = Self::default();
        for (key, value) in selector.match_labels.iter().flatten() {
            check_key(key)?;
            check_value(key, value)?;
            compiled.labels.insert(key.clone(), value.clone());
        }
        for requirement in selector.match_expressions.iter().flatten() {
            let expression = Expression::parse(requirement, strict)?;
            if !compiled.expressions.insert(expression) && strict {
                return Err(SelectorError::DuplicateExpression(requirement.key.clone()));
            }
        }
        Ok(compiled)
    }

    /// Tells whether the selector selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.expressions.is_empty()
    }

    /// Tells whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &impl Labels) -> bool {
        let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.labels.iter().all(has) && self.expressions.iter().all(|expression| expression.matches(labels))
    }
}

/// The labels of an object, however they are kept.
pub trait Labels {
    /// Returns the value of a label.
    fn get(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn get(&self, key: &str) -> Option<&str> {
        Self::get(self, key).map(String::as_str)
    }
}

impl<T: Labels> Labels for &T {
    fn get(&self, key: &str) -> Option<&str> {
        T::get(self, key)
    }
}

impl Expression {
    fn parse(requirement: &LabelSelectorRequirement, strict: bool) -> Result<Self, SelectorError> {
        let key = requirement.key.clone();
        check_key(&key)?;
        let mut values = BTreeSet::new();
        for value in requirement.values.iter().flatten() {
            check_value(&key, value)?;
            if !values.insert(value.clone()) && strict {
                return Err(SelectorError::DuplicateValue {
                    key,
                    value: value.clone(),
                });
            }
        }
        let test = match (requirement.operator.as_str(), values.is_empty()) {
            ("In" | "NotIn", true) => return Err(SelectorError::NoValues(key)),
            ("Exists" | "DoesNotExist", false) => return Err(SelectorError::Values(key)),
            ("In", _) => Test::In(values),
            ("NotIn", _) => Test::NotIn(values),
            ("Exists", _) => Test::Exists,
            ("DoesNotExist", _) => Test::DoesNotExist,
            (other, _) => return Err(SelectorError::Operator(other.to_owned())),
        };
        Ok(Self { key, test })
    }

    fn matches(&self, labels: &impl Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            // As in Kubernetes, a missing label satisfies `NotIn`.
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

fn check_key(key: &str) -> Result<(), SelectorError> {
    let valid = match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
    };
    if valid {
        Ok(())
    } else {
        Err(SelectorError::Key(key.to_owned()))
    }
}

fn check_value(key: &str, value: &str) -> Result<(), SelectorError> {
    if value.is_empty() || is_name(value) {
        return Ok(());
    }
    Err(SelectorError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

/// Kubernetes "qualified name": 1 to 63 of `[A-Za-z0-9._-]`, alphanumeric at both ends.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn is_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        let bytes = part.as_bytes();
        let outer = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        bytes.first().is_some_and(outer)
            && bytes.last().is_some_and(outer)
            && bytes.iter().all(|b| outer(b) || *b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelectorRequirement {
        LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: Some(values.iter().map(ToString::to_string).collect()),
        }
    }

    fn selector(expressions: Vec<LabelSelectorRequirement>) -> LabelSelector {
        LabelSelector {
            match_expressions: Some(expressions),
            ..LabelSelector::default()
        }
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }

    #[rstest]
    #[case("In", &["a", "b"], &[("k", "a")], true)]
    #[case("In", &["a", "b"], &[("k", "c")], false)]
    #[case("In", &["a"], &[], false)]
    #[case("NotIn", &["a"], &[("k", "a")], false)]
    #[case("NotIn", &["a"], &[("k", "b")], true)]
    #[case("NotIn", &["a"], &[], true)]
    #[case("Exists", &[], &[("k", "")], true)]
    #[case("Exists", &[], &[], false)]
    #[case("DoesNotExist", &[], &[("k", "a")], false)]
    #[case("DoesNotExist", &[], &[], true)]
    fn operators_mean_what_kubernetes_says(
        #[case] operator: &str,
        #[case] values: &[&str],
        #[case] pairs: &[(&str, &str)],
        #[case] matches: bool,
    ) {
        let selector = Selector::parse(&selector(vec![expression("k", operator, values)])).unwrap();
        assert_eq!(selector.matches(&labels(pairs)), matches);
    }

    #[rstest]
    #[case("k", "In", &[])]
    #[case("k", "NotIn", &[])]
    #[case("k", "Exists", &["a"])]
    #[case("k", "DoesNotExist", &["a"])]
    #[case("k", "in", &["a"])]
    #[case("k", "Gt", &["1"])]
    #[case("", "Exists", &[])]
    #[case("-k", "Exists", &[])]
    #[case("a/b/c", "Exists", &[])]
    #[case("UPPER.example/k", "Exists", &[])]
    #[case("k", "In", &["not valid"])]
    #[case("k", "In", &["a", "a"])] // S-rules: duplicate value
    fn what_kubernetes_refuses_is_refused(#[case] key: &str, #[case] operator: &str, #[case] values: &[&str]) {
        assert!(Selector::parse(&selector(vec![expression(key, operator, values)])).is_err());
    }

    #[test]
    fn a_duplicate_expression_is_refused_whatever_the_order_of_its_values() {
        let twice = selector(vec![
            expression("k", "In", &["a", "b"]),
            expression("k", "In", &["b", "a"]),
        ]);
        assert_eq!(
            Selector::parse(&twice),
            Err(SelectorError::DuplicateExpression("k".to_owned()))
        );
        assert!(Selector::parse_lenient(&twice).is_ok());
    }

    #[test]
    fn terms_are_anded_and_the_empty_selector_matches_all() {
        let mut both = selector(vec![expression("tier", "Exists", &[])]);
        both.match_labels = Some(labels(&[("app", "web")]));
        let both = Selector::parse(&both).unwrap();
        assert!(both.matches(&labels(&[("app", "web"), ("tier", "x")])));
        assert!(!both.matches(&labels(&[("app", "web")])));
        assert!(Selector::default().matches(&labels(&[])));
    }
}
