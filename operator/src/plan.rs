//! What to do about one MetalLB resource, as a pure function.

use std::fmt;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Resource, ResourceExt};
use metallb_api::{BgpBackend, MetalLB, names};
use metallb_manifests::{EffectiveBackend, Environment, Object, desired, notes};
use semver::Version;

use crate::{removal::orphan, status::conditions::State};

/// Which MetalLB resource is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// The one resource that has an effect.
    pub(crate) fn singleton(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: names::METALLB_RESOURCE.to_owned(),
        }
    }

    pub(crate) fn of(resource: &MetalLB) -> Self {
        Self {
            namespace: resource.namespace().unwrap_or_default(),
            name: resource.name_any(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a resource asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) backend: BgpBackend,
    pub(crate) objects: Vec<Object>,
    /// The oldest network operator of OpenShift that will do, if it is to deploy frr-k8s.
    pub(crate) network_operator: Option<Version>,
    /// What has not all of the effect that one would expect.
    pub(crate) notes: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// This shall exist, and nothing else of ours.
    Deploy(Wanted),
    /// Leave everything as it is and say why.
    Refuse(State),
    /// No object of ours shall exist.
    Remove,
    /// What exists goes on without the resource.
    Leave,
    /// All goes, with the namespace: nothing waits for us.
    LetGo,
    /// Leave everything as it is.
    Nothing,
}

/// Decides what to do about the resource of a key, which may be gone, in our namespace, which may be unknown.
pub(crate) fn plan(
    key: &Key,
    resource: Option<&MetalLB>,
    namespace: Option<&Namespace>,
    environment: &Environment,
) -> Plan {
    // Everything in it goes in whatever order, our rights too: when the resource's turn comes it may be too late.
    if namespace.is_some_and(|own| own.metadata.deletion_timestamp.is_some()) {
        return Plan::LetGo;
    }
    let singleton = *key == Key::singleton(&environment.namespace);
    let Some(resource) = resource.filter(|resource| resource.meta().deletion_timestamp.is_none()) else {
        return match resource {
            _ if !singleton => Plan::Nothing,
            Some(going) if orphan::is_asked(going) => Plan::Leave,
            _ => Plan::Remove,
        };
    };
    if !singleton {
        return Plan::Refuse(misplaced(key, environment));
    }
    let problems = metallb_config::metallb::check(&resource.spec, environment.frr_k8s_external_namespace.as_deref());
    if !problems.is_empty() {
        let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return Plan::Refuse(State::degraded("InvalidSpec", message));
    }
    let effective = match EffectiveBackend::of(&resource.spec, environment) {
        Ok(effective) => effective,
        Err(unknown) => return Plan::Refuse(State::degraded("InvalidSpec", unknown.to_string())),
    };
    let spec = &resource.spec;
    match desired(spec, environment).and_then(|objects| Ok((objects, notes(spec, environment)?))) {
        Ok((objects, notes)) => Plan::Deploy(Wanted {
            backend: effective.backend,
            objects: owned(objects, resource, namespace),
            network_operator: network_operator(effective.backend, environment),
            notes,
        }),
        Err(refusal) => Plan::Refuse(State::degraded(refusal.reason(), refusal.to_string())),
    }
}

fn network_operator(backend: BgpBackend, environment: &Environment) -> Option<Version> {
    let asked = environment.platform.openshift && environment.frr_k8s_from_network_operator;
    let oldest = environment.network_operator_min_version.clone();
    oldest.filter(|_| asked && backend == BgpBackend::FrrK8sExternal)
}

/// Says that the resource has no effect. Name and namespace have the reason of upstream's one check.
fn misplaced(key: &Key, environment: &Environment) -> State {
    let right = Key::singleton(&environment.namespace);
    let message = if key.name == right.name {
        format!(
            "MetalLB resource in namespace {} has no effect, it must be {right}",
            key.namespace
        )
    } else {
        format!("Incorrect MetalLB resource name: {}, it must be {right}", key.name)
    };
    State::degraded("IncorrectMetalLBResourceName", message)
}

fn owned(mut objects: Vec<Object>, resource: &MetalLB, namespace: Option<&Namespace>) -> Vec<Object> {
    if let Some(mut owner) = resource.controller_owner_ref(&()) {
        owner.block_owner_deletion = Some(true);
        for object in &mut objects {
            object.own(owner.clone());
        }
    }
    if let Some(owner) = namespace.and_then(|own| own.owner_ref(&())) {
        for object in &mut objects {
            object.end_with(owner.clone());
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
    use metallb_api::MetalLBSpec;

    fn environment() -> Environment {
        Environment::from_variables(|name| match name {
            "OPERATOR_NAMESPACE" => Some("metallb-system".into()),
            "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => Some("metallb:1".into()),
            _ => None,
        })
        .unwrap()
    }

    fn resource(namespace: &str, name: &str) -> MetalLB {
        let mut resource = MetalLB::new(name, MetalLBSpec::default());
        resource.metadata.namespace = Some(namespace.into());
        resource.metadata.uid = Some("uid".into());
        resource
    }

    fn planned(resource: &MetalLB) -> Plan {
        plan(&Key::of(resource), Some(resource), None, &environment())
    }

    fn refused(resource: &MetalLB) -> (String, String) {
        match planned(resource) {
            Plan::Refuse(State::Degraded { reason, message }) => (reason, message),
            other => panic!("{other:?}"),
        }
    }

    // OP-12
    #[test]
    fn the_right_resource_is_deployed_and_owns_what_may_vanish() {
        let Plan::Deploy(Wanted { objects, .. }) = planned(&resource("metallb-system", "metallb")) else {
            panic!()
        };
        assert_eq!(objects.len(), 6);
        for object in objects.iter().filter(|object| object.is_owned()) {
            let owners = object.metadata().owner_references.as_ref().unwrap();
            assert_eq!((owners[0].kind.as_str(), owners[0].uid.as_str()), ("MetalLB", "uid"));
            assert_eq!(
                (owners[0].controller, owners[0].block_owner_deletion),
                (Some(true), Some(true))
            );
        }
    }

    #[test]
    fn what_has_no_effect_is_noted_for_the_status() {
        let environment = Environment::from_variables(|name| match name {
            "OPERATOR_NAMESPACE" => Some("metallb-system".into()),
            "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => Some("metallb:1".into()),
            "METALLB_BGP_TYPE" => Some("frr".into()),
            _ => None,
        })
        .unwrap();
        let resource = resource("metallb-system", "metallb");
        let Plan::Deploy(wanted) = plan(&Key::of(&resource), Some(&resource), None, &environment) else {
            panic!()
        };
        assert!(
            wanted.notes.iter().any(|note| note.contains("METALLB_BGP_TYPE")),
            "{:?}",
            wanted.notes
        );
    }

    // OP-9
    #[test]
    fn another_name_or_namespace_is_refused_and_told_the_right_one() {
        for (namespace, name) in [("metallb-system", "other"), ("elsewhere", "metallb")] {
            let (reason, message) = refused(&resource(namespace, name));
            assert_eq!(reason, "IncorrectMetalLBResourceName");
            assert!(message.contains("metallb-system/metallb"), "{message}");
        }
    }

    // OP-10
    #[test]
    fn a_wrong_resource_that_vanishes_takes_nothing_with_it() {
        let key = Key::of(&resource("metallb-system", "other"));
        assert_eq!(plan(&key, None, None, &environment()), Plan::Nothing);
    }

    // OP-43
    #[test]
    fn nothing_remains_of_a_resource_that_is_gone_or_going() {
        let key = Key::singleton("metallb-system");
        assert_eq!(plan(&key, None, None, &environment()), Plan::Remove);
        let mut going = resource("metallb-system", "metallb");
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(planned(&going), Plan::Remove);
    }

    #[test]
    fn a_deletion_that_orphans_leaves_everything() {
        let mut going = resource("metallb-system", "metallb");
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        going.metadata.finalizers = Some(vec!["orphan".to_owned()]);
        assert_eq!(planned(&going), Plan::Leave);
    }

    #[test]
    fn a_wrong_spec_leaves_what_runs_alone() {
        let mut resource = resource("metallb-system", "metallb");
        resource.spec.bgp_backend = Some("foo".into());
        assert_eq!(refused(&resource).0, "InvalidSpec");
    }

    // OP-44
    #[test]
    fn a_namespace_that_is_deleted_waits_for_nothing() {
        let mut own = Namespace::default();
        let resource = resource("metallb-system", "metallb");
        let decide = |own: &Namespace| plan(&Key::of(&resource), Some(&resource), Some(own), &environment());
        assert!(matches!(decide(&own), Plan::Deploy(_)));
        own.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        ));
        assert_eq!(decide(&own), Plan::LetGo);
    }

    /// The operator may have no time to take it away when all goes with the namespace.
    #[test]
    fn what_lives_in_no_namespace_ends_with_ours() {
        let mut own = Namespace::default();
        own.metadata.name = Some("metallb-system".into());
        own.metadata.uid = Some("uid of the namespace".into());
        let mut resource = resource("metallb-system", "metallb");
        resource.spec.bgp_backend = Some("frr-k8s".into());
        let Plan::Deploy(wanted) = plan(&Key::of(&resource), Some(&resource), Some(&own), &environment()) else {
            panic!()
        };
        let mut lasting = wanted.objects.iter().filter(|object| !object.is_namespaced());
        let owners = lasting.next().unwrap().metadata().owner_references.clone().unwrap();
        assert_eq!(
            (owners[0].kind.as_str(), owners[0].uid.as_str()),
            ("Namespace", "uid of the namespace")
        );
        assert!(lasting.all(|object| object.metadata().owner_references.is_some()));
    }
}
