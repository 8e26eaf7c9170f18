//! What each [`Rule`] means, with an example that breaks it and a twin that does not.
//!
//! `docs/validation.md` is written from this table, and a test sends every example through schema, admission and
//! parser: a rule that is documented is a rule that is enforced.

mod advertisements;
mod document;
mod elsewhere;
mod operator;
mod peers;
mod pools;

pub use metallb_config::Rule;

use metallb_config::Backend;

pub use document::document;
pub use elsewhere::ELSEWHERE;

/// When an object is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// By the API server itself, with schema and CEL of the CustomResourceDefinition.
    Schema,
    /// By the webhooks, when it is created or changed.
    Admission,
    /// By the webhooks, when it is deleted.
    Deletion,
    /// By controller and speaker, when they read it.
    Load,
}

/// What comes of breaking a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// The object is refused, or left out of the configuration.
    Refused,
    /// The object is accepted with a warning.
    Warned,
}

/// An object of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its spec, or its body if that begins with `{metadata` or `{spec`, as YAML on one line.
    ///
    /// A BGPPeer shows what differs from [`PEER`].
    pub text: &'static str,
}

/// What the examples of BGPPeers leave out.
pub const PEER: &str = "{myASN: 64500, peerASN: 64501, peerAddress: 10.0.0.1}";

/// The name of the object that an example is about.
pub const NAME: &str = "new";

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub rule: Rule,
    /// The kinds that it holds for; the first is that of the example.
    pub kinds: &'static [&'static str],
    /// The back-ends that it holds for.
    pub backends: &'static [Backend],
    /// When it is looked at, and what then; empty if upstream has the rule and we do not.
    pub at: &'static [(Stage, Effect)],
    /// What is wrong, in a sentence without a subject.
    pub meaning: &'static str,
    /// The objects that exist already in the example.
    pub beside: &'static [Object],
    /// What the object is changed from, if it is about a change.
    pub before: Option<&'static str>,
    /// The text of an object that breaks the rule.
    pub bad: &'static str,
    /// The text of one that does not.
    pub good: &'static str,
    /// A part of the message of parser and webhooks.
    pub words: &'static str,
}

/// All rules in the order of the document.
#[must_use]
pub fn all() -> Vec<&'static Entry> {
    [pools::RULES, advertisements::RULES, peers::RULES, operator::RULES].concat()
}

const EVERY_BACKEND: &[Backend] = &[Backend::Native, Backend::Frr, Backend::FrrK8s];
const FRR_MODES: &[Backend] = &[Backend::Frr, Backend::FrrK8s];
const NATIVE: &[Backend] = &[Backend::Native];

const EVERYWHERE: &[(Stage, Effect)] = &[
    (Stage::Schema, Effect::Refused),
    (Stage::Admission, Effect::Refused),
    (Stage::Load, Effect::Refused),
];
const PARSED: &[(Stage, Effect)] = &[(Stage::Admission, Effect::Refused), (Stage::Load, Effect::Refused)];
/// Refused from now on; objects that exist already keep working.
const NEWLY: &[(Stage, Effect)] = &[(Stage::Admission, Effect::Refused), (Stage::Load, Effect::Warned)];
/// Objects may be created in any order, but what is missing cannot be used.
const REFERENCE: &[(Stage, Effect)] = &[(Stage::Admission, Effect::Warned), (Stage::Load, Effect::Refused)];
const ADMITTED: &[(Stage, Effect)] = &[(Stage::Admission, Effect::Refused)];
const WARNED: &[(Stage, Effect)] = &[(Stage::Admission, Effect::Warned)];
const STRANDED: &[(Stage, Effect)] = &[(Stage::Deletion, Effect::Warned)];
const GONE: &[(Stage, Effect)] = &[];

/// A rule of every back-end that admission and parser enforce on objects standing alone.
const fn entry(
    rule: Rule,
    kinds: &'static [&'static str],
    meaning: &'static str,
    bad: &'static str,
    good: &'static str,
    words: &'static str,
) -> Entry {
    Entry {
        rule,
        kinds,
        backends: EVERY_BACKEND,
        at: PARSED,
        meaning,
        beside: &[],
        before: None,
        bad,
        good,
        words,
    }
}

const fn object(kind: &'static str, name: &'static str, text: &'static str) -> Object {
    Object { kind, name, text }
}

const ADDRESS_POOL: &str = "AddressPool";
const BFD_PROFILE: &str = "BFDProfile";
const BGP_ADVERTISEMENT: &str = "BGPAdvertisement";
const BGP_PEER: &str = "BGPPeer";
const COMMUNITY: &str = "Community";
const IP_ADDRESS_POOL: &str = "IPAddressPool";
const L2_ADVERTISEMENT: &str = "L2Advertisement";
const METALLB: &str = "MetalLB";
