//! One pod: network and volumes, then containers, then the end.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ServiceAccount};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Agent;
use super::container::Job;
use super::environment::{Place, environment, expand};
use super::status::{Observed, Progress, report};
use super::volumes::{ACCOUNT_PATH, Content, Files, content, write};
use crate::net::Netns;
use crate::sandbox::{Bind, Root, Spec, User};

/// A day: longer than a lab lives.
const TOKEN_SECONDS: i64 = 86_400;
/// How soon something that must exist first is looked for again, without any change seen.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Runs `pod` until `stop`, then removes it from the API; after a power-off nothing is told to anybody.
pub(crate) async fn run(agent: Arc<Agent>, pod: Arc<Pod>, stop: CancellationToken) {
    let (state, observed) = watch::channel(Observed {
        containers: waiting(&pod),
        ..Observed::default()
    });
    let life = async {
        Life {
            agent: &agent,
            pod: &pod,
            dir: agent.shared.dir.join("pods").join(pod.uid().unwrap_or_default()),
            state,
        }
        .live(&stop)
        .await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(life, report(&agent, &pod, observed)) } => {}
        () = agent.power_off.cancelled() => {
            // `life` kills its processes on the same signal, but is dropped here in any case: kill_on_drop.
            return;
        }
    }
    if pod.metadata.deletion_timestamp.is_some() || still_there(&agent, &pod) {
        remove(&agent, &pod).await;
    }
}

fn still_there(agent: &Agent, pod: &Pod) -> bool {
    let uid = pod.uid().unwrap_or_default();
    agent
        .shared
        .cluster
        .pod(&pod.namespace().unwrap_or_default(), &pod.name_any(), &uid)
        .is_some()
}

async fn remove(agent: &Agent, pod: &Pod) {
    let api: Api<Pod> = Api::namespaced(
        agent.shared.cluster.client.clone(),
        &pod.namespace().unwrap_or_default(),
    );
    let exactly = Preconditions {
        uid: pod.uid(),
        resource_version: None,
    };
    let params = DeleteParams {
        preconditions: Some(exactly),
        ..DeleteParams::default().grace_period(0)
    };
    if let Err(error) = api.delete(&pod.name_any(), &params).await {
        tracing::debug!(pod = pod.name_any(), %error, "cannot remove the ended pod");
    }
}

fn waiting(pod: &Pod) -> Vec<Progress> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let progress = |container: &Container| Progress {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        ..Progress::default()
    };
    containers.map(progress).collect()
}

struct Life<'a> {
    agent: &'a Agent,
    pod: &'a Pod,
    dir: PathBuf,
    state: watch::Sender<Observed>,
}

/// What a pod stands on while its containers run.
struct Ground {
    place: Place,
    netns: Netns,
    pod_ip: Ipv4Addr,
}

impl Life<'_> {
    async fn live(self, stop: &CancellationToken) {
        let Some(spec) = &self.pod.spec else { return };
        let prepared = tokio::select! {
            prepared = self.prepare(spec) => prepared,
            () = stop.cancelled() => return,
        };
        match prepared {
            Ok((ground, jobs)) => {
                self.contain(spec, &ground, jobs, stop).await;
                self.clean_up(spec, &ground);
            }
            Err(error) => {
                self.wait_because("CreateContainerError", &format!("{error:#}"));
                stop.cancelled().await;
            }
        }
    }

    async fn prepare(&self, spec: &PodSpec) -> Result<(Ground, Vec<Job>)> {
        let ground = self.ground(spec).await?;
        self.state
            .send_modify(|observed| observed.pod_ip = Some(ground.pod_ip.to_string()));
        fs::create_dir_all(&self.dir)?;
        let account = self.account(spec).await;
        let mut changes = self.agent.shared.cluster.changes();
        loop {
            match self.jobs(spec, &ground, account.as_ref()) {
                Ok(jobs) => return Ok((ground, jobs)),
                Err(Obstacle::Missing(what)) => self.wait_because("ContainerCreating", &what),
                Err(Obstacle::Image(message)) => self.wait_because("ErrImagePull", &message),
                Err(Obstacle::Failed(error)) => return Err(error),
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()).await;
        }
    }

    async fn ground(&self, spec: &PodSpec) -> Result<Ground> {
        let node = &self.agent.net;
        let (netns, pod_ip) = if spec.host_network == Some(true) {
            (node.netns.clone(), node.address)
        } else {
            let address = self.agent.take_address().context("the node has no pod address left")?;
            let id = format!("pod-{}", self.pod.uid().unwrap_or_default());
            (
                node.add_pod(&self.agent.shared.dir.join("netns"), &id, address).await?,
                address,
            )
        };
        let place = Place {
            node: node.name.clone(),
            host_ip: node.address.to_string(),
            pod_ip: pod_ip.to_string(),
            api: self.agent.shared.api,
        };
        Ok(Ground { place, netns, pod_ip })
    }

    /// The files of the service account; none when the pod does not want them or has none.
    async fn account(&self, spec: &PodSpec) -> Option<Files> {
        if spec.automount_service_account_token == Some(false) {
            return None;
        }
        let namespace = self.pod.namespace()?;
        let name = spec.service_account_name.as_deref().unwrap_or("default");
        let api: Api<ServiceAccount> = Api::namespaced(self.agent.shared.cluster.client.clone(), &namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                // As a kubelet asks: the token dies with the pod.
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: self.pod.metadata.name.clone(),
                    uid: self.pod.uid(),
                }),
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let token = loop {
            match api.create_token_request(name, &PostParams::default(), &request).await {
                Ok(answer) => break answer.status?.token,
                Err(_) if name == "default" => return None,
                Err(error) => self.wait_because("ContainerCreating", &format!("service account {name}: {error}")),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        if let Some(door) = &self.agent.shared.door {
            door.learn(&token, self.pod, &self.agent.net.name);
        }
        let file = |text: &str| (text.as_bytes().to_vec(), 0o644);
        let ca = file(&self.agent.shared.ca);
        Some(Files::from([
            ("token".into(), file(&token)),
            ("ca.crt".into(), ca),
            ("namespace".into(), file(&namespace)),
        ]))
    }

    fn jobs(&self, spec: &PodSpec, ground: &Ground, account: Option<&Files>) -> Result<Vec<Job>, Obstacle> {
        self.write_volumes(spec, ground, account)?;
        let hosts = format!("127.0.0.1 localhost\n{} {}\n", ground.pod_ip, self.pod.name_any());
        fs::write(self.dir.join("hosts"), hosts).map_err(anyhow::Error::from)?;
        let init = spec.init_containers.iter().flatten();
        init.chain(&spec.containers)
            .map(|container| self.job(spec, container, ground, account.is_some()))
            .collect()
    }

    fn write_volumes(&self, spec: &PodSpec, ground: &Ground, account: Option<&Files>) -> Result<(), Obstacle> {
        let group = self.group(spec);
        for volume in spec.volumes.iter().flatten() {
            let dir = self.volume(&volume.name);
            match content(self.pod, volume, &ground.place, &self.agent.shared.cluster).map_err(Obstacle::Missing)? {
                Content::Files(files) => write(&dir, &files, group),
                Content::Host(path) => fs::create_dir_all(dir.parent().unwrap_or(&dir))
                    .and_then(|()| std::os::unix::fs::symlink(path, &dir).or(Ok(()))),
                Content::Scratch => scratch(&dir, group),
            }
            .with_context(|| format!("cannot write volume {}", volume.name))?;
        }
        if let Some(files) = account {
            write(&self.volume("kube-api-access"), files, group).context("cannot write the service account")?;
        }
        Ok(())
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.dir.join("volumes").join(name)
    }

    /// The group that the pod's volumes belong to, if it asks for one and groups exist.
    fn group(&self, spec: &PodSpec) -> Option<u32> {
        let group = spec.security_context.as_ref()?.fs_group?;
        u32::try_from(group).ok().filter(|_| self.agent.shared.many_users)
    }

    /// The user to run as: the container's, the pod's or the image's; none where only one user exists.
    fn user(&self, spec: &PodSpec, container: &Container, image: Option<(u32, u32)>) -> Result<Option<User>> {
        if !self.agent.shared.many_users {
            return Ok(None);
        }
        let user = effective_user(spec, container, image)?;
        Ok((user.uid != 0).then_some(user))
    }

    fn job(&self, spec: &PodSpec, container: &Container, ground: &Ground, account: bool) -> Result<Job, Obstacle> {
        let shared = &self.agent.shared;
        let program = shared.programs.find(container).map_err(Obstacle::Image)?;
        let environment =
            environment(self.pod, container, &ground.place, &shared.cluster).map_err(Obstacle::Missing)?;
        let args = container.args.iter().flatten();
        let command = program
            .command
            .iter()
            .chain(args)
            .map(|word| expand(word, &environment).into())
            .collect();
        let mut binds: Vec<Bind> = program.mounts().collect();
        binds.push(Bind {
            from: self.dir.join("hosts"),
            to: "/etc/hosts".into(),
            read_only: true,
        });
        binds.extend(self.mounts(container, account));
        let root = self.dir.join(format!("root-{}", container.name));
        fs::create_dir_all(&root).map_err(anyhow::Error::from)?;
        let security = container.security_context.as_ref();
        let host_network = spec.host_network == Some(true);
        let spec_ = Spec {
            netns: Some(ground.netns.path().into()),
            hostname: Some(if host_network {
                ground.place.node.clone()
            } else {
                self.pod.name_any()
            }),
            root: Some(Root {
                dir: root,
                binds,
                writable: security.and_then(|security| security.read_only_root_filesystem) != Some(true),
            }),
            user: self.user(spec, container, program.user)?,
            capabilities: capabilities(container),
            command,
        };
        Ok(Job {
            index: spec
                .containers
                .iter()
                .position(|one| one.name == container.name)
                .unwrap_or(usize::MAX),
            container: container.clone(),
            spec: spec_,
            environment,
            log: self.log(container),
            node: self.agent.net.netns.clone(),
            pod_ip: IpAddr::V4(ground.pod_ip),
            grace: Duration::from_secs(
                spec.termination_grace_period_seconds
                    .unwrap_or(30)
                    .max(0)
                    .unsigned_abs(),
            ),
            state: self.state.clone(),
            stop: CancellationToken::new(),
            power_off: self.agent.power_off.clone(),
        })
    }

    fn mounts(&self, container: &Container, account: bool) -> Vec<Bind> {
        let listed = container.volume_mounts.iter().flatten().map(|mount| {
            let folder = self.volume(&mount.name);
            let sub = mount.sub_path.as_deref().filter(|sub| !sub.is_empty());
            Bind {
                from: sub.map_or_else(|| folder.clone(), |sub| folder.join(sub)),
                to: mount.mount_path.clone().into(),
                read_only: mount.read_only == Some(true),
            }
        });
        let account = account.then(|| Bind {
            from: self.volume("kube-api-access"),
            to: ACCOUNT_PATH.into(),
            read_only: true,
        });
        let mut all: Vec<Bind> = listed.chain(account).collect();
        // A folder must be there before what is mounted inside of it.
        all.sort_by_key(|bind| bind.to.components().count());
        nest(&all);
        all
    }

    fn log(&self, container: &Container) -> PathBuf {
        let pod = &self.pod.metadata;
        let (namespace, name) = (pod.namespace.as_deref().unwrap_or_default(), self.pod.name_any());
        self.agent
            .shared
            .dir
            .join("logs")
            .join(format!("{namespace}_{name}_{}.log", container.name))
    }

    async fn contain(&self, spec: &PodSpec, ground: &Ground, jobs: Vec<Job>, stop: &CancellationToken) {
        let init = spec.init_containers.as_ref().map_or(0, Vec::len);
        let jobs: Vec<Job> = jobs
            .into_iter()
            .map(|job| Job {
                stop: stop.clone(),
                ..job
            })
            .collect();
        let (first, then) = jobs.split_at(init.min(jobs.len()));
        for job in first {
            while !job.complete().await {
                if stop.is_cancelled() || self.agent.power_off.is_cancelled() {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        self.state.send_modify(|observed| observed.initialized = true);
        let containers = futures::future::join_all(then.iter().map(Job::run));
        tokio::select! {
            _ = containers => {}
            () = self.keep_volumes(spec, ground) => {}
        }
    }

    /// Writes changed Secrets and ConfigMaps for ever.
    async fn keep_volumes(&self, spec: &PodSpec, ground: &Ground) {
        let cluster = &self.agent.shared.cluster;
        let mut changes = cluster.changes();
        let mut written: BTreeMap<String, Files> = BTreeMap::new();
        loop {
            for volume in spec.volumes.iter().flatten() {
                let Ok(Content::Files(files)) = content(self.pod, volume, &ground.place, cluster) else {
                    continue;
                };
                if written.get(&volume.name).is_some_and(|old| *old != files) {
                    let _ = write(&self.volume(&volume.name), &files, self.group(spec));
                }
                written.insert(volume.name.clone(), files);
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn clean_up(&self, spec: &PodSpec, ground: &Ground) {
        if spec.host_network != Some(true) {
            self.agent.return_address(ground.pod_ip);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }

    fn wait_because(&self, reason: &str, message: &str) {
        self.state.send_if_modified(|observed| {
            let why = Some((reason.to_owned(), message.to_owned()));
            let changed = observed.containers.iter().any(|container| container.waiting != why);
            observed
                .containers
                .iter_mut()
                .for_each(|container| container.waiting.clone_from(&why));
            changed
        });
    }
}

/// Why a pod cannot start yet.
enum Obstacle {
    Missing(String),
    Image(String),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Obstacle {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes the mount points of volumes inside of other volumes, which may be read-only afterwards.
fn nest(binds: &[Bind]) {
    for (at, inner) in binds.iter().enumerate() {
        for outer in &binds[..at] {
            if let Ok(rest) = inner.to.strip_prefix(&outer.to) {
                // What fails here fails again at the mount, with a message.
                let _ = fs::create_dir_all(outer.from.join(rest));
            }
        }
    }
}

fn scratch(dir: &std::path::Path, group: Option<u32>) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
    chown(dir, None, group)
}

/// Who a kubelet would run the container as.
fn effective_user(spec: &PodSpec, container: &Container, image: Option<(u32, u32)>) -> Result<User> {
    let (own, pod) = (container.security_context.as_ref(), spec.security_context.as_ref());
    let asked = own.and_then(|own| own.run_as_user).or_else(|| pod?.run_as_user);
    let group = own.and_then(|own| own.run_as_group).or_else(|| pod?.run_as_group);
    let non_root = own.and_then(|own| own.run_as_non_root).or_else(|| pod?.run_as_non_root);
    let (uid, gid) = match asked {
        Some(uid) => (u32::try_from(uid)?, 0),
        None => image.unwrap_or((0, 0)),
    };
    ensure!(
        uid != 0 || non_root != Some(true),
        "container {} has runAsNonRoot and would run as root",
        container.name
    );
    let groups = pod.and_then(|pod| pod.fs_group).map(u32::try_from).transpose()?;
    Ok(User {
        uid,
        gid: group.map_or(Ok(gid), u32::try_from)?,
        groups: groups.into_iter().collect(),
    })
}

fn capabilities(container: &Container) -> Option<Vec<String>> {
    let security = container.security_context.clone().unwrap_or_default();
    if security.privileged == Some(true) {
        return None;
    }
    let asked = security.capabilities.unwrap_or_default();
    Some(crate::capabilities::resolve(
        &asked.add.unwrap_or_default(),
        &asked.drop.unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext};

    const IMAGE: Option<(u32, u32)> = Some((65534, 65534));

    #[test]
    fn a_container_runs_as_its_image_says_unless_told_otherwise() {
        let (mut spec, mut container) = (PodSpec::default(), Container::default());
        let uid = |spec: &PodSpec, container: &Container| effective_user(spec, container, IMAGE).unwrap().uid;
        assert_eq!(uid(&spec, &container), 65534);
        spec.security_context = Some(PodSecurityContext {
            run_as_user: Some(1000),
            ..PodSecurityContext::default()
        });
        assert_eq!(uid(&spec, &container), 1000);
        container.security_context = Some(SecurityContext {
            run_as_user: Some(0),
            ..SecurityContext::default()
        });
        assert_eq!(uid(&spec, &container), 0);
    }

    #[test]
    fn root_is_refused_where_the_pod_forbids_it() {
        let spec = PodSpec {
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        };
        assert!(effective_user(&spec, &Container::default(), None).is_err());
        assert!(effective_user(&spec, &Container::default(), IMAGE).is_ok());
    }
}
