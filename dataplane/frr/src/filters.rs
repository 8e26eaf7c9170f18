//! Prefix lists and route-maps: which prefixes are announced to a neighbour, with which attributes.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::{
    Text,
    lines::line,
    routers::{Id, Told},
    sequence,
};

/// An address family, in FRR's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn of(prefix: IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    fn ip(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ipv6",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// A prefix list, and the attribute that its prefixes get.
struct List<'a> {
    family: Family,
    set: String,
    prefixes: Vec<&'a IpNet>,
}

/// Lists by name, which is the order in which they are written.
type Lists<'a> = BTreeMap<String, List<'a>>;

/// Writes the filters of a neighbour. Nothing is accepted from it unless the user's own lines say so.
pub(crate) fn write(text: &mut Text, id: &Id<'_>, told: &Told) {
    line!(text, "route-map {id}-in deny 20");
    let mut entry = 0;
    for lists in [preferences(id, told), communities(id, told)] {
        for (name, list) in lists {
            entry += 1;
            let ip = list.family.ip();
            permit(text, list.family, &name, list.prefixes.into_iter().copied());
            line!(text, "route-map {id}-out permit {entry}");
            line!(text, "  match {ip} address prefix-list {name}");
            line!(text, "  {}", list.set);
            line!(text, "  on-match next");
        }
    }
    for family in Family::BOTH {
        allowed(text, id, family, told);
    }
    for family in Family::BOTH {
        entry += 1;
        let (ip, name) = (family.ip(), family.name());
        line!(text, "route-map {id}-out permit {entry}");
        line!(text, "  match {ip} address prefix-list {id}-allowed-{name}");
    }
}

fn preferences<'a>(id: &Id<'_>, told: &'a Told) -> Lists<'a> {
    let mut lists = Lists::new();
    for (prefix, attributes) in told.iter().filter(|(_, attributes)| attributes.local_pref != 0) {
        let (family, value) = (Family::of(*prefix), attributes.local_pref);
        let name = format!("{id}-{value}-{}-localpref-prefixes", family.ip());
        add(&mut lists, name, family, prefix, || {
            format!("set local-preference {value}")
        });
    }
    lists
}

fn communities<'a>(id: &Id<'_>, told: &'a Told) -> Lists<'a> {
    let mut lists = Lists::new();
    for (prefix, attributes) in told {
        let family = Family::of(*prefix);
        for community in &attributes.communities {
            let name = format!("{id}-{community}-{}-community-prefixes", family.ip());
            add(&mut lists, name, family, prefix, || community.set());
        }
    }
    lists
}

fn add<'a>(lists: &mut Lists<'a>, name: String, family: Family, prefix: &'a IpNet, set: impl FnOnce() -> String) {
    let list = lists.entry(name).or_insert_with(|| List {
        family,
        set: set(),
        prefixes: Vec::new(),
    });
    list.prefixes.push(prefix);
}

fn allowed(text: &mut Text, id: &Id<'_>, family: Family, told: &Told) {
    let (ip, name) = (family.ip(), format!("{id}-allowed-{}", family.name()));
    let prefixes = told.iter().map(|(prefix, _)| *prefix);
    let mut prefixes = prefixes.filter(|prefix| Family::of(*prefix) == family).peekable();
    if prefixes.peek().is_none() {
        line!(text, "{ip} prefix-list {name} seq 1 deny any");
    }
    permit(text, family, &name, prefixes);
}

fn permit(text: &mut Text, family: Family, name: &str, prefixes: impl Iterator<Item = IpNet>) {
    let ip = family.ip();
    for (number, prefix) in sequence::numbers(prefixes) {
        line!(text, "{ip} prefix-list {name} seq {number} permit {prefix}");
    }
}
