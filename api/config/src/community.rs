//! BGP communities: literals and aliases.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use kube::ResourceExt;
use thiserror::Error;

use crate::context::Context;
use crate::error::{Findings, ObjectRef};
use crate::model::Community;
use crate::rule::Rule;

/// Why a text is no community.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommunityError {
    /// Wrong number of parts: treated as the name of an alias.
    #[error("invalid community format: {0}")]
    Format(String),
    /// A part is no number of the right size.
    #[error("invalid community value: invalid section \"{section}\" of community \"{text}\"")]
    Section {
        /// The part.
        section: String,
        /// The whole text.
        text: String,
    },
    /// Four parts of which the first is not `large`.
    #[error("invalid community value: expected community to be of format large, but got \"{0}\"")]
    Marker(String),
}

impl Community {
    /// Understands `a:b` (16-bit decimals) and `large:a:b:c` (32-bit decimals).
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, CommunityError> {
        let parts: Vec<&str> = text.split(':').collect();
        match *parts.as_slice() {
            [high, low] => {
                let high: u16 = section(high, text)?;
                let low: u16 = section(low, text)?;
                Ok(Self::Standard(u32::from(high) << 16 | u32::from(low)))
            }
            ["large", global, data1, data2] => Ok(Self::Large {
                global: section(global, text)?,
                data1: section(data1, text)?,
                data2: section(data2, text)?,
            }),
            [marker, _, _, _] => Err(CommunityError::Marker(marker.to_owned())),
            _ => Err(CommunityError::Format(text.to_owned())),
        }
    }

    /// The numbers by which communities are ordered; a standard one counts as `value:0:0`.
    fn rank(&self) -> (u32, u32, u32, bool) {
        match *self {
            Self::Standard(value) => (value, 0, 0, false),
            Self::Large { global, data1, data2 } => (global, data1, data2, true),
        }
    }
}

fn section<T: std::str::FromStr>(part: &str, text: &str) -> Result<T, CommunityError> {
    let error = || CommunityError::Section {
        section: part.to_owned(),
        text: text.to_owned(),
    };
    if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error()); // Rust's parser would take a plus sign
    }
    part.parse().map_err(|_| error())
}

/// The aliases of all Community objects.
#[derive(Debug, Default)]
pub(crate) struct Aliases(BTreeMap<String, Community>);

impl Aliases {
    /// Parses all Community objects, from the oldest to the newest.
    ///
    /// A bad alias is left out alone: the others of its object stay, because advertisements hang on them.
    pub(crate) fn parse(context: &Context<'_>, findings: &mut Findings) -> Self {
        const KIND: &str = "Community";
        let mut objects: Vec<_> = context.objects.ours(|all| &all.communities).collect();
        objects.sort_by_cached_key(|object| context.objects.age(*object, KIND));
        let mut owners: BTreeMap<&str, ObjectRef> = BTreeMap::new();
        let mut aliases = Self::default();
        for object in objects {
            let reference = ObjectRef::new(KIND, &object.name_any());
            for (place, alias) in object.spec.communities.iter().enumerate() {
                let field = |name: &str| format!("spec.communities[{place}].{name}");
                if let Some(owner) = owners.get(alias.name.as_str()) {
                    let reason = format!(
                        "duplicate definition of community \"{}\", already defined by {owner}",
                        alias.name
                    );
                    let involves = (*owner != reference).then(|| owner.clone());
                    findings.refuse_with(Rule::C2, &reference, field("name"), reason, involves);
                    continue;
                }
                let mark = findings.refused.len();
                findings.refuse_control_characters(&reference, field("name"), &alias.name);
                if findings.since(mark) {
                    continue;
                }
                owners.insert(&alias.name, reference.clone());
                warn_of_odd_name(&alias.name, &reference, field("name"), findings);
                match Community::parse(&alias.value) {
                    Ok(community) => {
                        aliases.0.insert(alias.name.clone(), community);
                    }
                    Err(error) => {
                        findings.refuse(
                            Rule::C1,
                            &reference,
                            field("value"),
                            format!("{error}, for alias \"{}\"", alias.name),
                        );
                    }
                }
            }
        }
        aliases
    }

    /// Resolves an alias, or else a literal.
    pub(crate) fn resolve(&self, text: &str) -> Result<Community, CommunityError> {
        self.0
            .get(text)
            .map_or_else(|| Community::parse(text), |community| Ok(*community))
    }
}

/// Upstream: takes any name (W-21). Objects with odd ones exist, so they are warned of only.
fn warn_of_odd_name(name: &str, object: &ObjectRef, field: String, findings: &mut Findings) {
    if name.is_empty() {
        findings.warn(Rule::W21, object, field, "an alias without name cannot be used");
    } else if name.contains(':') {
        let reason = format!("the alias \"{name}\" reads like a community, and takes its place wherever it is used");
        findings.warn(Rule::W21, object, field, reason);
    }
}

impl Ord for Community {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Community {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
            Self::Large { global, data1, data2 } => write!(f, "large:{global}:{data1}:{data2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest] // grammar of C-1
    #[case("64500:7", Community::Standard(64500 << 16 | 7))]
    #[case("0:0", Community::Standard(0))]
    #[case("065000:0001", Community::Standard(65000 << 16 | 1))]
    #[case("large:4294967295:0:7", Community::Large { global: u32::MAX, data1: 0, data2: 7 })]
    fn literals_are_understood(#[case] text: &str, #[case] community: Community) {
        assert_eq!(Community::parse(text), Ok(community));
    }

    #[rstest]
    #[case("65536:1", "invalid community value: invalid section")]
    #[case("a:1", "invalid community value: invalid section")]
    #[case("+1:1", "invalid community value: invalid section")]
    #[case(":", "invalid community value: invalid section")]
    #[case("0x10:1", "invalid community value: invalid section")]
    #[case("large:1:2:4294967296", "invalid community value: invalid section")]
    #[case("Large:1:2:3", "expected community to be of format large")]
    #[case("1:2:3:4", "expected community to be of format large")]
    #[case("no-export", "invalid community format: no-export")]
    #[case("1:2:3", "invalid community format: 1:2:3")]
    #[case("", "invalid community format: ")]
    fn anything_else_is_refused_with_upstreams_words(#[case] text: &str, #[case] words: &str) {
        let error = Community::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_standard_community_sorts_as_value_0_0() {
        let large = |global, data1| Community::Large {
            global,
            data1,
            data2: 0,
        };
        let mut list = [large(2, 0), Community::Standard(2), large(1, 9), Community::Standard(1)];
        list.sort();
        assert_eq!(
            list,
            [Community::Standard(1), large(1, 9), Community::Standard(2), large(2, 0)]
        );
    }

    proptest! {
        #[test]
        fn parsing_what_was_printed_changes_nothing(standard in any::<u32>(), large in any::<(u32, u32, u32)>()) {
            let large = Community::Large { global: large.0, data1: large.1, data2: large.2 };
            for community in [Community::Standard(standard), large] {
                prop_assert_eq!(Community::parse(&community.to_string()), Ok(community));
            }
        }
    }
}
