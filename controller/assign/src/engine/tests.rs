use k8s_openapi::api::core::v1::{LoadBalancerIngress, PortStatus, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use metallb_api::names::ANNOTATION_IP_ALLOCATED_FROM_POOL as MARK;
use metallb_config::AddressRange;

use super::*;

mod announcing;
mod leaving;
mod mark;
mod pools;
mod rivals;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pool(name: &str, range: &str) -> (String, Pool) {
    let pool = Pool {
        name: name.into(),
        entries: vec![AddressRange::parse(range).unwrap()],
        auto_assign: true,
        ..Pool::default()
    };
    (name.into(), pool)
}

fn accepted(pools: &[(&str, &str)]) -> Arc<Accepted> {
    Arc::new(Accepted {
        pools: pools.iter().map(|(name, range)| pool(name, range)).collect(),
        unusable: BTreeSet::new(),
    })
}

fn service(name: &str) -> Service {
    let spec = ServiceSpec {
        type_: Some("LoadBalancer".into()),
        cluster_ips: Some(vec!["10.96.0.1".into()]),
        ip_families: Some(vec!["IPv4".into()]),
        ports: Some(vec![ServicePort {
            port: 80,
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    };
    let metadata = ObjectMeta {
        namespace: Some("default".into()),
        name: Some(name.into()),
        uid: Some(format!("uid-{name}")),
        resource_version: Some("1".into()),
        ..ObjectMeta::default()
    };
    Service {
        metadata,
        spec: Some(spec),
        status: None,
    }
}

fn with_ip(mut service: Service, ip: &str, pool: &str) -> Service {
    let entry = LoadBalancerIngress {
        ip: Some(ip.into()),
        ..LoadBalancerIngress::default()
    };
    service.annotations_mut().insert(MARK.into(), pool.into());
    let load_balancer = service
        .status
        .get_or_insert_default()
        .load_balancer
        .get_or_insert_default();
    load_balancer.ingress.get_or_insert_default().push(entry);
    service
}

fn classed(mut service: Service, class: &str) -> Service {
    service.spec.as_mut().unwrap().load_balancer_class = Some(class.into());
    service
}

fn typed(mut service: Service, kind: &str) -> Service {
    service.spec.as_mut().unwrap().type_ = Some(kind.into());
    service
}

fn started(services: &[Service]) -> Engine {
    start("", accepted(&[("p", "1.2.3.0/30")]), services)
}

fn start(class: &str, pools: Arc<Accepted>, services: &[Service]) -> Engine {
    let mut engine = Engine::new(class, true);
    let services = services.iter().cloned().map(Arc::new).collect();
    engine.handle(at(0), Event::Start { pools, services });
    engine
}

fn look(engine: &mut Engine, service: &Service) -> Vec<Action> {
    engine.handle(
        at(0),
        Event::Look(view::key(service), Some(Arc::new(service.clone())), None),
    )
}

fn write(actions: &[Action]) -> Option<&Service> {
    actions.iter().find_map(|action| match action {
        Action::Write(service) => Some(&**service),
        _ => None,
    })
}

/// The API server has taken what was sent.
fn written(engine: &mut Engine, sent: &Service) -> Vec<Action> {
    let event = Event::Written {
        key: view::key(sent),
        from: sent.resource_version(),
    };
    engine.handle(at(0), event)
}

fn ingress(service: &Service) -> Vec<LoadBalancerIngress> {
    let status = service.status.clone().unwrap_or_default();
    status.load_balancer.unwrap_or_default().ingress.unwrap_or_default()
}

fn ips(service: &Service) -> Vec<String> {
    ingress(service).into_iter().filter_map(|entry| entry.ip).collect()
}

#[test]
fn nothing_is_touched_before_the_start() {
    // CTL-1
    let mut engine = Engine::new("", true);
    assert!(look(&mut engine, &with_ip(service("a"), "9.9.9.9", "p")).is_empty());
    assert!(
        engine
            .handle(at(0), Event::Look(Key::new("default", "a"), None, None))
            .is_empty()
    );
}

#[test]
fn one_write_carries_address_and_pool_and_what_is_said_follows_it() {
    // CTL-2 CTL-124
    let mut engine = started(&[]);
    let actions = look(&mut engine, &service("a"));
    let written = write(&actions).unwrap();
    assert_eq!(
        (ips(written), written.annotations()[MARK].as_str()),
        (vec!["1.2.3.0".to_owned()], "p")
    );
    assert_eq!(written.resource_version().as_deref(), Some("1"));
    let told = actions.iter().position(|action| {
        matches!(
            action,
            Action::Tell {
                reason: "IPAllocated",
                ..
            }
        )
    });
    let wrote = actions.iter().position(|action| matches!(action, Action::Write(_)));
    assert!(wrote < told);
    assert!(actions.contains(&Action::Count));
}

#[test]
fn mode_and_ports_of_an_address_that_stays_survive() {
    // CTL-10 CTL-11
    let mut held = with_ip(service("a"), "1.2.3.1", "p");
    let status = held.status.as_mut().unwrap().load_balancer.as_mut().unwrap();
    let entry = &mut status.ingress.as_mut().unwrap()[0];
    entry.ip_mode = Some("Proxy".into());
    entry.ports = Some(vec![PortStatus {
        port: 80,
        ..PortStatus::default()
    }]);
    let mut engine = started(std::slice::from_ref(&held));
    assert_eq!(write(&look(&mut engine, &held)), None);
    held.annotations_mut().insert(MARK.into(), "old-name".into());
    let actions = look(&mut engine, &held);
    assert_eq!(ingress(write(&actions).unwrap()), ingress(&held));
}

#[test]
fn a_failed_write_leaves_one_address_and_no_leak() {
    // CTL-12
    let mut engine = started(&[]);
    let first = ips(write(&look(&mut engine, &service("a"))).unwrap());
    let second = ips(write(&look(&mut engine, &service("a"))).unwrap());
    assert_eq!(first, second);
    assert_eq!(engine.counters("p").unwrap().in_use(), 1);
}

#[test]
fn an_own_write_that_has_not_come_back_is_not_repeated() {
    // CTL-17
    let mut engine = started(&[]);
    let written = write(&look(&mut engine, &service("a"))).unwrap().clone();
    engine.handle(
        at(0),
        Event::Written {
            key: Key::new("default", "a"),
            from: Some("1".into()),
        },
    );
    assert!(look(&mut engine, &service("a")).is_empty());
    let mut back = written;
    back.metadata.resource_version = Some("2".into());
    assert!(look(&mut engine, &back).is_empty());
}

#[test]
fn only_the_own_class_is_handled() {
    // CTL-21 CTL-22 CTL-23 CTL-24 CTL-25
    for (flag, class, handled) in [
        ("", None, true),
        ("", Some("foo"), false),
        ("foo", None, false),
        ("foo", Some("bar"), false),
        ("foo", Some("foo"), true),
    ] {
        let mut engine = start(flag, accepted(&[("p", "1.2.3.0/30")]), &[]);
        let mut seen = service("a");
        seen.spec.as_mut().unwrap().load_balancer_class = class.map(Into::into);
        assert_eq!(
            write(&look(&mut engine, &seen)).is_some(),
            handled,
            "{flag:?} {class:?}"
        );
    }
}

#[test]
fn a_service_that_loses_type_and_class_is_let_go() {
    // CTL-26
    let held = classed(with_ip(service("a"), "1.2.3.0", "p"), "foo");
    let mut engine = start("foo", accepted(&[("p", "1.2.3.0/30")]), std::slice::from_ref(&held));
    assert_eq!(engine.counters("p").unwrap().in_use(), 1);
    let mut now = typed(service("a"), "ClusterIP");
    now.annotations_mut().insert(MARK.into(), "p".into());
    let actions = look(&mut engine, &now);
    assert!(!write(&actions).unwrap().annotations().contains_key(MARK));
    assert_eq!(engine.counters("p").unwrap().in_use(), 0);
}

#[test]
fn addresses_are_all_imported_before_the_first_is_given() {
    // CTL-27 CTL-29
    let holder = with_ip(service("z"), "1.2.3.0", "p");
    let stray = with_ip(service("a"), "9.9.9.9", "gone");
    let mut engine = started(&[stray.clone(), holder.clone()]);
    assert_eq!(ips(write(&look(&mut engine, &stray)).unwrap()), ["1.2.3.1"]);
    assert_eq!(write(&look(&mut engine, &holder)), None);
}

#[test]
fn every_service_is_looked_at_after_the_start() {
    let mut engine = Engine::new("", true);
    let services = vec![Arc::new(service("a")), Arc::new(service("b"))];
    let pools = accepted(&[]);
    let actions = engine.handle(at(0), Event::Start { pools, services });
    let due: Vec<_> = actions
        .iter()
        .filter(|action| matches!(action, Action::Enqueue(_)))
        .collect();
    assert_eq!(due.len(), 2);
}

#[test]
fn a_deletion_wakes_exactly_who_waits_for_it() {
    // CTL-6 CTL-7
    let mut engine = start("", accepted(&[("p", "1.2.3.0/32")]), &[]);
    look(&mut engine, &service("a"));
    assert!(look(&mut engine, &service("b")).contains(&Action::Failed("NoAvailableAddresses")));
    look(&mut engine, &service("c"));
    assert_eq!(engine.pending(), [("NoAvailableAddresses", 2)].into());
    assert!(
        engine
            .handle(at(0), Event::Look(Key::new("default", "nobody"), None, None))
            .is_empty()
    );
    let actions = engine.handle(at(0), Event::Look(Key::new("default", "a"), None, None));
    let due: Vec<_> = actions
        .iter()
        .filter(|action| matches!(action, Action::Enqueue(_)))
        .collect();
    assert_eq!(due, [&Action::Enqueue(Key::new("default", "b"))]);
    look(&mut engine, &service("b"));
    engine.handle(at(0), Event::Look(Key::new("default", "c"), None, None));
    assert!(engine.pending().is_empty());
}

#[test]
fn a_terminating_service_keeps_its_address() {
    // CTL-19
    let mut held = with_ip(service("a"), "1.2.3.0", "p");
    held.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
    ));
    let mut engine = started(std::slice::from_ref(&held));
    assert_eq!(write(&look(&mut engine, &held)), None);
    assert_eq!(engine.counters("p").unwrap().in_use(), 1);
}

#[test]
fn the_older_of_two_with_one_address_keeps_it() {
    let time = |second| {
        let time = k8s_openapi::jiff::Timestamp::from_second(second).unwrap();
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time))
    };
    let mut young = with_ip(service("a"), "1.2.3.0", "p");
    young.metadata.creation_timestamp = time(20);
    let mut old = with_ip(service("z"), "1.2.3.0", "p");
    old.metadata.creation_timestamp = time(10);
    let mut engine = started(&[young.clone(), old.clone()]);
    assert_eq!(write(&look(&mut engine, &old)), None);
    assert_eq!(ips(write(&look(&mut engine, &young)).unwrap()), ["1.2.3.1"]);
}

#[test]
fn addresses_of_another_class_are_not_given_away() {
    // W26: the flag was changed, and what was served before still has its addresses.
    let theirs = classed(with_ip(service("theirs"), "1.2.3.0", "p"), "other");
    let mut engine = started(std::slice::from_ref(&theirs));
    assert_eq!(ips(write(&look(&mut engine, &service("a"))).unwrap()), ["1.2.3.1"]);
    assert!(look(&mut engine, &theirs).is_empty());
    look(&mut engine, &classed(service("theirs"), "other"));
    assert_eq!(ips(write(&look(&mut engine, &service("b"))).unwrap()), ["1.2.3.0"]);
}

fn own_condition(service: &Service) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "metallb.io/Allocated")
}

fn wanting(mut service: Service, ips: &str) -> Service {
    service
        .annotations_mut()
        .insert("metallb.io/loadBalancerIPs".into(), ips.into());
    service
}

#[test]
fn the_condition_comes_with_the_address_in_one_write() {
    // CTL-2
    let mut engine = started(&[]);
    let actions = engine.handle(
        at(7),
        Event::Look(Key::new("default", "a"), Some(Arc::new(service("a"))), None),
    );
    let written = write(&actions).unwrap();
    let condition = own_condition(written).unwrap();
    assert_eq!(
        (
            condition.status.as_str(),
            condition.reason.as_str(),
            condition.message.as_str()
        ),
        ("True", "Allocated", "Assigned IP [\"1.2.3.0\"] from pool p")
    );
    assert_eq!(condition.last_transition_time.0, at(7));
    let mut seen = written.clone();
    seen.metadata.resource_version = Some("2".into());
    assert!(write(&look(&mut engine, &seen)).is_none());
}

#[test]
fn a_refusal_is_told_once_by_condition_event_and_log_with_every_pool() {
    // CTL-125
    let mut engine = start("", accepted(&[("p", "1.2.3.0/32"), ("q", "fc00::/127")]), &[]);
    look(&mut engine, &service("first"));
    let actions = look(&mut engine, &service("second"));
    let why = "pool p: all IPv4 addresses are in use; pool q: it has no IPv4 addresses";
    let condition = own_condition(write(&actions).unwrap()).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "NoAvailableAddresses")
    );
    assert!(condition.message.contains(why), "{}", condition.message);
    let told = |action: &Action| matches!(action, Action::Tell { reason: "AllocationFailed", message, .. } if message.contains(why));
    let logged =
        |action: &Action| matches!(action, Action::Log { event: "allocateIPs", detail, .. } if detail.contains(why));
    assert!(actions.iter().any(told) && actions.iter().any(logged), "{actions:?}");
    let mut seen = write(&actions).unwrap().clone();
    seen.metadata.resource_version = Some("2".into());
    assert_eq!(look(&mut engine, &seen), [Action::Failed("NoAvailableAddresses")]);
}

#[test]
fn the_time_of_transition_moves_with_the_status_only() {
    let mut engine = start("", accepted(&[("p", "1.2.3.0/32")]), &[]);
    look(&mut engine, &service("first"));
    let key = Key::new("default", "second");
    let actions = engine.handle(at(5), Event::Look(key.clone(), Some(Arc::new(service("second"))), None));
    let refused = write(&actions).unwrap().clone();
    let other = wanting(refused.clone(), "9.9.9.9");
    let actions = engine.handle(at(9), Event::Look(key.clone(), Some(Arc::new(other)), None));
    let condition = own_condition(write(&actions).unwrap()).unwrap().clone();
    assert_eq!(
        (condition.reason.as_str(), condition.last_transition_time.0),
        ("AddressNotInPool", at(5))
    );
    engine.handle(at(10), Event::Look(Key::new("default", "first"), None, None));
    let actions = engine.handle(at(11), Event::Look(key, Some(Arc::new(refused)), None));
    let condition = own_condition(write(&actions).unwrap()).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.last_transition_time.0),
        ("True", at(11))
    );
}

#[test]
fn an_address_kept_for_want_of_the_wanted_one_says_so() {
    let mut engine = started(&[]);
    let held = write(&look(&mut engine, &service("a"))).unwrap().clone();
    let actions = look(&mut engine, &wanting(held, "9.9.9.9"));
    let written = write(&actions).unwrap();
    assert_eq!(ips(written), ["1.2.3.0"]);
    let condition = own_condition(written).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("True", "RequestRefused")
    );
}

#[test]
fn a_service_taken_over_from_upstream_is_not_written_for_a_condition_alone() {
    let held = with_ip(service("a"), "1.2.3.1", "p");
    let mut engine = started(std::slice::from_ref(&held));
    assert!(look(&mut engine, &held).is_empty());
}

#[test]
fn without_conditions_none_is_written_and_ours_is_taken_away() {
    let mut with = started(&[]);
    let told = write(&look(&mut with, &service("a"))).unwrap().clone();
    let mut without = Engine::new("", false);
    let pools = accepted(&[("p", "1.2.3.0/30")]);
    without.handle(
        at(0),
        Event::Start {
            pools,
            services: vec![Arc::new(told.clone())],
        },
    );
    let actions = look(&mut without, &told);
    let written = write(&actions).unwrap();
    assert_eq!(
        (own_condition(written), ips(written)),
        (None, vec!["1.2.3.0".to_owned()])
    );
    assert_eq!(own_condition(write(&look(&mut without, &service("b"))).unwrap()), None);
}

#[test]
fn the_condition_goes_with_the_type_and_foreign_ones_stay() {
    let mut engine = started(&[]);
    let mut told = write(&look(&mut engine, &service("a"))).unwrap().clone();
    let conditions = told.status.as_mut().unwrap().conditions.as_mut().unwrap();
    let mut foreign = conditions[0].clone();
    foreign.type_ = "example.com/Ready".into();
    conditions.insert(0, foreign);
    let actions = look(&mut engine, &typed(told, "ClusterIP"));
    let written = write(&actions).unwrap();
    let left = written.status.as_ref().unwrap().conditions.as_ref().unwrap();
    assert_eq!(
        left.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(),
        ["example.com/Ready"]
    );
}

#[test]
fn services_with_local_policy_at_the_start_hold_up_nothing() {
    // CTL-31
    let local = |name: &str, ip: &str| {
        let mut service = with_ip(service(name), ip, "p");
        service.spec.as_mut().unwrap().external_traffic_policy = Some("Local".into());
        service
    };
    let held = [local("a", "1.2.3.0"), local("b", "1.2.3.1")];
    let mut engine = started(&held);
    for service in &held {
        assert!(look(&mut engine, service).is_empty());
    }
    assert_eq!(ips(write(&look(&mut engine, &service("c"))).unwrap()), ["1.2.3.2"]);
}

#[test]
fn an_address_stays_taken_until_its_old_service_shows_it_no_more() {
    // Whether its write is late, or denied for ever.
    let a = with_ip(service("a"), "1.2.3.0", "p");
    let mut engine = start("", accepted(&[("p", "1.2.3.0/31")]), std::slice::from_ref(&a));
    look(&mut engine, &a);
    assert!(write(&look(&mut engine, &wanting(a.clone(), "1.2.3.1"))).is_some());
    let b = wanting(service("b"), "1.2.3.0");
    assert!(
        ips(write(&look(&mut engine, &b)).unwrap()).is_empty(),
        "a still shows it"
    );
    let key = Key::new("default", "a");
    let woken = engine.handle(
        at(0),
        Event::Written {
            key,
            from: Some("1".into()),
        },
    );
    assert!(woken.contains(&Action::Enqueue(Key::new("default", "b"))), "{woken:?}");
    assert_eq!(ips(write(&look(&mut engine, &b)).unwrap()), ["1.2.3.0"]);
}
