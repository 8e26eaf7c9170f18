//! The tasks of a speaker, from first to last.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, ResourceExt};
use metallb_api::names::event_source;
use metallb_api::{ServiceBGPStatus, ServiceL2Status};
use metallb_config::{Backend, Options, View};
use metallb_dataplane::l2::{self, L2Handle};
use metallb_dataplane::members::{self, MembersHandle};
use metallb_engine::{Claim, Conflict, Engine, Event, Failback, Links, Mac, Settings, TenureConfig};
use metallb_runtime::admin::{self, Authorizer, Health, MetricsOptions};
use metallb_runtime::events::Recorder;
use metallb_runtime::tasks::Tasks;
use metallb_runtime::{CancellationToken, client, namespace, start};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::args::{Args, Membership};
use crate::backend::{self, Bgp};
use crate::departure::Departure;
use crate::drain::Drain;
use crate::exclude;
use crate::failovers::{self, Failovers};
use crate::fast::{self, FastPath};
use crate::frr::{self, Teller};
use crate::inputs::{Inputs, KINDS, News, Speakers};
use crate::inspect;
use crate::key;
use crate::membership::{self, Membership as Members};
use crate::metrics::Metrics;
use crate::sessions;
use crate::shell::{FIRST_DECISIONS, Shell};
use crate::state;
use crate::status::{self, Owner};
use crate::timing;

/// All goodbyes must be said within the grace period of the Pod, which is 2 s in upstream's manifests.
const GRACE: Duration = Duration::from_millis(1800);
/// For telling the members and the BGP peers.
const GOODBYE: Duration = Duration::from_millis(400);
/// How long after the stop signal addresses are answered for, until their next owner is heard.
const HAND_OVER: Duration = Duration::from_millis(1500);

/// Runs the speaker until `stop`, then withdraws. Frames and sessions are the work of the runtime `data_plane`, all else is
/// that of the caller's.
///
/// # Errors
/// When it cannot start, or one of its tasks ends before the stop signal.
pub async fn run(args: Args, stop: CancellationToken, data_plane: &Handle) -> Result<()> {
    args.check()?;
    if let Some(note) = args.tls().note() {
        tracing::info!(event = "tlsSettings", note);
    }
    let namespace = namespace::discover(Some(&args.namespace))?;
    let excluded = exclude::read(Path::new(exclude::FILE))?;
    let mut membership = args.membership()?;
    if let (Some(membership), Some(timing)) = (&mut membership, timing::read(Path::new(timing::FILE))?) {
        membership.timing = timing;
    }
    let health = Health::waiting_for(KINDS.into_iter().chain([FIRST_DECISIONS]));
    let mut tasks = Tasks::new(stop.clone());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.health_probe_port));
    let (probes, ending) = (health.clone(), stop.clone());
    tasks.spawn("health", async move {
        Ok(admin::serve_health(address, probes, ending).await?)
    });

    let client = client::connect("metallb-speaker").await?;
    let pod = tasks.during(own_pod(&client, &namespace, &args.pod_name)).await;
    let Some(pod) = pod.transpose()? else {
        return Ok(tasks.join(GRACE).await?);
    };
    let spawner = tasks.spawner();
    let key = async {
        match &membership {
            Some(membership) => key::read(&client, &namespace, membership, &health, &spawner).await,
            None => Ok(None),
        }
    };
    let Some(key) = tasks.during(key).await else {
        return Ok(tasks.join(GRACE).await?);
    };
    let members = membership.as_ref().zip(Some(key?));
    let backend = args.backend()?;
    let tenure = membership::tenure(args.failback()?);
    let data_plane = {
        let _entered = data_plane.enter();
        DataPlane::start(&args, backend, excluded, members, tenure, &mut tasks)?
    };
    let owner = Owner {
        namespace: namespace.clone(),
        node: args.node_name.clone(),
        pod,
    };
    let metrics = Arc::new(Metrics::new(&args.node_name)?);
    metrics.add_data_plane(data_plane.l2.clone(), &data_plane.bgp)?;
    if let Some(members) = &data_plane.members {
        metrics.add_members(members.clone())?;
    }
    if let Some(address) = args.metrics_address() {
        let options = MetricsOptions {
            tls: args.tls(),
            cert_dir: Some(&args.metrics_cert_dir)
                .filter(|dir| !dir.is_empty())
                .map(Into::into),
            looking_glass: Some(inspect::routes(&data_plane.bgp, &args.node_name, &args.pod_name)),
            ..MetricsOptions::default()
        };
        let server = admin::serve_metrics(
            address,
            metrics.registry(),
            options,
            Authorizer::new(client.clone()),
            stop.clone(),
        );
        tasks.spawn("metrics", async move { Ok(server.await?) });
    }
    let (reports, report_reader) = watch::channel(None);
    let recorder = Recorder::new(client.clone(), event_source::SPEAKER, &args.node_name, &tasks.spawner());
    if let Some(members) = &data_plane.members {
        let (members, recorder, pod) = (members.clone(), recorder.clone(), owner.reference());
        let stop = stop.clone();
        tasks.spawn("membership key events", async move {
            let tell = |from| key::emit_mismatch(&recorder, &pod, from);
            stop.run_until_cancelled(key::tell_mismatches(members.key_mismatches(), tell))
                .await;
            Ok(())
        });
    }
    let (peer_uids, uids) = watch::channel(None);
    let (all_reports, all_reader) = watch::channel(None);
    let shell = Shell {
        node: args.node_name.clone(),
        l2: data_plane.l2.clone(),
        bgp: data_plane.bgp.clone(),
        recorder,
        l2_statuses: status::Desired::default(),
        bgp_statuses: status::Desired::default(),
        reports,
        peer_uids,
        metrics,
        health,
    };
    let told = match data_plane.bgp.frr() {
        Some(frr) => {
            let teller = Teller {
                reports: report_reader,
                all: all_reports,
                recorder: shell.recorder.clone(),
                metrics: Arc::clone(&shell.metrics),
                namespace: namespace.clone(),
                node: args.node_name.clone(),
            };
            let extras = frr::follow_extras(client.clone(), namespace.clone(), frr.clone(), tasks.spawner());
            tasks.spawn("FRR's problems", infallible(frr::tell(teller, frr.problems())));
            tasks.spawn("bgpextras", infallible(extras));
            all_reader
        }
        None => report_reader,
    };
    if let Some(source) = sessions::Source::new(&data_plane.bgp) {
        let (recorder, spawner) = (shell.recorder.clone(), tasks.spawner());
        let sessions = sessions::follow(client.clone(), owner.clone(), source, uids, recorder, spawner);
        tasks.spawn("BGPSessionState", infallible(sessions));
    }
    spawn_writers(&mut tasks, &client, &owner, &shell, told);
    let speakers = membership.map(|membership| Speakers {
        labels: membership.labels,
        node: args.node_name.clone(),
        port: membership.bind.port(),
    });
    let mut inputs = Inputs::start(&client, &namespace, speakers, &tasks.spawner());
    if tenure.failback == Failback::Never {
        inputs.follow_owners(&client, &namespace, &tasks.spawner());
    }
    let engine = Engine::new(settings(&args, backend, data_plane.members.is_some(), tenure.failback));
    let members = Members::new(&args.node_name, tenure, data_plane.members.clone(), &data_plane.l2);
    let drain = Drain::new(args.bgp.drain()?);
    tasks.spawn(
        "engine",
        decide(engine, inputs, members, drain, shell, data_plane.clone()),
    );
    tasks.spawn("goodbye", data_plane.goodbye(stop));
    tasks.join(GRACE).await?;
    info!(event = "stopped");
    Ok(())
}

fn settings(args: &Args, backend: Backend, membership: bool, failback: Failback) -> Settings {
    Settings {
        node: args.node_name.clone(),
        class: args.lb_class.clone(),
        ignore_exclude_label: args.ignore_exclude_lb,
        membership,
        failback,
        options: Options {
            backend,
            view: View::Load {
                node: Some(args.node_name.clone()),
            },
            ..Options::default()
        },
    }
}

/// Reads the Pod that owns our status objects; waits for an API server that cannot be reached.
async fn own_pod(client: &Client, namespace: &str, name: &str) -> Result<OwnerReference> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = start::ask(|| pods.get_metadata(name)).await;
    let pod = pod.with_context(|| format!("cannot read own pod {namespace}/{name}"))?;
    Ok(owner_reference(name, pod.uid()))
}

fn owner_reference(name: &str, uid: Option<String>) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: name.to_owned(),
        uid: uid.unwrap_or_default(),
        block_owner_deletion: None,
        controller: None,
    }
}

fn spawn_writers(
    tasks: &mut Tasks,
    client: &Client,
    owner: &Owner,
    shell: &Shell,
    reports: watch::Receiver<Option<metallb_engine::ConfigReport>>,
) {
    let spawner = || tasks.spawner();
    let l2 = status::write::<ServiceL2Status>(client.clone(), owner.clone(), shell.l2_statuses.clone(), spawner());
    let bgp = status::write::<ServiceBGPStatus>(client.clone(), owner.clone(), shell.bgp_statuses.clone(), spawner());
    let state = state::write(client.clone(), owner.clone(), reports, spawner());
    tasks.spawn("ServiceL2Status", infallible(l2));
    tasks.spawn("ServiceBGPStatus", infallible(bgp));
    tasks.spawn("ConfigurationState", infallible(state));
}

async fn infallible(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    Ok(())
}

/// The shells that talk to the network.
#[derive(Clone, Debug)]
struct DataPlane {
    l2: L2Handle,
    l2_stop: CancellationToken,
    bgp: Bgp,
    departure: Departure,
    members: Option<MembersHandle>,
    members_stop: CancellationToken,
}

impl DataPlane {
    /// Starts them as `tasks`; the membership comes with its key, if it has one.
    fn start(
        args: &Args,
        backend: Backend,
        excluded: regex::RegexSet,
        membership: Option<(&Membership, Option<Vec<u8>>)>,
        tenure: TenureConfig,
        tasks: &mut Tasks,
    ) -> Result<Self> {
        let (l2_stop, members_stop) = (CancellationToken::new(), CancellationToken::new());
        let (bgp, work) = Bgp::start(backend, args)?;
        tasks.spawn("BGP", work);
        let config = l2::Config {
            exclude: Arc::new(move |name| excluded.is_match(name)),
            garp_interval: args.garp_interval()?,
            check_before_announcing: args.l2_check_addresses,
        };
        let (l2, work) = l2::start(config, l2_stop.clone())?;
        tasks.spawn("layer 2", async { Ok(work.await?) });
        let members = match membership {
            Some((membership, key)) => {
                let config = members::Config {
                    node: args.node_name.clone(),
                    bind: membership.bind,
                    key,
                    timing: membership.timing.clone(),
                    fast: membership.fast,
                    metadata: membership::first_metadata(tenure),
                };
                let followed = membership.key_file.clone().zip(config.key.clone());
                let (members, work) = members::start(config, members_stop.clone())?;
                tasks.spawn("membership", async { Ok(work.await?) });
                if let Some((file, key)) = followed {
                    let (members, ending) = (members.clone(), members_stop.clone());
                    tasks.spawn("membership key", async move {
                        let follow = key::follow(&file, key, |keys| members.set_keys(keys));
                        ending.run_until_cancelled(follow).await;
                        Ok(())
                    });
                }
                Some(members)
            }
            None => {
                info!(
                    event = "memberlistDisabled",
                    "membership is off: speaker pods must run on all nodes"
                );
                None
            }
        };
        Ok(Self {
            l2,
            l2_stop,
            bgp,
            departure: Departure::new(&args.node_name),
            members,
            members_stop,
        })
    }

    /// Waits for `stop`, then says goodbye in the order that loses least traffic: the others take over as soon as they
    /// know that we leave, and until they are heard to do so we still answer.
    async fn goodbye(self, stop: CancellationToken) -> Result<()> {
        stop.cancelled().await;
        let end = Instant::now() + HAND_OVER;
        let routes = timeout(GOODBYE, self.bgp.shutdown(self.departure.farewell()));
        let addresses = async {
            let successors = self
                .members
                .as_ref()
                .is_some_and(|members| members.alive().borrow().len() > 1);
            // Before anybody knows that we leave: who takes over first must be heard.
            let handing_over = match successors {
                true => timeout(GOODBYE, self.l2.hand_over()).await.ok(),
                false => None,
            };
            self.members_stop.cancel();
            if let Some(members) = &self.members {
                let _ = timeout(GOODBYE, members.ended()).await;
            }
            if let Some(handing_over) = handing_over {
                handing_over.done(end.saturating_duration_since(Instant::now())).await;
            }
            self.l2_stop.cancel();
        };
        if tokio::join!(routes, addresses).0.is_err() {
            warn!(event = "shutdownIncomplete", "not every BGP peer could be told");
        }
        info!(event = "withdrawn", "nothing is announced any more");
        Ok(())
    }
}

/// Feeds the engine and carries out what it wants. Ends with the watches, which is after the stop signal.
async fn decide(
    mut engine: Engine,
    mut inputs: Inputs,
    mut members: Members,
    mut drain: Drain,
    shell: Shell,
    data_plane: DataPlane,
) -> Result<()> {
    let (mut known, mut usable) = (data_plane.l2.interfaces(), data_plane.l2.usable_interfaces());
    let (mut conflicts, mut claims_ended) = (data_plane.l2.conflicts(), data_plane.l2.claims_ended());
    let mut sessions = data_plane.bgp.sessions();
    let mut failovers = Failovers::new(data_plane.l2.clone(), data_plane.members.clone());
    let mut fast = FastPath::new(data_plane.members, data_plane.l2);
    loop {
        let mut returned = false;
        // Every arm is cancel-safe.
        let events = tokio::select! {
            news = inputs.next() => match news {
                Some(news) => {
                    // Before sessions hear of peers and routes: a node that is drained already announces nothing.
                    if let Some(standing) = data_plane.departure.hear(&news.standings) {
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
            () = until(drain.deadline()) => {
                shell.show(drain.tick(std::time::Instant::now()));
                continue;
            }
            frame = failovers.next() => {
                failovers.end(frame, &shell.metrics);
                continue;
            }
            Ok(()) = known.changed() => links(&mut known, &mut usable, &mut members),
            Ok(()) = usable.changed() => links(&mut known, &mut usable, &mut members),
            // One that was missed is told again as long as it lasts.
            Ok(conflict) = conflicts.recv() => vec![Event::Conflict(Conflict {
                ip: conflict.ip,
                interface: conflict.interface,
                mac: Mac(conflict.mac.0),
                claim: claim(conflict.report),
            })],
            Ok(ip) = claims_ended.recv() => vec![Event::ClaimsEnded(ip)],
            Ok(()) = sessions.changed() => vec![Event::Uncarried(backend::uncarried(&sessions.borrow_and_update()))],
        };
        if let Some(Event::Interfaces(links)) = events.first() {
            fast.has_links(links);
        }
        let (cause, noticed) = (failovers::cause(&events), std::time::Instant::now());
        shell.metrics.updated(events.len());
        let mut effects = engine.handle_all(events);
        effects.extend(engine.handle_all(members.review(engine.may_own())));
        failovers.begin(&effects, cause, noticed);
        shell.perform(effects);
        fast.watch(&mut engine);
        if returned {
            // What is another's again has been given up by now.
            shell.l2.reannounce();
        }
    }
}

/// Waits until then; for ever if there is nothing to wait for. Cancel-safe.
async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
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

/// What is known of the interfaces; nothing before the first scan.
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
