//! Objects of a cluster. Only `list` is called, and never for Secrets.

use std::fmt::Debug;

use anyhow::{Context, anyhow};
use futures::join;
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;

use super::{Failure, Wanted, now};
use crate::args::Global;
use crate::facts::{Facts, Read, Source};

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
    // Of all namespaces: where MetalLB runs is told by its objects.
    let (pods, deployments, daemon_sets) = join!(installed(&client), installed(&client), installed(&client));
    (facts.pods, facts.deployments, facts.daemon_sets) = (pods, deployments, daemon_sets);
    if let Read::Failed(text) = &facts.pods {
        return Err(Failure::Cluster(anyhow!("{server} {text}")));
    }
    if wanted != Wanted::Programs {
        configuration(&client, &mut facts).await;
    }
    if wanted == Wanted::Everything {
        (facts.services, facts.slices) = join!(services(&client), list(&client, ""));
    }
    Ok(facts)
}

async fn configuration(client: &Client, facts: &mut Facts) {
    (facts.nodes, facts.namespaces) = join!(list(client, ""), list(client, ""));
    (facts.pools, facts.address_pools, facts.communities) = join!(list(client, ""), list(client, ""), list(client, ""));
    (facts.l2_advertisements, facts.bgp_advertisements) = join!(list(client, ""), list(client, ""));
    (facts.peers, facts.bfd_profiles) = join!(list(client, ""), list(client, ""));
}

async fn config(global: &Global) -> anyhow::Result<Config> {
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
async fn installed<K>(client: &Client) -> Read<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    match list(client, "app=metallb").await {
        Read::Got(list) if list.is_empty() => self::list(client, "app.kubernetes.io/name=metallb").await,
        read => read,
    }
}

/// Those of type LoadBalancer; where the server does not select by type (before Kubernetes 1.31), all.
async fn services(client: &Client) -> Read<Service> {
    let params = ListParams::default().fields("spec.type=LoadBalancer");
    match pages(client, params).await {
        Err(kube::Error::Api(status)) if status.code == 400 => list(client, "").await,
        read => given(read),
    }
}

async fn list<K>(client: &Client, labels: &str) -> Read<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let params = ListParams::default();
    given(
        pages(
            client,
            if labels.is_empty() {
                params
            } else {
                params.labels(labels)
            },
        )
        .await,
    )
}

async fn pages<K>(client: &Client, params: ListParams) -> kube::Result<Vec<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
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
