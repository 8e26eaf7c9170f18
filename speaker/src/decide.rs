//! The loop around the engine: events go in, effects are carried out.

use std::collections::BTreeSet;

use anyhow::Result;
use metallb_dataplane::l2;
use metallb_engine::{Claim, Conflict, Engine, Event, Links, Mac};
use metallb_runtime::tasks::until;
use tokio::sync::{mpsc, watch};

use crate::data_plane::DataPlane;
use crate::drain::Drain;
use crate::failovers::{self, Failovers};
use crate::fast::{self, FastPath};
use crate::inputs::{Inputs, News};
use crate::inspect::Question;
use crate::membership::Membership as Members;
use crate::shell::Shell;
use crate::{backend, sessions};

/// Feeds events to the engine and carries out its effects. Ends with the watches, after the stop signal.
pub(crate) async fn decide(
    mut engine: Engine,
    mut inputs: Inputs,
    mut members: Members,
    mut drain: Drain,
    shell: Shell,
    data_plane: DataPlane,
    mut questions: mpsc::Receiver<Question>,
) -> Result<()> {
    let (mut known, mut usable) = (data_plane.l2.interfaces(), data_plane.l2.usable_interfaces());
    let (mut conflicts, mut claims_ended) = (data_plane.l2.conflicts(), data_plane.l2.claims_ended());
    let mut sessions = data_plane.bgp.sessions();
    let mut failovers = Failovers::new(data_plane.l2.clone(), data_plane.members.clone());
    let membership = data_plane.members.is_some();
    let mut fast = FastPath::new(data_plane.members, data_plane.l2);
    loop {
        let mut returned = false;
        // Every arm is cancel-safe.
        let events = tokio::select! {
            news = inputs.next() => match news {
                Some(news) => {
                    // Before the peers and routes, so that a node that is already drained announces nothing.
                    if let Some(standing) = news.standing {
                        data_plane.departure.hear(standing);
                        shell.show(drain.hear(std::time::Instant::now(), standing));
                    }
                    digest(news, &shell, &members)
                }
                None => return Ok(()),
            },
            news = members.next() => {
                returned = news.returned;
                news.events
            }
            news = fast.next() => match news {
                fast::News::Suspects(suspects) => {
                    vec![Event::Suspects(suspects.names), Event::Unaware(suspects.unaware)]
                }
                fast::News::Question(question) => {
                    fast.ask(&engine, question);
                    continue;
                }
                fast::News::Found(found) => {
                    fast.found(&engine, found);
                    continue;
                }
            },
            Some(question) = questions.recv() => {
                // The request may have timed out meanwhile.
                let _ = question.send(engine.standings().collect());
                continue;
            }
            () = until(drain.next_deadline()) => {
                shell.show(drain.tick(std::time::Instant::now()));
                continue;
            }
            frame = failovers.next() => {
                failovers.end(frame, &shell.metrics);
                continue;
            }
            Ok(()) = known.changed() => links(&mut known, &mut usable, &mut members),
            Ok(()) = usable.changed() => links(&mut known, &mut usable, &mut members),
            // A conflict that was missed is reported again while it lasts.
            Ok(conflict) = conflicts.recv() => {
                shell.records.claimed(&conflict);
                let conflict = Conflict {
                    ip: conflict.ip,
                    interface: conflict.interface,
                    mac: Mac(conflict.mac.0),
                    claim: claim(conflict.report),
                };
                vec![Event::Conflict(conflict)]
            }
            Ok(ip) = claims_ended.recv() => vec![Event::ClaimsEnded(ip)],
            Ok(()) = sessions.changed() => vec![Event::Uncarried(backend::uncarried(&sessions.borrow_and_update()))],
        };
        if let Some(Event::Interfaces(links)) = events.first() {
            fast.has_links(links);
        }
        let (cause, noticed) = (failovers::cause(&events, membership), std::time::Instant::now());
        shell.metrics.updated(events.len());
        let mut effects = engine.handle_all(events);
        effects.extend(engine.handle_all(members.review(engine.may_own())));
        failovers.begin(&effects, cause, noticed);
        shell.perform(effects);
        fast.watch(&mut engine);
        if returned {
            // By now the addresses that another node took back have been released.
            shell.l2.reannounce();
        }
    }
}

fn claim(report: l2::Report) -> Claim {
    match report {
        l2::Report::First => Claim::First,
        l2::Report::Repeated => Claim::Repeated,
        l2::Report::Confirmed => Claim::Confirmed,
    }
}

type Names = watch::Receiver<BTreeSet<String>>;

/// The interfaces as events; none before the first scan.
fn links(known: &mut Names, usable: &mut Names, members: &mut Members) -> Vec<Event> {
    let links = Links {
        known: known.borrow_and_update().clone(),
        usable: usable.borrow_and_update().clone(),
    };
    if links.known.is_empty() {
        return Vec::new();
    }
    let mut events = vec![Event::Interfaces(links)];
    events.extend(members.links());
    events
}

fn digest(news: News, shell: &Shell, members: &Members) -> Vec<Event> {
    for kind in news.ready {
        shell.health.ready(kind);
    }
    for event in &news.events {
        if let Event::Resources(resources) = event {
            shell.peer_uids.send_replace(sessions::uids(resources));
        }
    }
    if let (Some(peers), Some(handle)) = (news.peers, members.handle()) {
        handle.set_peers(peers);
    }
    news.events
}
