//! Explaining: what every pool would answer, in the order in which they are asked.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::change::PROMISED;
use super::choose::{Offer, lack, why_not};
use super::{Allocation, Allocator, Holder};
use crate::family::{Families, FamilyPolicy};
use crate::key::{Key, PoolName};
use crate::pool::PoolState;
use crate::refusal::{Refusal, Why};
use crate::request::{Port, Request, Sharing};

/// What one pool answers to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The pool.
    pub pool: PoolName,
    /// `serviceAllocation.priority`; none if the pool is open to all.
    pub priority: Option<i64>,
    /// Whether it is asked; not if one before it has all, or if it is closed to the Service.
    pub asked: bool,
    /// What it has for the request, or what it lacks in the words of the refusal.
    pub answer: Result<Vec<IpAddr>, String>,
}

/// A Service that is on an address already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Who.
    pub service: String,
    /// Ports that both want.
    pub ports: Vec<Port>,
}

/// An address asked for by name that others are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The address.
    pub ip: IpAddr,
    /// The terms on which it can be shared; none if it cannot.
    pub sharing: Option<Sharing>,
    /// Who is on it, in the order of their names.
    pub neighbours: Vec<Neighbour>,
}

/// What a Service asks for, and what comes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// All that it asks for.
    pub request: Request,
    /// The pools in the order in which they are asked, then those that are closed to it. If addresses are asked for by name,
    /// their pool alone.
    pub trials: Vec<Trial>,
    /// The addresses asked for by name that others are on.
    pub clashes: Vec<Clash>,
    /// What the Service would get.
    pub outcome: Result<Allocation, Refusal>,
}

impl Allocator {
    /// What a request would come to if it were made now by somebody who has nothing.
    pub(crate) fn explained(&self, key: &Key, request: Request) -> Explanation {
        let stranger = key.standin("explained");
        // What it holds is kept out, that it can be told what else there is.
        let key = if self.held.contains_key(key) && request.wanted.is_empty() {
            &stranger
        } else {
            key
        };
        let outcome = self
            .choose(key, &request)
            .map_err(|refusal| self.explain(refusal, &request));
        let trials = match request.wanted.as_slice() {
            [] => self.trials(key, &request),
            wanted => self.trial_of(key, &request, wanted).into_iter().collect(),
        };
        let clashes = request.wanted.iter().filter_map(|ip| self.clash(*ip, key, &request));
        Explanation {
            clashes: clashes.collect(),
            request,
            trials,
            outcome,
        }
    }

    fn trials(&self, key: &Key, request: &Request) -> Vec<Trial> {
        let mut trials = Vec::new();
        let mut served = request.families == Families::Dual && request.policy == FamilyPolicy::SingleStack;
        let candidates = self.candidates(request);
        for pool in &candidates {
            let allowed = pool.allows(&request.namespace, &request.labels);
            let offer = if allowed {
                self.has_for(pool, key, request)
            } else {
                Offer::Nothing
            };
            let asked = !served;
            let answer = match offer {
                Offer::All(ips) => {
                    served = true;
                    Ok(ips)
                }
                Offer::One(ip) if request.policy == FamilyPolicy::PreferDualStack => Ok(vec![ip]),
                Offer::One(_) | Offer::Nothing if allowed => Err(lack(pool, request).to_string()),
                Offer::One(_) | Offer::Nothing => Err(Why::NotAllowed.to_string()),
            };
            trials.push(trial(pool, asked, answer));
        }
        let asked: BTreeSet<_> = candidates.iter().map(|pool| &pool.name).collect();
        let closed = self.catalog.by_name().iter().filter(|pool| !asked.contains(&pool.name));
        if request.pool.is_none() {
            trials.extend(closed.map(|pool| trial(pool, false, Err(why_not(pool, request).to_string()))));
        }
        trials
    }

    /// The pool of the addresses that are asked for by name, if it has all of them.
    fn trial_of(&self, key: &Key, request: &Request, wanted: &[IpAddr]) -> Option<Trial> {
        let pool = self.catalog.get(&self.home_of(wanted)?)?;
        let answer = self.check(key, request, wanted);
        let answer = answer.map(|_| wanted.to_vec()).map_err(|refusal| refusal.to_string());
        Some(trial(pool, true, answer))
    }

    fn clash(&self, ip: IpAddr, key: &Key, request: &Request) -> Option<Clash> {
        let holder = self.holders.get(&ip)?;
        let others = holder.users.iter().filter(|user| *user != key);
        let neighbours: Vec<_> = others.map(|user| neighbour(holder, user, request)).collect();
        (!neighbours.is_empty()).then(|| Clash {
            ip,
            sharing: holder.sharing.clone(),
            neighbours,
        })
    }
}

fn neighbour(holder: &Holder, user: &Key, request: &Request) -> Neighbour {
    let ports = request
        .ports
        .iter()
        .filter(|port| holder.port_user(**port) == Some(user));
    Neighbour {
        service: user.service_behind(PROMISED).to_owned(),
        ports: ports.copied().collect(),
    }
}

fn trial(pool: &PoolState, asked: bool, answer: Result<Vec<IpAddr>, String>) -> Trial {
    Trial {
        pool: pool.name.clone(),
        priority: pool.spec.allocation.as_ref().map(|allocation| allocation.priority),
        asked,
        answer,
    }
}
