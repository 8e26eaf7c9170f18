//! Settings of controller and speaker.

use metallb_api::{
    ComponentConfig, MetalLBSpec,
    metallb::{ProbeTimes, UpdateType},
    names,
};

use super::{Fault, privileges};
use crate::Rule;

/// Flags that the operator sets; most end the start when they are given twice.
const OWN_FLAGS: [&str; 15] = [
    "port",
    "health-probe-port",
    "log-level",
    "lb-class",
    "webhook-mode",
    "ml-wan-config",
    "ignore-exclude-lb",
    "bgp-debounce-timeout",
    "frrk8s-namespace",
    "frrk8s-secret-passthrough",
    "gratuitous-arp-interval",
    "tls-cipher-suites",
    "tls-curve-preferences",
    "tls-min-version",
    "metrics-cert-dir",
];

/// Flags that send a component, with its token, to another API server: by a file that somebody else may have made.
const STRAY_FLAGS: [&str; 1] = ["kubeconfig"];

/// Variables that the operator sets.
const OWN_VARIABLES: [&str; 12] = [
    "FRR_CONFIG_FILE",
    "FRR_RELOADER_PID_FILE",
    "METALLB_BGP_TYPE",
    "METALLB_DEPLOYMENT",
    "METALLB_HOST",
    "METALLB_ML_BIND_ADDR",
    "METALLB_ML_BIND_PORT",
    "METALLB_ML_LABELS",
    "METALLB_ML_SECRET_KEY_PATH",
    "METALLB_ML_SECRET_NAME",
    "METALLB_NODE_NAME",
    "METALLB_POD_NAME",
];

/// Variables that do as [`STRAY_FLAGS`], or bring foreign code into a program: their beginnings.
const STRAY_VARIABLES: [&str; 3] = ["KUBECONFIG", "KUBERNETES_", "LD_"];

pub(super) fn check(spec: &MetalLBSpec, faults: &mut Vec<Fault>) {
    for (name, config) in [
        ("controllerConfig", &spec.controller_config),
        ("speakerConfig", &spec.speaker_config),
    ] {
        if let Some(config) = config {
            let at = |field: &str| format!("spec.{name}.{field}");
            process(config, &at, faults);
            privileges::annotations(&at("annotations"), config.annotations.keys(), faults);
            ranges(config, &at, faults);
        }
    }
    if let Some(config) = &spec.speaker_config {
        speaker(config, faults);
    }
    let strategy = spec
        .controller_config
        .as_ref()
        .and_then(|it| it.update_strategy.as_ref());
    if strategy.and_then(|it| it.type_) == Some(UpdateType::OnDelete) {
        let reason = "OnDelete is of DaemonSets: the controller knows RollingUpdate and Recreate";
        faults.push(Fault::new(
            Rule::K6,
            "spec.controllerConfig.updateStrategy.type",
            reason,
        ));
    }
}

/// Refuses what only the controller has.
fn speaker(config: &ComponentConfig, faults: &mut Vec<Fault>) {
    let strategy = config.update_strategy.as_ref();
    let rows = [
        ("replicas", config.replicas.is_some(), "speakers run once on each node"),
        (
            "hostNetwork",
            config.host_network.is_some(),
            "speakers always have the network of their node",
        ),
        (
            "updateStrategy.type",
            strategy.and_then(|it| it.type_) == Some(UpdateType::Recreate),
            "Recreate is of Deployments: the speaker knows RollingUpdate and OnDelete",
        ),
        (
            "updateStrategy.maxSurge",
            strategy.is_some_and(|it| it.max_surge.is_some()),
            "two speakers cannot share the ports of a node",
        ),
    ];
    let wrong = rows.into_iter().filter(|(_, wrong, _)| *wrong);
    faults.extend(wrong.map(|(field, _, reason)| Fault::new(Rule::K6, format!("spec.speakerConfig.{field}"), reason)));
}

fn process(config: &ComponentConfig, at: &impl Fn(&str) -> String, faults: &mut Vec<Fault>) {
    for (place, argument) in config.extra_args.iter().enumerate() {
        if let Some(reason) = bad_flag(argument) {
            faults.push(Fault::new(Rule::K7, at(&format!("extraArgs[{place}]")), reason));
        }
    }
    for name in config.env.keys() {
        if let Some(reason) = bad_variable(name) {
            faults.push(Fault::new(Rule::K8, at("env"), reason));
        }
    }
    for label in [names::LABEL_APP, names::LABEL_COMPONENT] {
        if config.labels.contains_key(label) {
            let reason = format!("the label {label} selects the pods and cannot be set");
            faults.push(Fault::new(Rule::K9, at("labels"), reason));
        }
    }
}

fn bad_flag(argument: &str) -> Option<String> {
    let Some(flag) = argument.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
        return Some(format!("{argument:?} must be one flag, such as --name=value"));
    };
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    if STRAY_FLAGS.contains(&name) {
        return Some(format!(
            "--{name} cannot be set: components talk to the API server of their cluster"
        ));
    }
    OWN_FLAGS
        .contains(&name)
        .then(|| format!("the operator sets --{name} itself"))
}

fn bad_variable(name: &str) -> Option<String> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Some(format!("{name:?} is not the name of a variable"));
    }
    if STRAY_VARIABLES.iter().any(|start| name.starts_with(start)) {
        return Some(format!(
            "{name} cannot be set: components run our code, for the API server of their cluster"
        ));
    }
    OWN_VARIABLES
        .contains(&name)
        .then(|| format!("the operator sets {name} itself"))
}

/// As the schema says; asked again for those that were stored past it.
fn ranges(config: &ComponentConfig, at: &impl Fn(&str) -> String, faults: &mut Vec<Fault>) {
    let mut within = |field: &str, value: Option<i64>, min: i64, max: i64| {
        if let Some(value) = value.filter(|value| !(min..=max).contains(value)) {
            let reason = format!("{value} must be in the range {min}-{max}");
            faults.push(Fault::new(Rule::K11, at(field), reason));
        }
    };
    within("replicas", config.replicas.map(i64::from), 1, 9);
    let grace = config.termination_grace_period_seconds;
    within("terminationGracePeriodSeconds", grace, 0, 600);
    for (probe, times) in [
        ("livenessProbe", config.liveness_probe),
        ("readinessProbe", config.readiness_probe),
    ] {
        let ProbeTimes {
            initial_delay_seconds,
            period_seconds,
            timeout_seconds,
            failure_threshold,
        } = times.unwrap_or_default();
        for (name, value, min, max) in [
            ("initialDelaySeconds", initial_delay_seconds, 0, 3600),
            ("periodSeconds", period_seconds, 1, 3600),
            ("timeoutSeconds", timeout_seconds, 1, 3600),
            ("failureThreshold", failure_threshold, 1, 1000),
        ] {
            within(&format!("{probe}.{name}"), value.map(i64::from), min, max);
        }
    }
}
