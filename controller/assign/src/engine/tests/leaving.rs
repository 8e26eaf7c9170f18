//! Addresses that a Service has left, and that its status shows still: they are nobody else's.

use super::*;

/// What the shell does with keys that are due: it looks them up, and finds nothing under names that nobody has.
fn work_off(engine: &mut Engine, actions: &[Action], stored: &[Service]) {
    for action in actions {
        if let Action::Enqueue(key) = action {
            let found = stored.iter().find(|service| view::key(service) == *key);
            engine.handle(at(0), Event::Look(key.clone(), found.cloned().map(Arc::new), None));
        }
    }
}

fn due(actions: &[Action]) -> Vec<String> {
    let keys = actions.iter().filter_map(|action| match action {
        Action::Enqueue(key) => Some(key.to_string()),
        _ => None,
    });
    keys.collect()
}

#[test]
fn an_edit_of_pools_frees_nothing_that_a_status_still_shows() {
    // CTL-12 CTL-32: the write that takes .0 from the status is late, or denied for ever.
    let a = with_ip(service("a"), "1.2.3.0", "p");
    let mut engine = start("", accepted(&[("p", "1.2.3.0/31")]), std::slice::from_ref(&a));
    let a = wanting(a, "1.2.3.1");
    assert!(write(&look(&mut engine, &a)).is_some());
    for pools in [
        accepted(&[("p", "1.2.3.0/31"), ("q", "fc00::/120")]),
        accepted(&[("p", "1.2.3.0/30")]),
        accepted(&[("renamed", "1.2.3.0/30")]),
        accepted(&[("q", "fc00::/120")]),
        accepted(&[("p", "1.2.3.0/31")]),
    ] {
        let actions = engine.handle(at(0), Event::Pools(pools));
        assert!(due(&actions).iter().all(|key| key == "default/a"), "{actions:?}");
        work_off(&mut engine, &actions, std::slice::from_ref(&a));
        let b = wanting(service("b"), "1.2.3.0");
        assert!(
            ips(write(&look(&mut engine, &b)).unwrap()).is_empty(),
            "a still shows it"
        );
        engine.handle(at(0), Event::Look(Key::new("default", "b"), None, None));
    }
}

#[test]
fn an_answer_that_comes_after_an_edit_frees_nothing_that_it_has_written() {
    // CTL-12: .0 is written to a; meanwhile no pool has it any more, and then one has it again.
    let a = service("a");
    let mut engine = start("", accepted(&[("p", "1.2.3.0/32")]), std::slice::from_ref(&a));
    let sent = write(&look(&mut engine, &a)).unwrap().clone();
    engine.handle(at(0), Event::Pools(accepted(&[("q", "fc00::/120")])));
    written(&mut engine, &sent);
    engine.handle(at(0), Event::Pools(accepted(&[("p", "1.2.3.0/32")])));
    assert!(ips(write(&look(&mut engine, &service("b"))).unwrap()).is_empty());
}

#[test]
fn an_address_that_may_have_been_written_is_nobody_elses_until_that_is_known() {
    // CTL-12 CTL-33: the write of .0 was sent and never answered; it may be made at any time while a has that version.
    let a = service("a");
    let pools = accepted(&[("p", "1.2.3.0/32"), ("q", "2.2.3.0/30")]);
    let mut engine = start("", Arc::clone(&pools), std::slice::from_ref(&a));
    assert_eq!(ips(write(&look(&mut engine, &a)).unwrap()), ["1.2.3.0"]);
    engine.handle(at(0), Event::Pools(accepted(&[("q", "2.2.3.0/30")])));
    assert_eq!(ips(write(&look(&mut engine, &a)).unwrap()), ["2.2.3.0"]);
    engine.handle(at(0), Event::Pools(pools));
    assert_eq!(ips(write(&look(&mut engine, &service("b"))).unwrap()), ["2.2.3.1"]);
    // The other write was made: the first one never will be.
    let mut now = with_ip(a, "2.2.3.0", "q");
    now.metadata.resource_version = Some("2".into());
    look(&mut engine, &now);
    assert_eq!(ips(write(&look(&mut engine, &service("c"))).unwrap()), ["1.2.3.0"]);
}

#[test]
fn what_a_status_shows_beside_what_is_no_address_is_nobody_elses() {
    // CTL-13
    let mut a = with_ip(service("a"), "1.2.3.0", "p");
    let entry = LoadBalancerIngress {
        ip: Some("junk".into()),
        ..LoadBalancerIngress::default()
    };
    let status = a.status.as_mut().unwrap().load_balancer.as_mut().unwrap();
    status.ingress.as_mut().unwrap().insert(0, entry);
    let mut engine = started(std::slice::from_ref(&a));
    assert_eq!(ips(write(&look(&mut engine, &service("b"))).unwrap()), ["1.2.3.1"]);
    assert_eq!(ips(write(&look(&mut engine, &a)).unwrap()), ["1.2.3.0"]);
}

#[test]
fn what_a_service_keeps_that_cannot_be_understood_is_nobody_elses() {
    // CTL-12: no pool allows what a shows, and its families cannot be told, so that its status is left alone.
    let mut a = with_ip(service("a"), "1.2.3.0", "p");
    a.spec.as_mut().unwrap().cluster_ips = Some(vec!["None".into()]);
    let mut engine = start("", accepted(&[("q", "fc00::/120")]), std::slice::from_ref(&a));
    look(&mut engine, &a);
    engine.handle(at(0), Event::Pools(accepted(&[("p", "1.2.3.0/31")])));
    assert_eq!(ips(write(&look(&mut engine, &service("b"))).unwrap()), ["1.2.3.1"]);
}

#[test]
fn one_of_two_addresses_of_a_family_is_kept() {
    // CTL-13
    let mut a = with_ip(with_ip(service("a"), "1.2.3.2", "p"), "1.2.3.3", "p");
    let mut engine = started(std::slice::from_ref(&a));
    assert_eq!(ips(write(&look(&mut engine, &a)).unwrap()), ["1.2.3.2"]);
    let mut engine = started(&[]);
    assert_eq!(ips(write(&look(&mut engine, &a)).unwrap()), ["1.2.3.2"]);
    // The first that it may have.
    let b = with_ip(service("b"), "1.2.3.2", "p");
    a.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(9)));
    let mut engine = started(&[a.clone(), b]);
    assert_eq!(ips(write(&look(&mut engine, &a)).unwrap()), ["1.2.3.3"]);
}

#[test]
fn nobody_is_woken_by_its_own_look() {
    // CTL-125: a waits for the very address that a write of its own may still bring.
    let a = wanting(service("a"), "1.2.3.1");
    let mut engine = started(std::slice::from_ref(&a));
    assert_eq!(ips(write(&look(&mut engine, &a)).unwrap()), ["1.2.3.1"]);
    let mut theirs = (*accepted(&[("p", "1.2.3.0/30")])).clone();
    theirs.pools.get_mut("p").unwrap().allocation = Some(metallb_config::ServiceAllocation {
        priority: 0,
        namespaces: metallb_config::Namespaces::Only(["other".to_owned()].into()),
        services: Vec::new(),
    });
    let actions = engine.handle(at(0), Event::Pools(Arc::new(theirs)));
    assert_eq!(due(&actions), ["default/a"]);
    assert!(ips(write(&look(&mut engine, &a)).unwrap()).is_empty());
    assert_eq!(due(&look(&mut engine, &a)), [""; 0]);
}
