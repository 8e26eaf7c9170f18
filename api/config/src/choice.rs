//! Which pools an advertisement names.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::context::Context;
use crate::error::{Findings, ObjectRef};
use crate::model::PoolKind;
use crate::pool::{Candidate, duplicates};
use crate::rule::Rule;
use crate::selector::{self, Selector};

/// Which IPAddressPools an advertisement names.
#[derive(Debug, Default)]
pub(crate) struct PoolChoice {
    names: BTreeSet<String>,
    selectors: Vec<Selector>,
}

impl PoolChoice {
    pub(crate) fn parse(
        object: &ObjectRef,
        names: &[String],
        selectors: &[LabelSelector],
        (context, pools): (&Context<'_>, &[Candidate<'_>]),
        findings: &mut Findings,
    ) -> Self {
        let rule = if object.kind == "L2Advertisement" {
            Rule::L1
        } else {
            Rule::A6
        };
        refuse_duplicates(rule, object, "ipAddressPools", names, findings);
        context.check_names(object, "spec.ipAddressPools", names, findings);
        for (place, name) in names.iter().enumerate() {
            if find(pools, name, PoolKind::IpAddressPool).is_none() {
                let reason = format!("there is no usable IPAddressPool \"{name}\"");
                findings.warn(Rule::W12, object, format!("spec.ipAddressPools[{place}]"), reason);
            }
        }
        let choice = Self {
            names: names.iter().cloned().collect(),
            selectors: selector::parse_list(object, "spec.ipAddressPoolSelectors", selectors, findings),
        };
        if names.is_empty() && !pools.iter().any(|pool| choice.takes(pool)) {
            let reason = "no IPAddressPool is selected, so nothing is advertised";
            findings.warn(Rule::W12, object, "spec.ipAddressPoolSelectors", reason);
        }
        choice
    }

    /// Legacy pools are never chosen: they bring their own advertisements.
    pub(crate) fn takes(&self, candidate: &Candidate<'_>) -> bool {
        candidate.pool.kind == PoolKind::IpAddressPool
            && ((self.names.is_empty() && self.selectors.is_empty())
                || self.names.contains(&candidate.pool.name)
                || self.selectors.iter().any(|selector| selector.matches(candidate.labels)))
    }
}

pub(crate) fn refuse_duplicates(rule: Rule, object: &ObjectRef, field: &str, list: &[String], findings: &mut Findings) {
    for name in duplicates(list) {
        findings.refuse(
            rule,
            object,
            format!("spec.{field}"),
            format!("duplicate definition of {field} \"{name}\""),
        );
    }
}

/// Finds a pool in the list, which is sorted by name.
pub(crate) fn find(pools: &[Candidate<'_>], name: &str, kind: PoolKind) -> Option<usize> {
    let place = pools
        .binary_search_by(|candidate| candidate.pool.name.as_str().cmp(name))
        .ok()?;
    (pools[place].pool.kind == kind).then_some(place)
}
