//! The tasks of a speaker, from first to last.

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
use metallb_config::{Backend, Options, Secrets, View};
use metallb_engine::{Engine, Failback, Settings};
use metallb_runtime::admin::{self, Authorizer, Health, MetricsOptions};
use metallb_runtime::events::Recorder;
use metallb_runtime::tasks::Tasks;
use metallb_runtime::{CancellationToken, client, namespace, start};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tracing::info;

use crate::args::Args;
use crate::backend::Bgp;
use crate::data_plane::DataPlane;
use crate::decide::decide;
use crate::drain::Drain;
use crate::exclude;
use crate::frr::{self, Teller};
use crate::inputs::{Inputs, KINDS, Speakers};
use crate::inspect;
use crate::key;
use crate::membership::{self, Membership as Members};
use crate::metrics::{self, Metrics};
use crate::sessions;
use crate::shell::{FIRST_DECISIONS, Shell};
use crate::state;
use crate::status::{self, Owner};
use crate::timing;

/// All tasks must end within the grace period of the Pod, which is 2 s in upstream's manifests.
const GRACE: Duration = Duration::from_millis(1800);

/// Questions of the looking glass that may wait for the engine.
const QUESTIONS: usize = 8;

/// Runs the speaker until `stop`, then withdraws. Frames and sessions run on the runtime `data_plane`, all else on the
/// caller's.
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
    let Some((pod, controller)) = pod.transpose()? else {
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
    admin::register_process(&metrics.registry())?;
    metrics.add_data_plane(data_plane.l2.clone(), &data_plane.bgp)?;
    if let Some(members) = &data_plane.members {
        metrics.add_members(members.clone())?;
    }
    let (reports, report_reader) = watch::channel(None);
    let (engine_questions, questions) = mpsc::channel(QUESTIONS);
    let records = inspect::Records::default();
    if let Some(address) = args.metrics_address() {
        let sources = inspect::Sources {
            engine: engine_questions,
            l2: data_plane.l2.clone(),
            members: data_plane.members.clone(),
            records: records.clone(),
            reports: report_reader.clone(),
            flags: inspect::flags(&args),
        };
        let options = MetricsOptions {
            tls: args.tls(),
            cert_dir: Some(&args.metrics_cert_dir)
                .filter(|dir| !dir.is_empty())
                .map(Into::into),
            looking_glass: Some(inspect::routes(
                &data_plane.bgp,
                backend,
                &args.node_name,
                &args.pod_name,
                Some(sources),
            )),
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
        records,
        bgp: data_plane.bgp.clone(),
        recorder,
        l2_statuses: status::Desired::default(),
        bgp_statuses: status::Desired::default(),
        reports,
        peer_uids,
        metrics,
        health,
    };
    let configured = match &data_plane.bgp {
        Bgp::Native { .. } => None,
        Bgp::Frr(frr) => Some((frr.model(), frr.problems())),
        Bgp::FrrK8s(frr_k8s) => {
            let work = frr_k8s.clone();
            let work = work.work(client.clone(), args.frr_k8s(&namespace), tasks.spawner());
            tasks.spawn("FRRConfiguration", infallible(work));
            Some((frr_k8s.model(), frr_k8s.problems()))
        }
    };
    let told = match configured {
        Some((model, problems)) => {
            let teller = Teller {
                reports: report_reader,
                all: all_reports,
                recorder: shell.recorder.clone(),
                metrics: Arc::clone(&shell.metrics),
                namespace: namespace.clone(),
                node: args.node_name.clone(),
            };
            let extras = frr::follow_extras(client.clone(), namespace.clone(), model.clone(), tasks.spawner());
            tasks.spawn("FRR's problems", infallible(frr::tell(teller, problems)));
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
        port: membership.bind.port(),
    });
    let mut inputs = Inputs::start(&client, &namespace, &args.node_name, speakers, &tasks.spawner());
    if tenure.failback == Failback::Never {
        inputs.follow_owners(&client, &namespace, &tasks.spawner());
    }
    let controller = controller.filter(|_| data_plane.members.is_none());
    let members_are_known = data_plane.members.is_some() || controller.is_some();
    if let Some(controller) = controller {
        inputs.follow_candidates(&client, &namespace, controller, &tasks.spawner());
    }
    let engine = Engine::new(settings(&args, &namespace, backend, members_are_known, tenure.failback));
    let members = Members::new(&args.node_name, tenure, data_plane.members.clone(), &data_plane.l2);
    let drain = Drain::new(args.bgp.drain()?);
    tasks.spawn(
        "engine",
        decide(engine, inputs, members, drain, shell, data_plane.clone(), questions),
    );
    tasks.spawn("goodbye", data_plane.goodbye(stop));
    tasks.join(GRACE).await?;
    info!(event = "stopped");
    Ok(())
}

fn settings(args: &Args, namespace: &str, backend: Backend, membership: bool, failback: Failback) -> Settings {
    Settings {
        node: args.node_name.clone(),
        class: args.lb_class.clone(),
        ignore_exclude_label: args.ignore_exclude_lb,
        membership,
        failback,
        options: Options {
            backend,
            secrets: match args.frrk8s_secret_passthrough && args.frr_k8s_namespace(namespace) != namespace {
                true => Secrets::Elsewhere,
                false => Secrets::Read,
            },
            view: View::Load {
                node: Some(args.node_name.clone()),
            },
            ..Options::default()
        },
    }
}

/// Reads the Pod that owns our status objects, and the UID of its controller; waits for an API server that cannot be
/// reached.
async fn own_pod(client: &Client, namespace: &str, name: &str) -> Result<(OwnerReference, Option<String>)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = start::ask(|| pods.get_metadata(name)).await;
    let pod = pod.with_context(|| format!("cannot read own pod {namespace}/{name}"))?;
    let controller = pod
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    Ok((
        owner_reference(name, pod.uid()),
        controller.map(|owner| owner.uid.clone()),
    ))
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
    let metric = metrics::follow(Arc::clone(&shell.metrics), reports.clone());
    let state = state::write(client.clone(), owner.clone(), reports, spawner());
    tasks.spawn("ServiceL2Status", infallible(l2));
    tasks.spawn("ServiceBGPStatus", infallible(bgp));
    tasks.spawn("configuration metrics", infallible(metric));
    tasks.spawn("ConfigurationState", infallible(state));
}

async fn infallible(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    Ok(())
}
