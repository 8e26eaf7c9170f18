//! Choosing: reads the state, changes nothing.

use std::net::IpAddr;

use super::change::PROMISED;
use super::{Allocation, Allocator, Holder};
use crate::family::{Families, Family, FamilyPolicy};
use crate::key::{Key, PoolName};
use crate::pool::PoolState;
use crate::refusal::{Refusal, Why};
use crate::request::Request;

impl Allocator {
    /// What a request would get now. Details of the refusal are left to [`Allocator::explain`].
    pub(super) fn choose(&self, key: &Key, request: &Request) -> Result<Allocation, Refusal> {
        if !request.wanted.is_empty() {
            return self.choose_wanted(key, request);
        }
        if request.families == Families::Dual && request.policy == FamilyPolicy::SingleStack {
            return Err(Refusal::TwoForSingleStack);
        }
        match &request.pool {
            Some(pool) => self.choose_from(key, request, pool),
            None => self.choose_any(key, request),
        }
    }

    fn choose_wanted(&self, key: &Key, request: &Request) -> Result<Allocation, Refusal> {
        let wanted = &request.wanted;
        // Upstream: one address for a Service of two families is always refused (W20).
        let partial = request.policy == FamilyPolicy::PreferDualStack && wanted.len() == 1;
        let fits = match (request.families, Families::of(wanted)) {
            (_, None) => false,
            (Families::Dual, Some(Families::Single(_))) => partial,
            (own, Some(wanted)) => own == wanted,
        };
        if !fits {
            return Err(Refusal::Family {
                wanted: wanted.clone(),
                has: request.families,
            });
        }
        let pool = self.check(key, request, wanted)?;
        let mut ips = wanted.clone();
        if let (Families::Dual, [one], Some(state)) = (request.families, wanted.as_slice(), self.catalog.get(&pool)) {
            ips.extend(self.pick(state, Family::of(*one).other(), key, request));
            ips.sort_by_key(|ip| Family::of(*ip));
        }
        Ok(Allocation { pool, ips })
    }

    /// Tells which pool lets the Service have exactly these addresses.
    pub(super) fn check(&self, key: &Key, request: &Request, ips: &[IpAddr]) -> Result<PoolName, Refusal> {
        let pool = self.owner(ips)?;
        if request.pool.as_ref().is_some_and(|wanted| **wanted != *pool.name) {
            return Err(Refusal::PoolDisagrees {
                ips: ips.to_vec(),
                pool: request.pool.clone().unwrap_or_default(),
            });
        }
        if !pool.allows(&request.namespace, &request.labels) {
            return Err(Refusal::PoolNotCompatible(pool.name.clone()));
        }
        for ip in ips {
            self.fits(*ip, key, request)?;
        }
        Ok(pool.name.clone())
    }

    fn owner(&self, ips: &[IpAddr]) -> Result<&PoolState, Refusal> {
        let refusal = |why: String| Refusal::NotInConfig {
            ips: ips.to_vec(),
            why: Some(why),
        };
        let mut owner: Option<&PoolState> = None;
        for ip in ips {
            let none = || match self.catalog.avoiding(*ip) {
                Some(pool) => {
                    format!("pool {pool} has {ip}, which its avoidBuggyIPs excludes, as all that end in .0 or .255")
                }
                None => format!("no pool gives {ip}"),
            };
            let (pool, _) = self.catalog.locate(*ip).ok_or_else(|| refusal(none()))?;
            match owner {
                Some(first) if first.name != pool.name => {
                    return Err(refusal(format!("pools {} and {} have one each", first.name, pool.name)));
                }
                _ => owner = Some(pool),
            }
        }
        owner.ok_or_else(|| refusal("no address is given".to_owned()))
    }

    /// The rules of sharing, for one address.
    pub(super) fn fits(&self, ip: IpAddr, key: &Key, request: &Request) -> Result<(), Refusal> {
        let Some(holder) = self.holders.get(&ip) else {
            return Ok(());
        };
        if holder.users.iter().all(|user| user == key) {
            return Ok(());
        }
        if holder.sharing.is_none() || holder.sharing != request.sharing {
            return Err(in_use(holder, ip, key, request));
        }
        let taken = |port: &&_| holder.port_user(**port).is_some_and(|user| user != key);
        match request.ports.iter().find(taken) {
            Some(port) => Err(Refusal::PortInUse { ip, port: *port }),
            None => Ok(()),
        }
    }

    fn choose_from(&self, key: &Key, request: &Request, name: &str) -> Result<Allocation, Refusal> {
        let pool = self
            .catalog
            .get(name)
            .ok_or_else(|| Refusal::UnknownPool(name.to_owned()))?;
        if !pool.allows(&request.namespace, &request.labels) {
            return Err(Refusal::PoolNotCompatible(pool.name.clone()));
        }
        let chosen = self.choose_among(&[pool].into_iter(), key, request);
        chosen.ok_or_else(|| Refusal::Pool {
            pool: pool.name.clone(),
            dual: request.families == Families::Dual && request.policy == FamilyPolicy::RequireDualStack,
            why: lack(pool, request),
        })
    }

    fn choose_any(&self, key: &Key, request: &Request) -> Result<Allocation, Refusal> {
        // Who holds nothing and shares nothing needs a free address.
        let fresh = request.sharing.is_none() && request.prefer.is_empty() && !self.held.contains_key(key);
        let generic = || match fresh {
            true => self.choose_among(&self.catalog.generic_with_room(request.families), key, request),
            false => self.choose_among(&self.catalog.generic(), key, request),
        };
        // What is in use stays, whichever pool comes first: all of it, or with a second family from its pool.
        let home = self.at_home(key, request);
        if let Some(home) = home.as_ref().filter(|home| is_complete(home, request)) {
            return Ok(home.clone());
        }
        let found = self.choose_among(&self.pinned(request), key, request).or_else(generic);
        // Else it makes room for a pair alone.
        let found = match (found, home) {
            (Some(found), _) if is_complete(&found, request) => Some(found),
            (_, Some(home)) if request.policy == FamilyPolicy::PreferDualStack => Some(home),
            (found, _) => found,
        };
        found.ok_or_else(|| Refusal::Exhausted(Vec::new()))
    }

    /// What a Service would have that keeps what it can of what it held before: that, and the second family from the same
    /// pool.
    fn at_home(&self, key: &Key, request: &Request) -> Option<Allocation> {
        let may_stay = |ip: &&IpAddr| {
            let family = Family::of(**ip);
            request.families.includes(family) && self.check(key, request, &[**ip]).is_ok()
        };
        let stays = *request.prefer.iter().find(may_stay)?;
        let pool = self.catalog.locate(stays)?.0;
        let mut ips = vec![stays];
        if request.families == Families::Dual {
            ips.extend(self.pick(pool, Family::of(stays).other(), key, request));
            ips.sort_by_key(|ip| Family::of(*ip));
        }
        let name = pool.name.clone();
        Some(Allocation { pool: name, ips })
    }

    pub(super) fn pinned<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = &'a PoolState> + Clone {
        let pools = self.catalog.pinned(&request.namespace);
        pools.filter(|pool| pool.allows(&request.namespace, &request.labels))
    }

    /// The pools that a request without wanted addresses may be served from.
    pub(super) fn candidates<'a>(&'a self, request: &'a Request) -> Vec<&'a PoolState> {
        match &request.pool {
            Some(name) => self.catalog.get(name).into_iter().collect(),
            None => self.pinned(request).chain(self.catalog.generic()).collect(),
        }
    }

    /// Chooses from pools in order of preference: both families before one, the primary before the other.
    fn choose_among<'a>(
        &'a self,
        pools: &(impl Iterator<Item = &'a PoolState> + Clone),
        key: &Key,
        request: &Request,
    ) -> Option<Allocation> {
        let made = |pool: &PoolState, ips| Allocation {
            pool: pool.name.clone(),
            ips,
        };
        // A Service that has to change stays in its pool if it can.
        let home = request.prefer.iter().find_map(|ip| self.pool_of(*ip));
        let is_home = |pool: &&PoolState| home.as_ref() == Some(&pool.name);
        let at_home = home.iter().flat_map(|_| pools.clone().filter(is_home));
        let away = pools.clone().filter(|pool| !is_home(pool));
        let (mut primary, mut secondary) = (None, None);
        for pool in at_home.chain(away) {
            match self.has_for(pool, key, request) {
                Offer::Nothing => {}
                Offer::All(ips) => return Some(made(pool, ips)),
                Offer::One(ip) => {
                    let place = if Family::of(ip) == request.primary {
                        &mut primary
                    } else {
                        &mut secondary
                    };
                    place.get_or_insert_with(|| made(pool, vec![ip]));
                }
            }
        }
        let single = primary.or(secondary);
        single.filter(|_| request.policy == FamilyPolicy::PreferDualStack)
    }

    /// What a pool has for a request.
    pub(super) fn has_for(&self, pool: &PoolState, key: &Key, request: &Request) -> Offer {
        let pick = |family| self.pick(pool, family, key, request);
        match request.families {
            Families::Single(family) => pick(family).map_or(Offer::Nothing, |ip| Offer::All(vec![ip])),
            Families::Dual => match (pick(Family::V4), pick(Family::V6)) {
                (Some(v4), Some(v6)) => Offer::All(vec![v4, v6]),
                (None, None) => Offer::Nothing,
                (Some(ip), None) | (None, Some(ip)) => Offer::One(ip),
            },
        }
    }

    /// The address of a family to take from a pool: one held before, one of the own sharing
    /// group, or else the first free one.
    ///
    /// Upstream: a free address below the group's wins over it, so that sharing saves nothing (W13).
    pub(super) fn pick(&self, pool: &PoolState, family: Family, key: &Key, request: &Request) -> Option<IpAddr> {
        if !pool.has(family) {
            return None;
        }
        let own = self.held(key).into_iter().flat_map(|own| &own.ips);
        let mut before = own.chain(&request.prefer).filter(|ip| Family::of(**ip) == family);
        let usable = |ip: &&IpAddr| {
            let owner = self.catalog.locate(**ip).map(|(owner, _)| &owner.name);
            owner == Some(&pool.name) && self.fits(**ip, key, request).is_ok()
        };
        if let Some(ip) = before.find(usable) {
            return Some(*ip);
        }
        let group = request.sharing.as_ref();
        let joined = group.and_then(|sharing| {
            let mut group = pool.joinable(family, sharing);
            group.find(|ip| self.fits(*ip, key, request).is_ok())
        });
        joined.or_else(|| pool.first_free(family))
    }

    /// Adds to a refusal what every pool lacks.
    pub(super) fn explain(&self, refusal: Refusal, request: &Request) -> Refusal {
        let Refusal::Exhausted(_) = refusal else {
            return refusal;
        };
        let pools = self.catalog.by_name();
        Refusal::Exhausted(
            pools
                .iter()
                .map(|pool| (pool.name.clone(), why_not(pool, request)))
                .collect(),
        )
    }
}

/// What a pool has for a request.
pub(super) enum Offer {
    /// No address of a family that is asked for.
    Nothing,
    /// One address where two are asked for.
    One(IpAddr),
    /// An address of each family that is asked for, IPv4 first.
    All(Vec<IpAddr>),
}

/// Tells whether this is all that a request can have.
fn is_complete(allocation: &Allocation, request: &Request) -> bool {
    request.families != Families::Dual || allocation.ips.len() == 2
}

impl Holder {
    pub(super) fn port_user(&self, port: crate::request::Port) -> Option<&Key> {
        let at = self.ports.binary_search_by(|(own, _)| own.cmp(&port)).ok()?;
        self.ports.get(at).map(|(_, user)| user)
    }
}

fn in_use(holder: &Holder, ip: IpAddr, key: &Key, request: &Request) -> Refusal {
    let why = match (&holder.sharing, &request.sharing) {
        (None, None) => format!("neither shares {ip}"),
        (None, Some(_)) => format!("{ip} is not shared by its user"),
        (Some(_), None) => format!("the service does not share {ip}"),
        (Some(a), Some(b)) if a.key == b.key => format!("the Pods behind {ip} differ"),
        (Some(_), Some(_)) => format!("{ip} is shared under another key"),
    };
    Refusal::InUse {
        service: key.to_string(),
        users: holder
            .users
            .iter()
            .filter(|user| *user != key)
            .map(|user| user.service_behind(PROMISED).to_owned())
            .collect(),
        why: Some(why),
    }
}

pub(super) fn why_not(pool: &PoolState, request: &Request) -> Why {
    if !pool.spec.auto_assign {
        return Why::AutoAssignOff;
    }
    if !pool.allows(&request.namespace, &request.labels) {
        return Why::NotAllowed;
    }
    lack(pool, request)
}

/// The family that a pool cannot give, knowing that it does not give enough.
pub(super) fn lack(pool: &PoolState, request: &Request) -> Why {
    let needed = Family::ALL
        .into_iter()
        .filter(|family| request.families.includes(*family));
    let mut missing = needed.clone().filter(|family| !pool.has(*family));
    let any = needed.clone().any(|family| pool.has(family));
    let required = request.policy == FamilyPolicy::RequireDualStack || !any;
    if let Some(family) = missing.next().filter(|_| required) {
        return match pool.avoids_all(family) {
            true => Why::Avoided(family),
            false => Why::NoAddresses(family),
        };
    }
    let full = needed.clone().filter(|family| pool.has(*family));
    let full = full.clone().find(|family| pool.first_free(*family).is_none());
    Why::Full(full.unwrap_or(request.primary))
}
