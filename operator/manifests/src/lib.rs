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

mod config;
mod controller;
mod environment;
mod image;
pub mod install;
mod object;
mod pod;
mod refusal;
mod speaker;

use metallb_api::{BgpBackend, MetalLBSpec};

pub use environment::{Environment, EnvironmentError, Ports, TlsSettings};
pub use image::{Image, ImageError};
pub use object::Object;
pub use refusal::Refusal;

/// The label by which the operator finds what it once deployed, to remove what is no longer wanted.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "metallb-operator");

/// Lists what has to exist for a MetalLB resource, in the order of application.
///
/// The speaker comes last, so that the ConfigMaps that it mounts are there when its pods start.
///
/// # Errors
/// Says why the resource cannot be deployed as it is.
pub fn desired(spec: &MetalLBSpec, environment: &Environment) -> Result<Vec<Object>, Refusal> {
    match spec.backend()? {
        BgpBackend::Native => Ok(native(spec, environment)),
        backend => Err(Refusal::UnsupportedBackend(backend)),
    }
}

fn native(spec: &MetalLBSpec, environment: &Environment) -> Vec<Object> {
    let mut objects: Vec<Object> = vec![
        config::service_account(metallb_api::names::CONTROLLER).into(),
        config::service_account(metallb_api::names::SPEAKER).into(),
        config::exclude_l2().into(),
        controller::deployment(spec, environment).into(),
        speaker::daemon_set(spec, environment).into(),
    ];
    for object in &mut objects {
        object.manage(&environment.namespace);
    }
    objects
}

#[cfg(test)]
mod tests;
