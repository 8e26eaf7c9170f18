//! What a change of pools means to Services.

use super::*;

#[test]
fn a_change_of_pools_concerns_only_who_is_in_them() {
    // CTL-49
    let pools = accepted(&[("p", "1.2.3.0/32"), ("q", "2.2.3.0/32")]);
    let a = with_ip(service("a"), "1.2.3.0", "p");
    let b = with_ip(service("b"), "2.2.3.0", "q");
    let mut engine = start("", Arc::clone(&pools), &[a, b]);
    assert!(
        !engine
            .handle(at(0), Event::Pools(pools))
            .iter()
            .any(|action| matches!(action, Action::Enqueue(_)))
    );
    let actions = engine.handle(
        at(0),
        Event::Pools(accepted(&[("p", "1.2.3.0/32"), ("r", "2.2.3.0/32")])),
    );
    let due: Vec<_> = actions
        .iter()
        .filter(|action| matches!(action, Action::Enqueue(_)))
        .collect();
    assert_eq!(due, [&Action::Enqueue(Key::new("default", "b"))]);
    let counters = engine.take_counters();
    assert!(counters["q"].is_none() && counters["r"].unwrap().in_use() == 1);
}

#[test]
fn services_of_a_pool_that_cannot_be_read_are_left_alone() {
    // CTL-30
    let pools = Arc::new(Accepted {
        unusable: BTreeSet::from(["bad".to_owned()]),
        ..(*accepted(&[("p", "1.2.3.0/30")])).clone()
    });
    let held = with_ip(service("a"), "9.9.9.9", "bad");
    let mut engine = start("", pools, std::slice::from_ref(&held));
    assert!(look(&mut engine, &held).is_empty());
    engine.handle(
        at(0),
        Event::Pools(accepted(&[("p", "1.2.3.0/30"), ("bad", "9.9.9.0/24")])),
    );
    assert_eq!(write(&look(&mut engine, &held)), None);
    assert_eq!(engine.counters("bad").unwrap().in_use(), 1);
}

#[test]
fn a_pool_that_can_be_read_again_takes_its_services_in_before_it_gives_an_address() {
    let pools = Arc::new(Accepted {
        unusable: BTreeSet::from(["bad".to_owned()]),
        ..Accepted::default()
    });
    let held = with_ip(service("held"), "9.9.9.0", "bad");
    let mut engine = start("", pools, std::slice::from_ref(&held));
    let actions = engine.handle(at(0), Event::Pools(accepted(&[("bad", "9.9.9.0/30")])));
    assert!(actions.contains(&Action::Enqueue(Key::new("default", "held"))));
    assert_eq!(ips(write(&look(&mut engine, &service("new"))).unwrap()), ["9.9.9.1"]);
    assert_eq!(write(&look(&mut engine, &held)), None);
}

#[test]
fn who_waits_is_told_what_pools_say_now() {
    // CTL-125
    let holder = with_ip(service("holder"), "1.2.3.0", "p");
    let mut engine = start("", accepted(&[("p", "1.2.3.0/32")]), std::slice::from_ref(&holder));
    let waits = write(&look(&mut engine, &service("waits"))).unwrap().clone();
    let more = accepted(&[("p", "1.2.3.0/32"), ("six", "fc00::/120")]);
    let due = |engine: &mut Engine, pools: &Arc<Accepted>| {
        let actions = engine.handle(at(0), Event::Pools(Arc::clone(pools)));
        actions.contains(&Action::Enqueue(Key::new("default", "waits")))
    };
    assert!(due(&mut engine, &more));
    let actions = look(&mut engine, &waits);
    let text = "no available IPs: pool p: all IPv4 addresses are in use; pool six: it has no IPv4 addresses";
    let told = write(&actions).unwrap();
    assert_eq!(own_condition(told).unwrap().message, text);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Tell { message, .. } if message.ends_with(text)))
    );
    // Nothing has changed: nothing is looked at, and whoever looks writes and says nothing.
    assert!(!due(&mut engine, &more));
    assert!(
        look(&mut engine, &told.clone())
            .iter()
            .all(|action| *action == Action::Failed("NoAvailableAddresses"))
    );
}

#[test]
fn a_request_that_cannot_be_understood_is_told_so_once_there_are_pools() {
    // CTL-53
    let mut engine = start("", accepted(&[]), &[]);
    let garbage = wanting(service("a"), "garbage");
    let waits = write(&look(&mut engine, &garbage)).unwrap().clone();
    assert_eq!(own_condition(&waits).unwrap().reason, "NoPools");
    let actions = engine.handle(at(0), Event::Pools(accepted(&[("p", "1.2.3.0/32")])));
    assert!(actions.contains(&Action::Enqueue(Key::new("default", "a"))));
    let told = write(&look(&mut engine, &waits)).unwrap().clone();
    assert_eq!(own_condition(&told).unwrap().reason, "InvalidRequest");
}

#[test]
fn an_address_taken_and_given_back_by_edits_stays_with_who_shows_it() {
    let pools = accepted(&[("p", "1.2.3.0/30")]);
    let held = with_ip(service("held"), "1.2.3.0", "p");
    let mut engine = start("", Arc::clone(&pools), std::slice::from_ref(&held));
    engine.handle(at(0), Event::Pools(accepted(&[])));
    engine.handle(at(0), Event::Pools(pools));
    assert_eq!(ips(write(&look(&mut engine, &service("new"))).unwrap()), ["1.2.3.1"]);
    assert_eq!(write(&look(&mut engine, &held)), None);
}

#[test]
fn what_is_left_of_a_pair_is_nobody_elses_before_its_service_was_looked_at() {
    let pair = |v6: &str| accepted(&[("p", "1.2.3.0/32"), ("q", v6)]);
    let both = Arc::new(Accepted {
        pools: [("p".to_owned(), {
            let (_, mut pool) = pool("p", "1.2.3.0/32");
            pool.entries.push(AddressRange::parse("fc00::/128").unwrap());
            pool
        })]
        .into(),
        ..Accepted::default()
    });
    let mut held = with_ip(with_ip(service("held"), "1.2.3.0", "p"), "fc00::", "p");
    let spec = held.spec.as_mut().unwrap();
    spec.cluster_ips = Some(vec!["10.96.0.1".into(), "fd00::1".into()]);
    spec.ip_family_policy = Some("PreferDualStack".into());
    let mut engine = start("", both, std::slice::from_ref(&held));
    engine.handle(at(0), Event::Pools(pair("fc00::/128")));
    assert!(ips(write(&look(&mut engine, &service("new"))).unwrap()).is_empty());
}
