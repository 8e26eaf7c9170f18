//! The objects that the operator and the installers want, as pure functions.
//!
//! [`desired`] turns a MetalLB resource and the operator's environment into the objects of a running MetalLB;
//! [`install::objects`] lists what has to exist before the first MetalLB resource. Nothing here talks to a
//! cluster, and nothing knows what exists there: that is compared by whoever applies the objects.
//!
//! ```
//! use metallb_api::MetalLBSpec;
//! use metallb_manifests::{Environment, desired};
//!
//! let images = ["CONTROLLER_IMAGE", "SPEAKER_IMAGE"].map(|name| (name, "example.com/metallb:v1"));
//! let environment = Environment::from_variables(|name| match name {
//!     "OPERATOR_NAMESPACE" => Some("metallb-system".to_owned()),
//!     name => images.iter().find(|(image, _)| *image == name).map(|(_, value)| value.to_string()),
//! })?;
//! let objects = desired(&MetalLBSpec::default(), &environment)?;
//! assert!(objects.iter().any(|object| object.to_string() == "DaemonSet/speaker"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
mod architecture;
mod backend;
mod config;
mod context;
mod controller;
mod custom;
mod environment;
mod frr;
mod frr_k8s;
mod image;
pub mod install;
mod monitoring;
mod network;
mod notes;
mod object;
mod openshift;
mod overrides;
mod platform;
mod pod;
mod refusal;
pub mod rights;
mod speaker;
mod strategy;

use metallb_api::{BgpBackend, MetalLBSpec, names};

use context::{Context, Door};

pub use architecture::ARCHITECTURES;
pub use backend::{EffectiveBackend, Origin};
pub use custom::Custom;
pub use environment::{Environment, EnvironmentError, Monitors, Ports, TlsSettings};
pub use image::{Image, ImageError};
pub use monitoring::{alerts::own_alerts, dashboard::dashboard};
pub use notes::notes;
pub use object::Object;
pub use platform::Platform;
pub use refusal::Refusal;

/// The label by which the operator finds what it once deployed, to remove what is no longer wanted.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "metallb-operator");

/// Lists what has to exist for a MetalLB resource, in the order of application.
///
/// What pods mount comes before the pods, and webhook configurations come last, when their servers are on the way.
///
/// # Errors
/// Says why the resource cannot be deployed as it is.
pub fn desired(spec: &MetalLBSpec, environment: &Environment) -> Result<Vec<Object>, Refusal> {
    let context = Context::new(spec, environment, Door::Operator)?;
    let mut objects = operands(&context);
    overrides::apply(&mut objects, &spec.overrides)?;
    for object in &mut objects {
        object.manage(&environment.namespace);
    }
    Ok(objects)
}

fn operands(context: &Context<'_>) -> Vec<Object> {
    let mut objects: Vec<Object> = vec![
        config::annotated_account(names::CONTROLLER, context.controller()).into(),
        config::annotated_account(names::SPEAKER, context.speaker()).into(),
    ];
    objects.extend(config::exclude_l2(context).map(Object::from));
    if context.is_openshift() {
        objects.push(openshift::speaker_constraints(context.backend).into());
    }
    match context.backend {
        BgpBackend::Frr => objects.push(frr::startup::config_map(frr::startup::SPEAKER).into()),
        BgpBackend::FrrK8s => objects.extend(frr_k8s::objects(context)),
        BgpBackend::Native | BgpBackend::FrrK8sExternal => {}
    }
    if context.door == Door::Operator && context.has_network_policies() {
        objects.push(network::controller(context).into());
    }
    objects.extend(monitoring::objects(context));
    objects.extend(controller::disruption_budget(context).map(Object::from));
    objects.push(controller::deployment(context).into());
    objects.push(speaker::daemon_set(context).into());
    if context.backend == BgpBackend::FrrK8s {
        objects.push(frr_k8s::webhook_configuration(context));
    }
    objects
}

#[cfg(test)]
mod tests;
