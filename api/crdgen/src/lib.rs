//! Makes the CustomResourceDefinitions from the types of `metallb-api`, and writes Kubernetes objects as YAML.
//!
//! The result is checked in at `manifests/crds.yaml`; `cargo run -p metallb-crdgen > manifests/crds.yaml` renews it.
//! Nothing here talks to a cluster.

mod frr_k8s;
mod normalise;
mod reference;
mod yaml;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionVersion, ServiceReference,
    WebhookClientConfig, WebhookConversion,
};
use kube::{CustomResourceExt, core::crd::merge_crds};
use metallb_api::{
    AddressPool, BFDProfile, BGPAdvertisement, Community, ConfigurationState, IPAddressPool, L2Advertisement, MetalLB,
    ServiceBGPStatus, ServiceL2Status, bgp_peer, names,
};

pub use frr_k8s::frr_k8s_crds;
pub use reference::reference;
pub use yaml::documents;

/// The kinds whose schema asks for a spec; of the others an object without one is valid.
const SPEC_REQUIRED: [&str; 2] = ["IPAddressPool", "AddressPool"];

/// Makes all definitions, in order of their names.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        address_pool(),
        BFDProfile::crd(),
        BGPAdvertisement::crd(),
        bgp_peer(),
        frr_k8s::session_state(),
        Community::crd(),
        ConfigurationState::crd(),
        IPAddressPool::crd(),
        L2Advertisement::crd(),
        MetalLB::crd(),
        ServiceBGPStatus::crd(),
        ServiceL2Status::crd(),
    ];
    for crd in &mut crds {
        finish(crd);
    }
    crds
}

/// Writes all definitions as one YAML stream.
pub fn yaml() -> anyhow::Result<String> {
    documents(&crds())
}

/// Fills in what the derives leave out.
fn finish(crd: &mut CustomResourceDefinition) {
    let names = &mut crd.spec.names;
    names.list_kind = Some(format!("{}List", names.kind));
    let spec_required = SPEC_REQUIRED.contains(&names.kind.as_str());
    for version in &mut crd.spec.versions {
        let schema = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut());
        normalise::root(schema.expect("every kind has a derived schema"), spec_required);
    }
}

/// AddressPool in both versions, which have one schema.
fn address_pool() -> CustomResourceDefinition {
    let mut crd = AddressPool::crd();
    let v1alpha1 = CustomResourceDefinitionVersion {
        name: "v1alpha1".to_owned(),
        storage: false,
        deprecation_warning: Some("metallb.io v1alpha1 AddressPool is deprecated".to_owned()),
        ..crd.spec.versions[0].clone()
    };
    crd.spec.versions.insert(0, v1alpha1);
    crd.spec.conversion = Some(CustomResourceConversion {
        strategy: "None".to_owned(),
        webhook: None,
    });
    crd
}

/// BGPPeer in both versions, converted by our webhook.
fn bgp_peer() -> CustomResourceDefinition {
    let versions = vec![bgp_peer::v1beta1::BGPPeer::crd(), bgp_peer::v1beta2::BGPPeer::crd()];
    let mut crd = merge_crds(versions, "v1beta2").expect("both versions are of one kind");
    crd.spec.versions.sort_by(|a, b| a.name.cmp(&b.name));
    crd.spec.conversion = Some(CustomResourceConversion {
        strategy: "Webhook".to_owned(),
        webhook: Some(WebhookConversion {
            // No caBundle: it is injected by whoever makes the certificate, under its own field manager.
            client_config: Some(WebhookClientConfig {
                service: Some(ServiceReference {
                    name: names::WEBHOOK_SERVICE.to_owned(),
                    namespace: names::DEFAULT_NAMESPACE.to_owned(),
                    path: Some(names::CONVERSION_PATH.to_owned()),
                    port: None,
                }),
                ..WebhookClientConfig::default()
            }),
            // Upstream: lists versions of the kind here, where versions of ConversionReview are meant.
            conversion_review_versions: vec!["v1".to_owned(), "v1beta1".to_owned()],
        }),
    });
    crd
}
