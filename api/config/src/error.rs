//! What was refused, where and why.

use std::fmt;

use crate::rule::Rule;

/// Names an object of MetalLB's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Kind, `IPAddressPool` for instance.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// Names an object.
    #[must_use]
    pub fn new(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// An object, or a part of one, that is left out of the configuration, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// The object at fault; of two that exclude each other, the newer.
    pub object: ObjectRef,
    /// Path of the field, `spec.addresses[0]` for instance.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// The rule that it is wrong by.
    pub rule: Rule,
    /// The whole in the words of upstream that others compare, object and all.
    pub verbatim: Option<String>,
    /// The other objects that take part.
    pub involves: Vec<ObjectRef>,
}

impl Refused {
    /// Tells whether the object is at fault or takes part.
    #[must_use]
    pub fn concerns(&self, object: &ObjectRef) -> bool {
        self.object == *object || self.involves.contains(object)
    }

    /// The text for the summary of a ConfigurationState, without the leading `configuration error: `.
    #[must_use]
    pub fn summary(&self) -> String {
        self.verbatim.clone().unwrap_or_else(|| self.to_string())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.reason)?;
        let unnamed: Vec<_> = self
            .involves
            .iter()
            .filter(|other| !self.reason.contains(&other.name))
            .map(ToString::to_string)
            .collect();
        if unnamed.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", unnamed.join(", "))
        }
    }
}

/// Something that is accepted although it can hardly be meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The object.
    pub object: ObjectRef,
    /// Path of the field.
    pub field: String,
    /// What is odd.
    pub reason: String,
    /// The rule that it is odd by.
    pub rule: Rule,
}

impl Warning {
    /// Tells whether an object that is in use does something else than it says, or nothing at all: for a name that leads
    /// nowhere, selectors that select nothing, a field without effect, or a rule that it breaks since it was admitted.
    ///
    /// That belongs in the status of whoever uses the object. The rest is advice, to be given once, on admission.
    #[must_use]
    pub fn is_doubt(&self) -> bool {
        // Odd ranges are in use as they are written.
        self.rule != Rule::W18
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.reason)
    }
}

/// Collects what parsing finds.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) refused: Vec<Refused>,
    pub(crate) warnings: Vec<Warning>,
}

#[allow(clippy::needless_pass_by_value, reason = "callers hand over fresh texts and errors")]
impl Findings {
    pub(crate) fn refuse(&mut self, rule: Rule, object: &ObjectRef, field: impl Into<String>, reason: impl ToString) {
        self.refuse_with(rule, object, field, reason, []);
    }

    pub(crate) fn refuse_with(
        &mut self,
        rule: Rule,
        object: &ObjectRef,
        field: impl Into<String>,
        reason: impl ToString,
        involves: impl IntoIterator<Item = ObjectRef>,
    ) {
        self.refused.push(Refused {
            object: object.clone(),
            field: field.into(),
            reason: reason.to_string(),
            rule,
            verbatim: None,
            involves: involves.into_iter().collect(),
        });
    }

    /// Has the last refusal summed up in the words of upstream.
    pub(crate) fn in_upstreams_words(&mut self, words: String) {
        if let Some(last) = self.refused.last_mut() {
            last.verbatim = Some(words);
        }
    }

    /// Refuses in the words of upstream.
    pub(crate) fn refuse_verbatim(&mut self, rule: Rule, object: &ObjectRef, field: impl Into<String>, reason: String) {
        self.refuse(rule, object, field, &reason);
        self.in_upstreams_words(reason);
    }

    /// Refuses a text that would break lines wherever it is printed; the reason shows it escaped.
    pub(crate) fn refuse_control_characters(&mut self, object: &ObjectRef, field: impl Into<String>, text: &str) {
        if text.contains(char::is_control) {
            let reason = format!("{text:?} must not contain control characters");
            self.refuse(Rule::M3, object, field, reason);
        }
    }

    /// The same of a list.
    pub(crate) fn refuse_control_characters_in(&mut self, object: &ObjectRef, field: &str, list: &[String]) {
        for (place, text) in list.iter().enumerate() {
            self.refuse_control_characters(object, format!("{field}[{place}]"), text);
        }
    }

    pub(crate) fn warn(&mut self, rule: Rule, object: &ObjectRef, field: impl Into<String>, reason: impl ToString) {
        self.warnings.push(Warning {
            object: object.clone(),
            field: field.into(),
            reason: reason.to_string(),
            rule,
        });
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.refused.extend(other.refused);
        self.warnings.extend(other.warnings);
    }

    /// Tells whether anything has been refused since there were `mark` refusals.
    pub(crate) fn since(&self, mark: usize) -> bool {
        self.refused.len() > mark
    }
}
