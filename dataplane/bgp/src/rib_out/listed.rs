//! Listing of the table, for inspection.

use std::{
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use ipnet::IpNet;

use super::{Entry, RibOut};
use crate::Attributes;

/// What is known of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The prefix.
    pub prefix: IpNet,
    /// What the peer should know of it.
    pub desired: Option<Arc<Attributes>>,
    /// What it was told.
    pub advertised: Option<Arc<Attributes>>,
    /// Whether its attributes fit no message.
    pub oversized: bool,
}

impl RibOut {
    /// Lists the prefixes behind `after` in their order, or all; looking at a part of them does not look at the others.
    pub fn listed(&self, after: Option<IpNet>) -> impl Iterator<Item = Listed> + '_ {
        let from = after.map_or(Unbounded, Excluded);
        let entries = self.entries.range((from, Unbounded));
        entries.map(|(prefix, entry)| self.describe(*prefix, entry))
    }

    /// Returns what is known of one prefix, if anything.
    pub fn listed_at(&self, prefix: IpNet) -> Option<Listed> {
        Some(self.describe(prefix, self.entries.get(&prefix)?))
    }

    fn describe(&self, prefix: IpNet, entry: &Entry) -> Listed {
        Listed {
            prefix,
            desired: entry.desired.clone(),
            advertised: entry.advertised.clone(),
            oversized: self.oversized.contains(&prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_and_miss_nothing() {
        let mut rib = RibOut::default();
        let prefix = |n: u8| -> IpNet { format!("192.0.2.{n}/32").parse().unwrap() };
        for n in [9, 3, 7, 1, 5] {
            rib.change(prefix(n), Some(Arc::default()));
        }
        let (mut seen, mut after) = (Vec::<IpNet>::new(), None);
        while let Some(last) = {
            let page: Vec<_> = rib.listed(after).take(2).map(|listed| listed.prefix).collect();
            seen.extend(&page);
            page.last().copied()
        } {
            after = Some(last);
        }
        assert_eq!(seen, [1, 3, 5, 7, 9].map(prefix));
        let one = rib.listed_at(prefix(3)).unwrap();
        assert_eq!(
            (one.desired.is_some(), one.advertised, one.oversized),
            (true, None, false)
        );
        assert_eq!(rib.listed_at(prefix(2)), None);
    }
}
