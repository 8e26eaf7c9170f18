//! Objects of a cluster. Only `list` is called here, and never for Secrets.

use std::fmt::Debug;

use anyhow::{Context, anyhow};
use futures::join;
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
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
    let client = Lister {
        client,
        // From memory: what is looked at again and again must not be a load.
        params: match wanted {
            Wanted::Status => ListParams::default().match_any(),
            _ => ListParams::default().limit(PAGE),
        },
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
        (facts.nodes, facts.namespaces) = join!(client.list(), client.list());
    }
    if matches!(wanted, Wanted::Everything | Wanted::Statuses) {
        facts.slices = client.list().await;
    }
    if !matches!(wanted, Wanted::Programs | Wanted::Configuration) {
        facts.services = client.services().await;
    }
    if matches!(wanted, Wanted::Statuses | Wanted::Status) {
        (facts.session_states, facts.l2_statuses, facts.config_states) =
            join!(client.list(), client.list(), client.list());
    }
    if wanted == Wanted::Status {
        let leases = Api::namespaced(client.client.clone(), &installed_in);
        facts.leases = given(pages(&leases, client.params.clone()).await);
    }
    if wanted == Wanted::Statuses {
        facts.bgp_statuses = client.list().await;
    }
    Ok(facts)
}

async fn configuration(client: &Lister, facts: &mut Facts) {
    (facts.pools, facts.address_pools, facts.communities) = join!(client.list(), client.list(), client.list());
    (facts.l2_advertisements, facts.bgp_advertisements) = join!(client.list(), client.list());
    (facts.peers, facts.bfd_profiles) = join!(client.list(), client.list());
}

/// What runs, in MetalLB's namespace alone: people may look there who may not look everywhere.
async fn programs(client: &Lister, namespace: &str, facts: &mut Facts) {
    let pods = client.installed(namespace);
    let deployments = client.installed(namespace);
    let daemon_sets = client.installed(namespace);
    (facts.pods, facts.deployments, facts.daemon_sets) = join!(pods, deployments, daemon_sets);
}

/// A client with the user's credentials.
pub(crate) async fn client(global: &Global) -> anyhow::Result<Client> {
    Ok(Client::try_from(config(global).await?)?)
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

/// Lists objects, all in the same way.
struct Lister {
    client: Client,
    params: ListParams,
}

impl Lister {
    /// What an installation by manifests or operator has made, else by Helm.
    async fn installed<K>(&self, namespace: &str) -> Read<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api = Api::namespaced(self.client.clone(), namespace);
        let labelled = |label: &str| self.params.clone().labels(label);
        match given(pages(&api, labelled(&format!("{}=metallb", names::LABEL_APP))).await) {
            Read::Got(list) if list.is_empty() => given(pages(&api, labelled("app.kubernetes.io/name=metallb")).await),
            read => read,
        }
    }

    /// Those of type LoadBalancer; where the server does not select by type (before Kubernetes 1.31), all.
    async fn services(&self) -> Read<Service> {
        let params = self.params.clone().fields("spec.type=LoadBalancer");
        match pages(&Api::all(self.client.clone()), params).await {
            Err(kube::Error::Api(status)) if status.code == 400 => self.list().await,
            read => given(read),
        }
    }

    async fn list<K>(&self) -> Read<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        given(pages(&Api::all(self.client.clone()), self.params.clone()).await)
    }
}

async fn pages<K>(api: &Api<K>, mut params: ListParams) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut all = Vec::new();
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
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
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
