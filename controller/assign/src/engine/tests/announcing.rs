//! Services that no node may announce.

use metallb_announce::NodeView;
use metallb_announce::reach::{Reach, Surroundings};
use metallb_config::L2Advertisement;

use super::*;

/// One Service as the API server has it, with a clock in seconds.
struct World {
    engine: Engine,
    stored: Service,
    version: u64,
    now: u64,
    /// When the Service is looked at of ourselves.
    later: Vec<u64>,
    writes: usize,
    events: Vec<&'static str>,
}

/// How pools are announced by layer 2 from one node, which may be excluded; `p` and `q` are known.
fn reaches(excluded: [bool; 2]) -> Event {
    let reach = |excluded| {
        let ad = L2Advertisement {
            nodes: ["node".to_owned()].into(),
            ..L2Advertisement::default()
        };
        let pool = Pool {
            l2: vec![ad],
            ..Pool::default()
        };
        let node = NodeView {
            excluded,
            ..NodeView::default()
        };
        let around = Surroundings {
            nodes: &[("node".into(), node)].into(),
            peers: &BTreeSet::new(),
            ignore_exclude_label: false,
        };
        Reach::new(&pool, around)
    };
    let all = [
        ("p".to_owned(), reach(excluded[0])),
        ("q".to_owned(), reach(excluded[1])),
    ];
    Event::Reaches(Some(Arc::new(all.into())))
}

const BARRED: [bool; 2] = [true, false];
const OPEN: [bool; 2] = [false, false];

impl World {
    /// A Service with an address of `p`, which nothing has been said of.
    fn new() -> Self {
        Self::of(with_ip(service("a"), "1.2.3.1", "p"), true)
    }

    /// A new term.
    fn of(stored: Service, conditions: bool) -> Self {
        let mut engine = Engine::new("", conditions);
        let pools = accepted(&[("p", "1.2.3.0/30"), ("q", "1.2.4.0/30")]);
        let services = vec![Arc::new(stored.clone())];
        engine.handle(at(0), Event::Start { pools, services });
        Self {
            engine,
            version: stored.resource_version().unwrap().parse().unwrap(),
            stored,
            now: 0,
            later: Vec::new(),
            writes: 0,
            events: Vec::new(),
        }
    }

    fn look(&mut self) {
        let event = Event::Look(view::key(&self.stored), Some(Arc::new(self.stored.clone())), None);
        self.handle(event);
    }

    fn handle(&mut self, event: Event) {
        self.engine.tick(Duration::from_secs(self.now));
        for action in self.engine.handle(at(0), event) {
            match action {
                Action::Write(service) => {
                    self.writes += 1;
                    self.version += 1;
                    self.stored = (*service).clone();
                    self.stored.metadata.resource_version = Some(self.version.to_string());
                    written(&mut self.engine, &service);
                }
                Action::Later(_, delay) => self.later.push(self.now + delay.as_secs()),
                Action::Tell { reason, .. } => self.events.push(reason),
                Action::Enqueue(_) => self.later.push(self.now),
                _ => {}
            }
        }
    }

    /// Time passes; the Service is looked at whenever that is due.
    fn pass(&mut self, seconds: u64) {
        let until = self.now + seconds;
        loop {
            if self.later.contains(&self.now) {
                self.later.retain(|at| *at > self.now);
                self.look();
            }
            if self.now == until {
                return;
            }
            self.now += 1;
        }
    }

    fn says(&self) -> Option<&str> {
        view::announceable(&self.stored).map(|own| own.reason.as_str())
    }

    /// Said it, and looked at again what that has changed.
    fn barred() -> Self {
        let mut world = Self::new();
        world.look();
        world.handle(reaches(BARRED));
        world.pass(5);
        world.look();
        assert_eq!(world.says(), Some("NodesExcluded"));
        (world.writes, world.events) = (0, Vec::new());
        world
    }
}

#[test]
fn it_is_said_after_five_seconds_by_one_condition_and_one_event() {
    let mut world = World::new();
    world.look();
    world.handle(reaches(BARRED));
    world.pass(4);
    assert_eq!((world.says(), world.writes, world.events.len()), (None, 0, 0));
    world.pass(1);
    assert_eq!(world.says(), Some("NodesExcluded"));
    let own = view::announceable(&world.stored).unwrap();
    assert_eq!(
        (own.type_.as_str(), own.status.as_str()),
        ("metallb.io/Announceable", "False")
    );
    assert!(own.message.contains("pool \"p\""), "{}", own.message);
    assert_eq!(own_condition(&world.stored).unwrap().status, "True");
    for _ in 0..3 {
        world.pass(10);
        world.look();
    }
    assert_eq!((world.writes, world.events), (1, vec!["NodesExcluded"]));
}

#[test]
fn it_is_taken_back_at_once_and_without_an_event() {
    let mut world = World::barred();
    world.handle(reaches(OPEN));
    world.pass(0);
    assert_eq!((world.says(), world.writes, world.events.len()), (None, 1, 0));
    world.look();
    assert_eq!(world.writes, 1);
}

#[test]
fn what_passes_within_five_seconds_is_never_said() {
    let mut world = World::new();
    world.look();
    for _ in 0..3 {
        world.handle(reaches(BARRED));
        world.pass(4);
        world.handle(reaches(OPEN));
        world.pass(4);
    }
    world.pass(10);
    assert_eq!((world.writes, world.events.len()), (0, 0));
}

#[test]
fn a_restart_writes_nothing_and_tells_nothing() {
    let mut world = World::of(World::barred().stored, true);
    world.look();
    // Watches may be behind at first.
    world.handle(reaches(OPEN));
    world.pass(2);
    world.handle(reaches(BARRED));
    world.pass(20);
    world.look();
    assert_eq!(
        (world.says(), world.writes, world.events.len()),
        (Some("NodesExcluded"), 0, 0)
    );
}

#[test]
fn what_has_become_untrue_meanwhile_goes_after_a_restart() {
    let mut world = World::of(World::barred().stored, true);
    world.handle(reaches(OPEN));
    world.look();
    world.pass(5);
    assert_eq!((world.says(), world.writes, world.events.len()), (None, 1, 0));
}

#[test]
fn a_change_concerns_the_services_of_its_pool_alone() {
    let mut engine = started(&[]);
    engine.handle(
        at(0),
        Event::Pools(accepted(&[("p", "1.2.3.0/30"), ("q", "1.2.4.0/30")])),
    );
    for service in [
        with_ip(service("a"), "1.2.3.1", "p"),
        with_ip(service("b"), "1.2.4.1", "q"),
    ] {
        look(&mut engine, &service);
    }
    let key = |name| Action::Enqueue(Key::new("default", name));
    assert_eq!(engine.handle(at(0), reaches(OPEN)), [key("a"), key("b")]);
    assert_eq!(engine.handle(at(0), reaches(OPEN)), []);
    assert_eq!(engine.handle(at(0), reaches([false, true])), [key("b")]);
    engine.handle(at(0), Event::Look(Key::new("default", "b"), None, None));
    assert_eq!(engine.handle(at(0), reaches(OPEN)), []);
}

#[test]
fn what_was_said_stays_while_nothing_is_known() {
    let mut world = World::barred();
    world.handle(Event::Reaches(None));
    world.look();
    world.handle(Event::Reaches(Some(Arc::default())));
    world.pass(20);
    world.look();
    assert_eq!((world.says(), world.writes), (Some("NodesExcluded"), 0));
}

#[test]
fn a_service_that_loses_its_address_does_not_say_so_any_more() {
    let mut world = World::barred();
    world.handle(Event::Pools(accepted(&[("q", "1.2.4.0/30")])));
    world.pass(0);
    assert_eq!((ips(&world.stored), world.says()), (vec!["1.2.4.0".to_owned()], None));
}

#[test]
fn without_conditions_it_is_told_by_the_event_alone() {
    let mut world = World::of(World::barred().stored, false);
    world.look();
    assert_eq!((world.says(), own_condition(&world.stored)), (None, None));
    world.handle(reaches(BARRED));
    world.pass(5);
    world.look();
    world.pass(5);
    assert_eq!((world.says(), world.events.as_slice()), (None, &["NodesExcluded"][..]));
    world.handle(reaches(OPEN));
    world.pass(0);
    world.handle(reaches(BARRED));
    world.pass(5);
    assert_eq!(world.events.len(), 2);
}
