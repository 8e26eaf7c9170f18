//! The choices of `metallb-lab` with real Kubernetes among them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use metallb_lab::cli::Clusters;
use metallb_lab::{Inside, Launch, Role};

use crate::envtest::Kubernetes;
use crate::image::image;
use crate::kind::ClusterKind;
use crate::lab::{Lab, Options};
use crate::real::{self, Proxy};

/// What the cluster is made of.
#[derive(Clone, Debug, Args)]
pub struct OnKubernetes {
    /// What the cluster is made of: a real control plane with imitated nodes, or real nodes; or all of it in this process.
    /// Go builds the real programs once, or KUBEBUILDER_ASSETS names them.
    #[arg(long, value_enum, default_value_t)]
    cluster: Kind,
    /// Which Kubernetes `--cluster envtest` is; the newest when not given.
    #[arg(long, value_enum)]
    kubernetes: Option<Kubernetes>,
    /// What kube-proxy forwards with on real nodes; iptables when not given.
    #[arg(long, value_enum)]
    proxy: Option<Proxy>,
    /// The image for real nodes, an OCI archive; built as the Dockerfile does when not given.
    #[arg(long)]
    image: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Kind {
    Embedded,
    Envtest,
    #[default]
    Real,
}

impl OnKubernetes {
    fn kind(&self) -> Result<ClusterKind> {
        match (self.cluster, self.kubernetes, self.proxy) {
            (Kind::Embedded, None, None) => Ok(ClusterKind::Embedded),
            (Kind::Envtest, version, None) => Ok(ClusterKind::Envtest(version)),
            (Kind::Real, None, proxy) => Ok(ClusterKind::Real(proxy.unwrap_or_default())),
            (Kind::Embedded | Kind::Real, Some(_), _) => bail!("--kubernetes is for --cluster envtest"),
            (_, _, Some(_)) => bail!("--proxy is for --cluster real"),
        }
    }
}

impl Clusters for OnKubernetes {
    fn entry() -> Result<Role> {
        crate::entry()
    }

    fn launch(launch: Launch) -> Result<ExitCode> {
        crate::launch(launch)
    }

    fn prepare(&self, dir: &Path, foreign: bool) -> Result<Vec<String>> {
        let kind = self.kind()?;
        let real = matches!(kind, ClusterKind::Real(_));
        ensure!(real || self.image.is_none(), "--image is for --cluster real");
        ensure!(
            !real || !foreign,
            "--bin-dir is for imitated nodes: real ones run an image, see --image"
        );
        kind.prepare()?;
        if !real {
            return Ok(Vec::new());
        }
        real::refuse_place(dir)?;
        if self.image.is_some() {
            return Ok(Vec::new());
        }
        let image = image()?;
        let path = image.to_str().context("the image's path is no text")?;
        Ok(vec!["--image".into(), path.into()])
    }

    fn start<'a>(
        &'a self,
        inside: Inside,
        options: &'a metallb_lab::Options,
    ) -> LocalBoxFuture<'a, Result<metallb_lab::Lab>> {
        async {
            let options = Options {
                cluster: self.kind()?,
                image: self.image.clone(),
                ..options.clone().into()
            };
            Ok(Lab::start(inside, &options).await?.lab)
        }
        .boxed_local()
    }
}
