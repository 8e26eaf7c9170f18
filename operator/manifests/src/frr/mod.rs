//! The containers that run FRR, beside the speaker or in frr-k8s.

pub(crate) mod startup;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EnvVar, HTTPGetAction, PodSpec, Probe, ResourceRequirements, SecurityContext, Volume,
        VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use metallb_api::names;

use crate::{
    Image,
    context::Context,
    openshift,
    pod::{NOBODY, READABLE, ROOT, config_map_volume, empty_volume, env, mount, port, running_as},
};

/// What FRR needs: to set routes and addresses, raw sockets, namespaces of VRFs, and port 179.
pub(crate) const CAPABILITIES: [&str; 4] = ["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "NET_BIND_SERVICE"];

/// The user and group frr of FRR's image.
const FRR_USER: (i64, i64) = (100, 101);

/// Where the files are that speaker, reloader and exporter share.
const RELOADER_DIR: &str = "/etc/frr_reloader";
const METRICS_DIR: &str = "/etc/frr_metrics";
const CONF_DIR: &str = "/etc/frr";
const SOCKETS_DIR: &str = "/var/run/frr";

/// What differs between the two places where FRR runs.
pub(crate) struct Stack<'a> {
    pub(crate) context: &'a Context<'a>,
    /// The image with the tools that are copied into FRR's containers.
    pub(crate) tools: &'a Image,
    /// Makes the command that copies a tool into a folder.
    pub(crate) copy: fn(tool: &str, folder: &str) -> Vec<String>,
    /// The ConfigMap with the files to start with.
    pub(crate) startup: &'static str,
    /// The port of the exporter.
    pub(crate) metrics_port: u16,
    /// Whether pods have a certificate for their metrics.
    pub(crate) certificate: bool,
}

/// Variables by which whoever renders configurations finds the reloader.
pub(crate) fn speaker_variables() -> [EnvVar; 2] {
    [
        env("FRR_CONFIG_FILE", format!("{RELOADER_DIR}/frr.conf")),
        env("FRR_RELOADER_PID_FILE", format!("{RELOADER_DIR}/reloader.pid")),
    ]
}

/// Puts FRR beside the speaker.
pub(crate) fn attach(pod: &mut PodSpec, context: &Context<'_>) {
    let stack = Stack {
        context,
        tools: &context.environment.speaker_image,
        copy: |tool, folder| vec!["/cp-tool".to_owned(), format!("/{tool}"), format!("{folder}/{tool}")],
        startup: names::FRR_STARTUP_CONFIG_MAP,
        metrics_port: context.environment.ports.frr_metrics,
        certificate: context.has_metrics_certificate(),
    };
    stack.attach(pod);
}

impl Stack<'_> {
    /// Adds containers and volumes to a pod whose first container renders configurations.
    pub(crate) fn attach(&self, pod: &mut PodSpec) {
        pod.share_process_namespace = Some(true);
        if let Some(first) = pod.containers.first_mut() {
            first
                .volume_mounts
                .get_or_insert_default()
                .push(mount("reloader", RELOADER_DIR, false));
        }
        pod.init_containers.get_or_insert_default().extend(self.copies());
        let mut frr = self.frr();
        // FRR is asked as often as whoever renders its configuration, and is given time to start.
        let asked = pod.containers.first().and_then(|first| first.liveness_probe.clone());
        frr.liveness_probe = Some(self.probe(&asked.unwrap_or_default()));
        frr.startup_probe = Some(self.probe(&Probe {
            failure_threshold: Some(30),
            period_seconds: Some(5),
            ..Probe::default()
        }));
        pod.containers.extend([frr, self.reloader(), self.metrics()]);
        pod.volumes.get_or_insert_default().extend(self.volumes());
    }

    fn volumes(&self) -> Vec<Volume> {
        let mut volumes = vec![config_map_volume("frr-startup", self.startup, READABLE, None)];
        let shared = [
            "frr-sockets",
            "frr-conf",
            "reloader",
            "metrics",
            "frr-tmp",
            "frr-lib",
            "frr-log",
        ];
        volumes.extend(shared.map(empty_volume));
        volumes
    }

    fn copies(&self) -> Vec<Container> {
        let script = format!("cp -rLf /tmp/frr/* {CONF_DIR}/");
        let files = Container {
            security_context: Some(running_as(FRR_USER.0, Some(FRR_USER.1))),
            ..self.init("cp-frr-files", &self.context.frr_image(), shell(script))
        };
        vec![
            mounting(files, &[("frr-startup", "/tmp/frr"), ("frr-conf", CONF_DIR)]),
            self.copy("cp-reloader", "frr-reloader.sh", "reloader", RELOADER_DIR),
            self.copy("cp-metrics", "frr-metrics", "metrics", METRICS_DIR),
        ]
    }

    /// An init container that copies a tool into a volume.
    pub(crate) fn copy(&self, name: &str, tool: &str, volume: &str, folder: &str) -> Container {
        let container = Container {
            security_context: Some(running_as(NOBODY, None)),
            ..self.init(name, self.tools, (self.copy)(tool, folder))
        };
        mounting(container, &[(volume, folder)])
    }

    fn init(&self, name: &str, image: &Image, command: Vec<String>) -> Container {
        let resources = self.context.sidecar(|config| config.init_containers.as_ref());
        self.container(name, image, command, resources)
    }

    fn container(
        &self,
        name: &str,
        image: &Image,
        command: Vec<String>,
        resources: Option<ResourceRequirements>,
    ) -> Container {
        Container {
            name: name.to_owned(),
            image: Some(image.to_string()),
            command: Some(command),
            resources,
            ..Container::default()
        }
    }

    fn frr(&self) -> Container {
        let command = ["/sbin/tini", "--", "/usr/lib/frr/docker-start"]
            .map(str::to_owned)
            .into();
        let resources = self.context.sidecar(|config| config.frr.as_ref());
        let container = Container {
            env: Some(vec![env("TINI_SUBREAPER", "true")]),
            security_context: Some(SecurityContext {
                capabilities: Some(Capabilities {
                    add: Some(CAPABILITIES.map(str::to_owned).into()),
                    drop: None,
                }),
                ..enclosed()
            }),
            ..self.container("frr", &self.context.frr_image(), command, resources)
        };
        mounting(
            container,
            &[
                ("frr-sockets", SOCKETS_DIR),
                ("frr-conf", CONF_DIR),
                ("frr-tmp", "/var/tmp/frr"),
                ("frr-lib", "/var/lib/frr"),
            ],
        )
    }

    fn reloader(&self) -> Container {
        let command = vec![format!("{RELOADER_DIR}/frr-reloader.sh")];
        let resources = self.context.sidecar(|config| config.reloader.as_ref());
        let container = Container {
            security_context: Some(enclosed()),
            ..self.container("reloader", &self.context.frr_image(), command, resources)
        };
        mounting(
            container,
            &[
                ("frr-sockets", SOCKETS_DIR),
                ("frr-conf", CONF_DIR),
                ("reloader", RELOADER_DIR),
                ("frr-log", "/var/log/frr"),
            ],
        )
    }

    fn metrics(&self) -> Container {
        let mut args = vec![
            format!("--metrics-port={}", self.metrics_port),
            // Upstream's word for both families: a Go program listens on `[::]` then.
            "--metrics-bind-address=0.0.0.0".to_owned(),
        ];
        if self.certificate {
            let dir = openshift::METRICS_DIR;
            args.push(format!("--tls-cert-file={dir}/tls.crt"));
            args.push(format!("--tls-private-key-file={dir}/tls.key"));
        }
        args.extend(self.context.tls().args());
        let command = vec![format!("{METRICS_DIR}/frr-metrics")];
        let resources = self.context.sidecar(|config| config.frr_metrics.as_ref());
        let container = Container {
            args: Some(args),
            env: Some(vec![env("VTYSH_HISTFILE", "/dev/null")]),
            ports: Some(vec![port("frrmetricshttps", self.metrics_port, "TCP")]),
            security_context: Some(enclosed()),
            ..self.container("frr-metrics", &self.context.frr_image(), command, resources)
        };
        let mut mounts = vec![
            ("frr-sockets", SOCKETS_DIR),
            ("frr-conf", CONF_DIR),
            ("metrics", METRICS_DIR),
        ];
        if self.certificate {
            mounts.push((openshift::METRICS_VOLUME, openshift::METRICS_DIR));
        }
        mounting(container, &mounts)
    }

    /// The container of frr-k8s that reports the state of FRR.
    pub(crate) fn status(&self, args: Vec<String>, variables: Vec<EnvVar>) -> Container {
        let command = vec!["/etc/frr_status/frr-status".to_owned()];
        let resources = self.context.sidecar(|config| config.frr_status.as_ref());
        let container = Container {
            args: Some(args),
            env: Some(variables),
            security_context: Some(enclosed()),
            ..self.container("frr-status", &self.context.frr_image(), command, resources)
        };
        mounting(
            container,
            &[
                ("frr-sockets", SOCKETS_DIR),
                ("frr-conf", CONF_DIR),
                ("frr-status", "/etc/frr_status"),
            ],
        )
    }

    /// Asks the exporter whether FRR's daemons run, with the times of another probe.
    fn probe(&self, times: &Probe) -> Probe {
        Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/livez".to_owned()),
                port: IntOrString::Int(self.metrics_port.into()),
                scheme: Some("HTTPS".to_owned()),
                ..HTTPGetAction::default()
            }),
            ..times.clone()
        }
    }
}

fn shell(script: String) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), script]
}

/// Root, but with no way to more rights and no writing to the image.
///
/// FRR's image names no user, so that its programs are root's, and each needs to be: the daemons for what they are
/// added, the reloader to be signalled by a speaker without capabilities over others, and whoever asks the daemons for
/// the socket of watchfrr, which is root's.
pub(crate) fn enclosed() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_user: Some(ROOT),
        ..SecurityContext::default()
    }
}

fn mounting(mut container: Container, mounts: &[(&str, &str)]) -> Container {
    let mounts: Vec<VolumeMount> = mounts.iter().map(|(name, path)| mount(name, path, false)).collect();
    container.volume_mounts = Some(mounts);
    container
}
