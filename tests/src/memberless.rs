//! Layer 2 where speakers do not hear each other: the API server says which of them live.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Api;
use kube::api::{Patch, PatchParams};
use metallb_api::MetalLB;
use metallb_test_support::{Inside, Lab, Options, Steps};
use serde_json::json;

use crate::Outcome;
use crate::faults::wait_for;
use crate::path::announced;

const NAMESPACE: &str = "metallb-system";

/// L2-33: a node that dies loses its address once Kubernetes has found out.
pub fn dead_node_loses_its_address(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &options).await?;
        let addresses = announced(&lab).await?;
        let steps = Steps::new(&lab);
        let metallb: Api<MetalLB> = Api::namespaced(lab.kube(), NAMESPACE);
        let off = json!({"spec": {"memberlist": {"enabled": false}}});
        metallb
            .patch("metallb", &PatchParams::default(), &Patch::Merge(off))
            .await?;
        let speakers: Api<DaemonSet> = Api::namespaced(lab.kube(), NAMESPACE);
        wait_for("speakers without membership", Duration::from_secs(120), async || {
            let speaker = speakers.get("speaker").await?;
            let spec = serde_json::to_string(&speaker.spec)?;
            let status = speaker.status.unwrap_or_default();
            Ok(!spec.contains("METALLB_ML_BIND_ADDR")
                && status.observed_generation == speaker.metadata.generation
                && status.updated_number_scheduled == Some(status.desired_number_scheduled)
                && status.number_ready == status.desired_number_scheduled)
        })
        .await?;
        let owner = steps.request(addresses.layer2).await?.via;
        let (_, reply) = steps.fail_over(&owner, addresses.layer2).await?;
        ensure!(reply.via != owner, "the dead {owner} answers");
        lab.stop().await;
        Ok(())
    })
}
