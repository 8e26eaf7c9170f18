use super::*;

// OP-31
#[test]
fn the_controller_container_is_as_tabulated() {
    let pod = controller_pod(&MetalLBSpec::default());
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("host:5000/controller:1"));
    assert_eq!(container.command, Some(vec!["/controller".to_owned()]));
    let args = [
        "--port=9120",
        "--health-probe-port=17472",
        "--log-level=info",
        "--webhook-mode=disabled",
    ];
    assert_eq!(container.args.as_deref().unwrap(), args);
    assert_eq!(ports(container), [("metricshttps", 9120, "TCP")]);
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 17472 }, "initialDelaySeconds": 10,
        "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3 });
    assert_eq!(json(&container.liveness_probe), probe);
    let probe = json!({ "httpGet": { "path": "/readyz", "port": 17472 }, "initialDelaySeconds": 1,
        "periodSeconds": 2, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3 });
    assert_eq!(json(&container.readiness_probe), probe);
    assert_eq!(
        json(&container.security_context),
        json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } })
    );
    assert_eq!(
        json(&pod.security_context),
        json!({ "runAsNonRoot": true, "runAsUser": 65534, "fsGroup": 65534,
            "seccompProfile": { "type": "RuntimeDefault" } })
    );
    assert_eq!(
        json(&pod.volumes),
        json!([{ "name": "cert", "secret": { "secretName": "metallb-webhook-cert", "defaultMode": 420 } }])
    );
    let mount = json!([{ "name": "cert", "mountPath": "/tmp/k8s-webhook-server/serving-certs", "readOnly": true }]);
    assert_eq!(json(&container.volume_mounts), mount);
    assert_eq!(json(&pod.node_selector), json!({ "kubernetes.io/os": "linux" }));
    assert_eq!(
        (pod.tolerations, pod.service_account_name.as_deref()),
        (None, Some("controller"))
    );
}

// OP-33
#[test]
fn the_controller_knows_the_secret_and_its_deployment() {
    let pod = controller_pod(&MetalLBSpec::default());
    let container = &pod.containers[0];
    let names = [
        "METALLB_POD_NAME",
        "METALLB_ML_SECRET_NAME",
        "METALLB_DEPLOYMENT",
        "METALLB_BGP_TYPE",
        "METALLB_IGNORE_EXCLUDE_LB",
    ];
    assert_eq!(env_names(container), names);
    assert_eq!(
        env_value(container, "METALLB_ML_SECRET_NAME"),
        Some("metallb-memberlist")
    );
    assert_eq!(env_value(container, "METALLB_DEPLOYMENT"), Some("controller"));
}
