//! The controller on objects that nobody has written yet: its own engine, run until it is quiet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use metallb_assign::{Action, Engine, Event, Pools};
use metallb_config::Resources;
use metallb_ipam::Key;

use crate::world::Settings;

pub(super) struct Controller {
    pools: Pools,
    engine: Engine,
    started: bool,
    pub(super) services: BTreeMap<Key, Arc<Service>>,
    /// Why each Service could not keep what it had, in the words of the log.
    pub(super) why: BTreeMap<Key, String>,
    due: VecDeque<Key>,
    now: Timestamp,
    /// Counts writes, which give Services their versions.
    version: u64,
}

impl Controller {
    /// Starts it on the state of `now`, and waits until all is done that is to be done without any change.
    pub(super) fn start(settings: &Settings, resources: &Resources, services: &[Service], now: Timestamp) -> Self {
        let services = services
            .iter()
            .map(|service| (Key::of(service), Arc::new(service.clone())));
        let mut controller = Self {
            pools: Pools::new(settings.backend, settings.ignore_exclude_label),
            engine: Engine::new(&settings.class, true),
            started: false,
            services: services.collect(),
            why: BTreeMap::new(),
            due: VecDeque::new(),
            now,
            version: 0,
        };
        controller.configure(resources);
        controller.why.clear();
        controller
    }

    /// The configuration, or a Namespace, has changed.
    pub(super) fn configure(&mut self, resources: &Resources) {
        loop {
            if let Some(accepted) = self.pools.load(resources).accepted {
                let pools = Arc::new(accepted);
                let event = match std::mem::replace(&mut self.started, true) {
                    true => Event::Pools(pools),
                    false => Event::Start {
                        pools,
                        services: self.services.values().cloned().collect(),
                    },
                };
                self.handle(event);
                self.run();
            }
            // A pool that replaces a deleted one is there by now.
            let gone = self.pools.gone().clone();
            if gone.is_empty() {
                return;
            }
            self.pools.drop_gone(&gone);
        }
    }

    /// A Service has changed, or is gone.
    pub(super) fn change(&mut self, key: &Key, service: Option<Service>) {
        match service {
            Some(service) => drop(self.write(key, service)),
            None => drop(self.services.remove(key)),
        }
        self.due.push_back(key.clone());
        self.run();
    }

    fn run(&mut self) {
        while let Some(key) = self.due.pop_front() {
            let service = self.services.get(&key).cloned();
            self.handle(Event::Look(key, service, None));
        }
    }

    fn handle(&mut self, event: Event) {
        for action in self.engine.handle(self.now, event) {
            match action {
                Action::Enqueue(key) => self.due.push_back(key),
                Action::Write(service) => {
                    let key = Key::of(&service);
                    let from = self.write(&key, *service);
                    self.handle(Event::Written {
                        key: key.clone(),
                        from: Some(from),
                    });
                    self.due.push_back(key);
                }
                Action::Log {
                    key,
                    event: "clearAssignment",
                    detail,
                    ..
                } => {
                    self.why.insert(key, detail);
                }
                // Nobody hears it, and no time passes.
                _ => {}
            }
        }
    }

    /// Keeps a Service in a new version; returns the version before.
    fn write(&mut self, key: &Key, mut service: Service) -> String {
        self.version += 1;
        let from = service.resource_version().unwrap_or_default();
        service.metadata.resource_version = Some(format!("plan-{}", self.version));
        self.services.insert(key.clone(), Arc::new(service));
        from
    }
}
