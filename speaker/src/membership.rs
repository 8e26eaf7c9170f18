//! Who the other speakers are, and what they and this one say of themselves.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use metallb_dataplane::l2::L2Handle;
use metallb_dataplane::members::{self, MembersHandle, Metadata};
use metallb_engine::{Event, Failback, Interface, Mac, Member, Tenure, TenureConfig};
use metallb_runtime::tasks::until;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::args::FailbackOptions;

type Said = BTreeMap<String, Option<Metadata>>;
type Macs = watch::Receiver<BTreeMap<String, metallb_dataplane::l2::EthernetAddress>>;

/// The membership as the engine hears of it, once it can be trusted, and what it hears of this node.
pub(crate) struct Membership {
    node: String,
    handle: Option<MembersHandle>,
    said: Option<watch::Receiver<Said>>,
    settled: Option<watch::Receiver<bool>>,
    macs: Macs,
    tenure: Tenure,
    own: Member,
}

/// What there is to tell the engine.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) events: Vec<Event>,
    /// A member that was cut off has returned.
    pub(crate) returned: bool,
}

/// What happened.
enum Happened {
    Members,
    Settled,
    Returned,
    Links,
    Time,
}

impl Membership {
    pub(crate) fn new(node: &str, config: TenureConfig, handle: Option<MembersHandle>, l2: &L2Handle) -> Self {
        let tenure = Tenure::new(config, Instant::now().into_std());
        Self {
            node: node.to_owned(),
            said: handle.as_ref().map(MembersHandle::members),
            settled: handle.as_ref().map(MembersHandle::settled),
            handle,
            macs: l2.hardware_addresses(),
            own: tenure.member(),
            tenure,
        }
    }

    /// The running membership, if it is on.
    pub(crate) fn handle(&self) -> Option<&MembersHandle> {
        self.handle.as_ref()
    }

    /// Waits for something that counts, forever without membership. Cancel-safe.
    pub(crate) async fn next(&mut self) -> News {
        let happened = self.happens().await;
        let now = Instant::now().into_std();
        let mut news = News::default();
        match happened {
            Happened::Members => {}
            Happened::Settled => self.settle(now),
            Happened::Returned => news.returned = true,
            Happened::Links => self.use_links(),
            Happened::Time => self.tenure.tick(now),
        }
        let changed = self.publish();
        if changed || matches!(happened, Happened::Members | Happened::Settled | Happened::Returned) {
            news.events = self.events();
        }
        news
    }

    async fn happens(&mut self) -> Happened {
        let (Some(handle), Some(said), Some(settled)) = (&self.handle, &mut self.said, &mut self.settled) else {
            return std::future::pending().await;
        };
        let deadline = self.tenure.next_deadline();
        tokio::select! {
            Ok(()) = said.changed() => Happened::Members,
            Ok(()) = settled.changed() => Happened::Settled,
            () = handle.returned() => Happened::Returned,
            Ok(()) = self.macs.changed() => Happened::Links,
            () = until(deadline) => Happened::Time,
            // The end of the membership is seen elsewhere.
            else => std::future::pending().await,
        }
    }

    /// To be asked after each decision: whether this node says something else of itself since it may own addresses, or
    /// may not.
    pub(crate) fn review(&mut self, may_own: bool) -> Vec<Event> {
        self.tenure.set_barred(Instant::now().into_std(), !may_own);
        self.told()
    }

    /// Whether this node says something else of itself since its interfaces have changed.
    pub(crate) fn links(&mut self) -> Vec<Event> {
        self.use_links();
        self.told()
    }

    fn told(&mut self) -> Vec<Event> {
        if self.publish() { self.events() } else { Vec::new() }
    }

    fn use_links(&mut self) {
        let macs = self.macs.borrow_and_update().clone();
        let macs = macs.into_iter().map(|(name, mac)| (name, Mac(mac.0))).collect();
        self.tenure.set_links(Instant::now().into_std(), macs);
    }

    fn settle(&mut self, now: std::time::Instant) {
        if !self.is_settled() {
            return;
        }
        let said = self.said.as_ref().map(|said| said.borrow().clone()).unwrap_or_default();
        let others = said.into_iter().filter(|(name, _)| *name != self.node);
        let others: Vec<Option<Member>> = others.map(|(_, said)| said.map(member)).collect();
        self.tenure.settle(now, others.iter().map(Option::as_ref));
    }

    fn is_settled(&self) -> bool {
        self.settled.as_ref().is_some_and(|settled| *settled.borrow())
    }

    /// Tells the others what this node says of itself, if that has changed.
    fn publish(&mut self) -> bool {
        let own = self.tenure.member();
        if own == self.own {
            return false;
        }
        if let Some(handle) = &self.handle {
            handle.set_metadata(metadata(&own));
        }
        self.own = own;
        true
    }

    /// Members and what they say come together: a member that says nothing is one of upstream's.
    fn events(&mut self) -> Vec<Event> {
        let settled = self.is_settled();
        let Some(said) = self.said.as_mut().filter(|_| settled) else {
            return Vec::new();
        };
        let said = said.borrow_and_update().clone();
        let names = said.keys().cloned().collect();
        let mut members: BTreeMap<_, _> = said.into_iter().map(|(name, said)| (name, said.map(member))).collect();
        // The membership may not know yet.
        members.insert(self.node.clone(), Some(self.own.clone()));
        vec![Event::Members(names), Event::Said(members)]
    }
}

/// What this node says of itself at its start.
pub(crate) fn first_metadata(config: TenureConfig) -> Metadata {
    metadata(&Tenure::new(config, Instant::now().into_std()).member())
}

/// How long this node has been here, as told to others.
pub(crate) fn tenure(options: FailbackOptions) -> TenureConfig {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TenureConfig {
        failback: options.failback,
        delay: options.delay,
        boot: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    }
}

fn metadata(member: &Member) -> Metadata {
    let interface = |(name, interface): (&String, &Interface)| {
        let told = members::Interface {
            mac: interface.mac.0,
            lately: interface.lately,
        };
        (name.clone(), told)
    };
    Metadata {
        boot: member.boot,
        failback: match member.failback {
            Failback::Immediate => members::Failback::Immediate,
            Failback::Delayed => members::Failback::Delayed,
            Failback::Never => members::Failback::Never,
        },
        newcomer: member.newcomer,
        starting: member.starting,
        interfaces: member.interfaces.iter().map(interface).collect(),
        more: member.more,
    }
}

fn member(said: Metadata) -> Member {
    let interface = |(name, told): (String, members::Interface)| {
        let interface = Interface {
            mac: Mac(told.mac),
            lately: told.lately,
        };
        (name, interface)
    };
    Member {
        boot: said.boot,
        interfaces: said.interfaces.into_iter().map(interface).collect(),
        more: said.more,
        newcomer: said.newcomer,
        starting: said.starting,
        failback: match said.failback {
            members::Failback::Immediate => Failback::Immediate,
            members::Failback::Delayed => Failback::Delayed,
            members::Failback::Never => Failback::Never,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_lost_between_the_engine_and_the_membership() {
        for failback in [Failback::Immediate, Failback::Delayed, Failback::Never] {
            let interface = Interface {
                mac: Mac([1, 2, 3, 4, 5, 6]),
                lately: true,
            };
            let all = Member {
                boot: 7,
                interfaces: [("eth0".to_owned(), interface)].into(),
                more: true,
                newcomer: true,
                starting: true,
                failback,
            };
            assert_eq!(member(metadata(&all)), all);
        }
    }

    #[test]
    fn a_node_starts_as_one_that_owns_nothing_yet_if_failback_is_delayed() {
        let options = |failback| FailbackOptions {
            failback,
            delay: Duration::from_secs(60),
        };
        assert!(first_metadata(tenure(options(Failback::Delayed))).starting);
        assert!(!first_metadata(tenure(options(Failback::Immediate))).starting);
    }
}
