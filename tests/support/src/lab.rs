//! The lab on any kind of cluster, with what only tests ask of it.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use metallb_lab::platform::{ControlPlane as _, Door, Nodes, Parts};
use metallb_lab::{API_ADDRESS, Families, Inside, Programs, RouterKind, prepare_ground};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::envtest::{self, Envtest};
use crate::faults::{FAULTS_ADDRESS, Faults};
use crate::harness::judge_until_now;
use crate::kind::{ClusterKind, NODES_VERSION};
use crate::real::{self, RealNodes};

/// What a lab consists of.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes.
    pub nodes: u8,
    /// Which router.
    pub router: RouterKind,
    /// What the pods run.
    pub programs: Programs,
    /// How long after a node died the control plane notices; 40 s on a real cluster.
    pub node_monitor_grace: Duration,
    /// What it is made of.
    pub cluster: ClusterKind,
    /// Whether the pods reach it through the fault proxy, see [`Lab::faults`]; not on real nodes.
    pub faults: bool,
    /// The product's image as an OCI archive, for real nodes.
    pub image: Option<PathBuf>,
    /// The addresses of real nodes.
    pub families: Families,
}

impl Options {
    /// Three nodes with those programs, and any router.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        metallb_lab::Options::new(programs).into()
    }
}

impl From<metallb_lab::Options> for Options {
    fn from(options: metallb_lab::Options) -> Self {
        Self {
            nodes: options.nodes,
            router: options.router,
            programs: options.programs,
            node_monitor_grace: options.node_monitor_grace,
            cluster: ClusterKind::Embedded,
            faults: false,
            image: None,
            families: Families::default(),
        }
    }
}

/// A running lab; what it has in common with the lab's own is behind [`Deref`].
pub struct Lab {
    pub(crate) lab: metallb_lab::Lab,
    dir: PathBuf,
    faults: Option<Faults>,
    nodes: Option<Arc<RealNodes>>,
    audit_log: Option<PathBuf>,
    /// Ends the proxy with the lab.
    _stop: DropGuard,
}

impl Deref for Lab {
    type Target = metallb_lab::Lab;

    fn deref(&self) -> &metallb_lab::Lab {
        &self.lab
    }
}

impl Lab {
    /// Starts everything, in the namespaces that [`crate::launch`] entered.
    ///
    /// # Errors
    /// When something is missing; the message says what, and how to mend it.
    pub async fn start(inside: Inside, options: &Options) -> Result<Self> {
        let Inside { dir, listener, .. } = inside;
        let real = matches!(options.cluster, ClusterKind::Real(_));
        ensure!(
            !real || !options.faults,
            "the fault proxy is for imitated nodes: the pods of real ones do not go through it"
        );
        let topology = prepare_ground(&dir, options.nodes, real.then_some(options.families)).await?;
        let names: Vec<String> = topology.nodes.iter().map(|node| node.name.clone()).collect();
        let (mut nodes, mut audit_log) = (None, None);
        let control_plane = match options.cluster {
            ClusterKind::Embedded => metallb_lab::embedded(&dir, listener).await?,
            ClusterKind::Envtest(version) => {
                audit_log = Some(envtest::audit_log(&dir));
                Box::new(Envtest::start(&dir, listener, version, &[], Families::Both).await?)
            }
            ClusterKind::Real(proxy) => {
                audit_log = Some(envtest::audit_log(&dir));
                let plane = Envtest::start(&dir, listener, NODES_VERSION, &names, options.families).await?;
                let parts = real::Parts {
                    dir: &dir,
                    programs: &plane.programs,
                    proxy,
                    families: options.families,
                    product: options.image.as_deref().context("no image for real nodes")?,
                    lab: &options.programs.lab,
                    kubeconfig: &|who| envtest::kubeconfig_of(&dir, who),
                };
                nodes = Some(Arc::new(RealNodes::start(&parts, &topology, &plane.client()).await?));
                Box::new(plane)
            }
        };
        let stop = CancellationToken::new();
        let faults = match options.faults {
            true => Some(Faults::start(FAULTS_ADDRESS, API_ADDRESS, control_plane.ca(), stop.clone()).await?),
            false => None,
        };
        let parts = Parts {
            control_plane,
            nodes: nodes.clone().map(|nodes| nodes as Arc<dyn Nodes>),
            door: faults.clone().map(|faults| Arc::new(faults) as Arc<dyn Door>),
        };
        let common = metallb_lab::Options {
            nodes: options.nodes,
            router: options.router,
            programs: options.programs.clone(),
            node_monitor_grace: options.node_monitor_grace,
        };
        Ok(Self {
            lab: metallb_lab::Lab::assemble(dir.clone(), topology, parts, &common).await?,
            dir,
            faults,
            nodes,
            audit_log,
            _stop: stop.drop_guard(),
        })
    }

    /// The proxy between the pods and the API server, if [`Options::faults`] asked for it.
    #[must_use]
    pub fn faults(&self) -> Option<&Faults> {
        self.faults.as_ref()
    }

    /// What service accounts asked a real API server for: lines of JSON, as [`crate::audit`] reads them.
    #[must_use]
    pub fn audit_log(&self) -> Option<&Path> {
        self.audit_log.as_deref()
    }

    /// Lets requests of the product be refused from now on: an uninstall takes its rights before its pods have ended.
    ///
    /// # Errors
    /// When that cannot be noted.
    pub fn end_of_rights(&self) -> Result<()> {
        judge_until_now(&self.dir)
    }

    /// Gives the product's image another name on all real nodes, too.
    ///
    /// # Errors
    /// When there are no real nodes, or containerd refuses.
    pub async fn tag_image(&self, name: &str, other: &str) -> Result<()> {
        let nodes = self.nodes.as_ref().context("images are on real nodes only")?;
        nodes.tag(name, other).await
    }

    /// Puts FRR onto all real nodes, as the image `name`: the machine's packages, laid out as FRR's own image is.
    ///
    /// # Errors
    /// When there are no real nodes, FRR is not installed, or containerd refuses.
    pub async fn import_frr(&self, name: &str) -> Result<()> {
        let nodes = self.nodes.as_ref().context("images are on real nodes only")?;
        nodes.import_frr(name, &self.dir.join("frr.tar")).await
    }

    /// Stops pods in order, then everything else.
    pub async fn stop(self) {
        self.lab.stop().await;
    }
}
