//! Objects of a cluster. Only `list` is called, and never for Secrets.

use std::fmt::Debug;

use anyhow::{Context, anyhow};
use futures::join;
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use metallb_api::names;
use serde::de::DeserializeOwned;

use super::{Failure, Wanted, now};
use crate::args::Global;
use crate::facts::{Facts, Read, Source};
use crate::world::{USUAL_NAMESPACE, namespace as namespace_of};

/// Objects in one answer.
const PAGE: u32 = 500;

/// Reads what a command looks at.
pub(super) async fn read(global: &Global, wanted: Wanted) -> Result<Facts, Failure> {
    let config = config(global).await.map_err(Failure::Cluster)?;
    let server = config.cluster_url.to_string();
    let namespace = Some(config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| Failure::Cluster(error.into()))?;
    let source = Source::Cluster(server.trim_end_matches('/').to_owned());
    let mut facts = Facts {
        now: now(),
        source,
        namespace,
        ..Facts::default()
    };
    configuration(&client, &mut facts).await;
    if let Read::Failed(text) = &facts.pools {
        return Err(Failure::Cluster(anyhow!("{server} {text}")));
    }
    let installed_in = namespace_of(&facts, global.metallb_namespace.as_deref());
    // Objects in several namespaces are an error that the report tells.
    let installed_in = installed_in.unwrap_or_else(|_| USUAL_NAMESPACE.to_owned());
    programs(&client, &installed_in, &mut facts).await;
    if wanted != Wanted::Programs {
        (facts.nodes, facts.namespaces) = join!(list(&client), list(&client));
    }
    if wanted == Wanted::Everything {
        (facts.services, facts.slices) = join!(services(&client), list(&client));
    }
    Ok(facts)
}

async fn configuration(client: &Client, facts: &mut Facts) {
    (facts.pools, facts.address_pools, facts.communities) = join!(list(client), list(client), list(client));
    (facts.l2_advertisements, facts.bgp_advertisements) = join!(list(client), list(client));
    (facts.peers, facts.bfd_profiles) = join!(list(client), list(client));
}

/// What runs, in MetalLB's namespace alone: people may look there who may not look everywhere.
async fn programs(client: &Client, namespace: &str, facts: &mut Facts) {
    let pods = installed(Api::namespaced(client.clone(), namespace));
    let deployments = installed(Api::namespaced(client.clone(), namespace));
    let daemon_sets = installed(Api::namespaced(client.clone(), namespace));
    (facts.pods, facts.deployments, facts.daemon_sets) = join!(pods, deployments, daemon_sets);
}

pub(crate) async fn config(global: &Global) -> anyhow::Result<Config> {
    let options = KubeConfigOptions {
        context: global.context.clone(),
        ..KubeConfigOptions::default()
    };
    let read = match &global.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &options).await
        }
        None if global.context.is_some() => Config::from_kubeconfig(&options).await,
        None => {
            return with_flags(
                Config::infer().await.context("no cluster is named by a kubeconfig")?,
                global,
            );
        }
    };
    with_flags(read.context("the kubeconfig names no cluster")?, global)
}

fn with_flags(mut config: Config, global: &Global) -> anyhow::Result<Config> {
    if let Some(user) = &global.user {
        config.auth_info.impersonate = Some(user.clone());
    }
    if !global.groups.is_empty() {
        config.auth_info.impersonate_groups = Some(global.groups.clone());
    }
    config.connect_timeout = Some(global.request_timeout);
    config.read_timeout = Some(global.request_timeout);
    Ok(config)
}

/// What an installation by manifests or operator has made, else by Helm.
async fn installed<K>(api: Api<K>) -> Read<K>
where
    K: Clone + DeserializeOwned + Debug,
{
    let labelled = |label: &str| ListParams::default().labels(label);
    match given(pages(&api, labelled(&format!("{}=metallb", names::LABEL_APP))).await) {
        Read::Got(list) if list.is_empty() => given(pages(&api, labelled("app.kubernetes.io/name=metallb")).await),
        read => read,
    }
}

/// Those of type LoadBalancer; where the server does not select by type (before Kubernetes 1.31), all.
async fn services(client: &Client) -> Read<Service> {
    let params = ListParams::default().fields("spec.type=LoadBalancer");
    match pages(&Api::all(client.clone()), params).await {
        Err(kube::Error::Api(status)) if status.code == 400 => list(client).await,
        read => given(read),
    }
}

async fn list<K>(client: &Client) -> Read<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    given(pages(&Api::all(client.clone()), ListParams::default()).await)
}

async fn pages<K>(api: &Api<K>, params: ListParams) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let (mut all, mut params) = (Vec::new(), params.limit(PAGE));
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn given<K>(read: kube::Result<Vec<K>>) -> Read<K> {
    match read {
        Ok(list) => Read::Got(list),
        Err(kube::Error::Api(status)) => match status.code {
            401 | 403 => Read::Denied(status.message.clone()),
            404 => Read::NotServed,
            _ => Read::Failed(status.message.clone()),
        },
        Err(error) => Read::Failed(format!("cannot be asked: {}", causes(&error))),
    }
}

/// An error with what it was caused by, which says more.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let own = cause.to_string();
        if !text.contains(&own) {
            text += &format!(": {own}");
        }
        next = cause.source();
    }
    text
}
