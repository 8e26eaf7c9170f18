//! The Deployments in the ClusterServiceVersion, and the images in them.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::PodSpec};
use metallb_manifests::Object;
use serde_json::{Value, json};

/// Where OLM puts certificates, and controller-runtime and we look for them.
const CERT_DIR: &str = "/tmp/k8s-webhook-server/serving-certs";

/// Leaves making and rotating certificates to OLM.
const NO_ROTATION: &str = "--disable-cert-rotation=true";

/// Lists the Deployments as OLM takes them.
pub(crate) fn deployments(objects: &[Object]) -> Vec<Value> {
    let all = objects.iter().filter_map(|object| match object {
        Object::Deployment(deployment) => Some(Deployment::clone(deployment)),
        _ => None,
    });
    all.map(|mut deployment| {
        let spec = deployment.spec.get_or_insert_default();
        leave_certificates(spec.template.spec.get_or_insert_default());
        let metadata = deployment.metadata;
        json!({ "name": metadata.name, "label": metadata.labels, "spec": deployment.spec })
    })
    .collect()
}

/// Takes our own certificate out, and tells the process so: OLM mounts its own at the same place.
fn leave_certificates(pod: &mut PodSpec) {
    let mut ours = Vec::new();
    for container in &mut pod.containers {
        let mounts = container.volume_mounts.get_or_insert_default();
        let before = mounts.len();
        mounts.retain(|mount| {
            let own = mount.mount_path == CERT_DIR;
            if own {
                ours.push(mount.name.clone());
            }
            !own
        });
        if mounts.len() < before {
            container.args.get_or_insert_default().push(NO_ROTATION.to_owned());
        }
        container.volume_mounts.take_if(|mounts| mounts.is_empty());
    }
    pod.volumes
        .get_or_insert_default()
        .retain(|volume| !ours.contains(&volume.name));
    pod.volumes.take_if(|volumes| volumes.is_empty());
}

/// Lists every image that runs, or that the operator is told to run, by what it is for: so mirrors have them all.
pub(crate) fn images(objects: &[Object]) -> BTreeMap<String, String> {
    let mut images = BTreeMap::new();
    for object in objects {
        let Object::Deployment(deployment) = object else {
            continue;
        };
        let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        for container in pod.iter().flat_map(|pod| &pod.containers) {
            if let Some(image) = &container.image {
                images.insert(container.name.clone(), image.clone());
            }
            for variable in container.env.iter().flatten() {
                if let (Some(name), Some(image)) = (variable.name.strip_suffix("_IMAGE"), &variable.value) {
                    images.insert(name.to_lowercase().replace('_', "-"), image.clone());
                }
            }
        }
    }
    images
}
