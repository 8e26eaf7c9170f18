//! Somebody else who writes the same status.

use super::*;

/// A Service as the API server has it, with a clock.
struct War {
    engine: Engine,
    stored: Service,
    version: u64,
    now: i64,
    /// When we look again of ourselves.
    later: Vec<i64>,
    writes: usize,
    events: Vec<&'static str>,
}

impl War {
    fn new() -> Self {
        let mut war = Self {
            engine: started(&[]),
            stored: service("a"),
            version: 1,
            now: 0,
            later: Vec::new(),
            writes: 0,
            events: Vec::new(),
        };
        war.look();
        assert_eq!((ips(&war.stored), war.writes), (vec!["1.2.3.0".to_owned()], 1));
        (war.writes, war.events) = (0, Vec::new());
        war
    }

    fn store(&mut self, service: Service) {
        self.version += 1;
        self.stored = service;
        self.stored.metadata.resource_version = Some(self.version.to_string());
    }

    fn look(&mut self) {
        let event = Event::Look(view::key(&self.stored), Some(Arc::new(self.stored.clone())), None);
        self.engine.tick(Duration::from_millis(self.now.unsigned_abs()));
        for action in self.engine.handle(at(0), event) {
            match action {
                Action::Write(service) => {
                    self.writes += 1;
                    self.store((*service).clone());
                    written(&mut self.engine, &service);
                }
                Action::Later(_, delay) => self.later.push(self.now + i64::try_from(delay.as_millis()).unwrap()),
                Action::Tell { reason, .. } => self.events.push(reason),
                Action::Rival(_) => self.events.push("Rival"),
                _ => {}
            }
        }
    }

    /// The other one writes what it thinks right.
    fn overwrite(&mut self) {
        let mut theirs = with_ip(service("a"), "9.9.9.9", "p");
        theirs.metadata.uid.clone_from(&self.stored.metadata.uid);
        self.store(theirs);
        self.look();
    }

    /// Time passes; the other one answers every write of ours after some milliseconds.
    fn fight(&mut self, until: i64, every: i64) {
        while self.now < until {
            self.now += every;
            self.look_when_due();
            if ips(&self.stored) != ["9.9.9.9"] || self.now % (10 * every) == 0 {
                self.overwrite();
            }
        }
    }

    fn look_when_due(&mut self) {
        let due = self.later.iter().any(|at| *at <= self.now);
        self.later.retain(|at| *at > self.now);
        if due {
            self.look();
        }
    }
}

#[test]
fn one_foreign_hand_is_undone_at_once() {
    // CTL-16
    let mut war = War::new();
    war.overwrite();
    assert_eq!((ips(&war.stored), war.writes), (vec!["1.2.3.0".to_owned()], 1));
    assert!(war.events.is_empty(), "{:?}", war.events);
}

#[test]
fn overwriting_each_other_backs_off_and_one_warning_says_so() {
    // CTL-16 CTL-125
    let mut war = War::new();
    war.fight(60_000, 25);
    assert!((10..20).contains(&war.writes), "{} writes in a minute", war.writes);
    assert_eq!(war.events, ["Rival"]);
    // The other one has ceased: what it wrote last does not stand for long.
    let end = war.now;
    while ips(&war.stored) != ["1.2.3.0"] {
        war.now += 25;
        war.look_when_due();
        assert!(war.now - end <= 5_000, "its address is not back");
    }
    assert_eq!(war.events, ["Rival"]);
    // Peace for a while, and the next hand is undone at once.
    war.now += 61_000;
    war.overwrite();
    assert_eq!(ips(&war.stored), ["1.2.3.0"]);
}

#[test]
fn what_the_user_wants_is_written_at_once_in_the_middle_of_it() {
    // CTL-56
    let mut war = War::new();
    war.fight(20_000, 25);
    let edited = wanting(war.stored.clone(), "1.2.3.3");
    war.store(edited);
    war.look();
    assert_eq!(ips(&war.stored), ["1.2.3.3"]);
}
