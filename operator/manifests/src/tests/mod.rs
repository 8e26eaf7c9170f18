use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Affinity, Container, PodSpec, ResourceRequirements, Toleration},
};
use metallb_api::{ComponentConfig, LogLevel, MetalLBSpec};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

mod architecture;
mod backends;
mod controller;
mod frr;
mod frr_k8s;
mod general;
mod knobs;
mod monitoring;
mod network;
mod openshift;
mod overrides;
mod speaker;

fn environment() -> Environment {
    Environment::from_variables(|name| {
        let value = match name {
            "OPERATOR_NAMESPACE" => "metallb-system",
            "CONTROLLER_IMAGE" => "host:5000/controller:1",
            "SPEAKER_IMAGE" => "host:5000/speaker:1",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap()
}

fn backend(name: &str) -> MetalLBSpec {
    MetalLBSpec {
        bgp_backend: Some(name.to_owned()),
        ..MetalLBSpec::default()
    }
}

fn controller(spec: &MetalLBSpec, environment: &Environment) -> Deployment {
    let objects = desired(spec, environment).unwrap();
    objects
        .into_iter()
        .find_map(|object| {
            if let Object::Deployment(it) = object {
                Some(*it)
            } else {
                None
            }
        })
        .unwrap()
}

fn speaker(spec: &MetalLBSpec, environment: &Environment) -> DaemonSet {
    let objects = desired(spec, environment).unwrap();
    objects
        .into_iter()
        .find_map(|object| {
            if let Object::DaemonSet(it) = object {
                Some(*it)
            } else {
                None
            }
        })
        .unwrap()
}

fn controller_pod(spec: &MetalLBSpec) -> PodSpec {
    controller(spec, &environment()).spec.unwrap().template.spec.unwrap()
}

fn speaker_pod(spec: &MetalLBSpec) -> PodSpec {
    speaker(spec, &environment()).spec.unwrap().template.spec.unwrap()
}

fn env_names(container: &Container) -> Vec<&str> {
    container
        .env
        .iter()
        .flatten()
        .map(|variable| variable.name.as_str())
        .collect()
}

fn env_value<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    container
        .env
        .iter()
        .flatten()
        .find(|variable| variable.name == name)?
        .value
        .as_deref()
}

fn ports(container: &Container) -> Vec<(&str, i32, &str)> {
    let port = |port: &'_ k8s_openapi::api::core::v1::ContainerPort| port.container_port;
    container
        .ports
        .iter()
        .flatten()
        .map(|it| (it.name.as_deref().unwrap(), port(it), it.protocol.as_deref().unwrap()))
        .collect()
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn toleration(key: &str) -> Toleration {
    Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    }
}

/// The objects for a spec written as JSON.
fn rendered(spec: Value, environment: &Environment) -> Vec<Object> {
    desired(&read(spec), environment).unwrap()
}

fn read(spec: Value) -> MetalLBSpec {
    serde_json::from_value(spec).unwrap()
}

/// The object `Kind/name` as JSON.
fn find(objects: &[Object], name: &str) -> Value {
    let object = objects.iter().find(|object| object.to_string() == name);
    json(object.unwrap_or_else(|| panic!("no {name}")))
}

fn names(objects: &[Object]) -> Vec<String> {
    objects.iter().map(ToString::to_string).collect()
}

/// The pod of a workload.
fn pod(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]
}

/// The container of a pod.
fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let lists = ["containers", "initContainers"].map(|list| pod[list].as_array());
    let found = lists.into_iter().flatten().flatten().find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("no container {name}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn names_in(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["name"].as_str())
        .collect()
}

/// A cluster that serves everything that we know of, on OpenShift or not.
fn platform(openshift: bool) -> Environment {
    Environment {
        platform: Platform {
            openshift,
            pod_monitors: true,
            service_monitors: true,
            prometheus_rules: true,
        },
        ..environment()
    }
}
