//! The operator's alerts, read by a parser that is not ours. Those of the chart are judged where Helm is.

use metallb_api::MetalLBSpec;
use metallb_manifests::{Environment, desired};
use serde_json::{Value, json};

// OP-69
#[test]
fn every_expression_of_the_operators_alerts_is_promql() {
    let variable = |name| {
        let value = match name {
            "OPERATOR_NAMESPACE" => "metallb-system",
            "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => "example.com/metallb:v1",
            "DEPLOY_PROMETHEUSRULES" => "true",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let spec = json!({ "metrics": { "prometheusRule": { "excludePools": "a\"b|c" } } });
    let spec: MetalLBSpec = serde_json::from_value(spec).unwrap();
    let mut environment = Environment::from_variables(variable).unwrap();
    environment.platform.prometheus_rules = true;
    let objects = desired(&spec, &environment).unwrap();
    let objects = objects.iter().map(|object| serde_json::to_value(object).unwrap());
    let rules: Vec<Value> = objects.filter(|object| object["kind"] == "PrometheusRule").collect();
    let groups = rules.iter().flat_map(|rule| rule["spec"]["groups"].as_array().unwrap());
    let alerts: Vec<&Value> = groups.flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(alerts.len(), 7);
    for alert in alerts {
        let expression = alert["expr"].as_str().unwrap();
        promql_parser::parser::parse(expression).unwrap_or_else(|why| panic!("{expression}: {why}"));
    }
}
