//! What the Operator Lifecycle Manager does with a ClusterServiceVersion, as far as a cluster notices: accounts, rights,
//! certificates, Services, Deployments, webhook configurations. Written after OLM 0.32, `pkg/controller/install`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

/// What OLM writes under.
const MANAGER: &str = "olm";
/// The name of the OperatorCondition that it makes, which is the ClusterServiceVersion's.
const CONDITION: &str = "OPERATOR_CONDITION_NAME";

/// One installation.
pub(crate) struct Lifecycle {
    client: Client,
    namespace: String,
    csv: Value,
    ca: CertifiedIssuer<'static, KeyPair>,
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Lifecycle {
    /// Begins with a ClusterServiceVersion in a namespace that exists.
    pub(crate) fn new(client: Client, namespace: &str, csv: Value) -> Result<Self> {
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            csv,
            ca: authority()?,
        })
    }

    /// Installs all that the bundle consists of.
    pub(crate) async fn install(&self, manifests: &[Value]) -> Result<()> {
        for object in manifests {
            let mut object = object.clone();
            if object["kind"] == "CustomResourceDefinition" {
                self.convert(&mut object);
            } else {
                object["metadata"]["namespace"] = self.namespace.as_str().into();
            }
            self.apply(&object).await?;
        }
        self.grant().await?;
        self.condition().await?;
        for deployment in list(&self.csv["spec"]["install"]["spec"]["deployments"]) {
            self.deploy(deployment).await?;
        }
        for definition in list(&self.csv["spec"]["webhookdefinitions"]) {
            self.admit(definition).await?;
        }
        Ok(())
    }

    /// Points the conversion of a definition to the Service that is made for its Deployment.
    fn convert(&self, crd: &mut Value) {
        let name = crd["metadata"]["name"].clone();
        let definitions = list(&self.csv["spec"]["webhookdefinitions"]);
        let found = definitions.filter(|definition| definition["type"] == "ConversionWebhook");
        let found = found
            .filter(|definition| list(&definition["conversionCRDs"]).any(|crd| *crd == name))
            .last();
        if let Some(definition) = found {
            crd["spec"]["conversion"] = json!({
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": self.client_config(definition),
                    "conversionReviewVersions": definition["admissionReviewVersions"],
                },
            });
        }
    }

    fn client_config(&self, definition: &Value) -> Value {
        json!({
            "service": {
                "name": service(text(&definition["deploymentName"])),
                "namespace": self.namespace,
                "path": definition["webhookPath"],
                "port": definition["containerPort"],
            },
            "caBundle": base64(self.ca.pem().as_bytes()),
        })
    }

    /// Makes accounts, roles and bindings. In an installation for all namespaces, roles become roles everywhere, too.
    async fn grant(&self) -> Result<()> {
        let spec = &self.csv["spec"]["install"]["spec"];
        for (part, suffix) in [("permissions", "namespaced"), ("clusterPermissions", "everywhere")] {
            for entry in list(&spec[part]) {
                let account = text(&entry["serviceAccountName"]);
                self.apply(
                    &json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": self.metadata(account) }),
                )
                .await?;
                let name = format!("{}-{account}-{suffix}", self.csv_name());
                let subject = json!({ "kind": "ServiceAccount", "name": account, "namespace": self.namespace });
                self.rbac("ClusterRole", "ClusterRoleBinding", &name, &entry["rules"], &subject)
                    .await?;
            }
        }
        Ok(())
    }

    async fn rbac(&self, role: &str, binding: &str, name: &str, rules: &Value, subject: &Value) -> Result<()> {
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        self.apply(&json!({
            "apiVersion": version, "kind": role, "metadata": self.metadata(name), "rules": rules,
        }))
        .await?;
        self.apply(&json!({
            "apiVersion": version, "kind": binding, "metadata": self.metadata(name),
            "roleRef": { "apiGroup": group, "kind": role, "name": name }, "subjects": [subject],
        }))
        .await
    }

    /// Makes the OperatorCondition, and lets the operator's accounts write it.
    async fn condition(&self) -> Result<()> {
        let name = self.csv_name();
        self.apply(&json!({
            "apiVersion": "operators.coreos.com/v2", "kind": "OperatorCondition", "metadata": self.metadata(&name), "spec": {},
        }))
        .await?;
        let rules = json!([{
            "apiGroups": ["operators.coreos.com"], "resources": ["operatorconditions"], "resourceNames": [name],
            "verbs": ["get", "update", "patch"],
        }]);
        let subjects: BTreeMap<&str, ()> = list(&self.csv["spec"]["install"]["spec"]["deployments"])
            .map(|deployment| (text(&deployment["spec"]["template"]["spec"]["serviceAccountName"]), ()))
            .collect();
        for account in subjects.keys() {
            let subject = json!({ "kind": "ServiceAccount", "name": account, "namespace": self.namespace });
            self.rbac("Role", "RoleBinding", &format!("{name}-{account}"), &rules, &subject)
                .await?;
        }
        Ok(())
    }

    /// Makes a Deployment with its Service and its certificate.
    async fn deploy(&self, entry: &Value) -> Result<()> {
        let name = text(&entry["name"]);
        let definitions = list(&self.csv["spec"]["webhookdefinitions"]);
        let own: Vec<&Value> = definitions
            .filter(|definition| definition["deploymentName"] == name)
            .collect();
        let mut spec = entry["spec"].clone();
        if let Some(first) = own.first() {
            self.apply(&json!({
                "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(&service(name)),
                "spec": {
                    "ports": [{
                        "name": first["containerPort"].to_string(),
                        "port": first["containerPort"], "targetPort": first["targetPort"], "protocol": "TCP",
                    }],
                    "selector": spec["selector"]["matchLabels"],
                },
            }))
            .await?;
            self.certify(name).await?;
            mount(&mut spec, &secret(name));
        }
        for container in items(&mut spec["template"]["spec"]["containers"]) {
            let env = json!({ "name": CONDITION, "value": self.csv_name() });
            items(&mut container["env"]).push(env);
        }
        self.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec,
            "metadata": { "name": name, "namespace": self.namespace, "labels": entry["label"] },
        }))
        .await
    }

    /// Makes, or renews, the certificate of a Deployment's Service, which is all that its Secret holds.
    pub(crate) async fn certify(&self, deployment: &str) -> Result<()> {
        let host = format!("{}.{}", service(deployment), self.namespace);
        let params = CertificateParams::new(vec![host.clone(), format!("{host}.svc")])?;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.ca)?;
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": self.metadata(&secret(deployment)),
            "data": {
                "tls.crt": base64(cert.pem().as_bytes()),
                "tls.key": base64(key.serialize_pem().as_bytes()),
            },
        }))
        .await
    }

    /// Makes one configuration for one webhook of the ClusterServiceVersion.
    async fn admit(&self, definition: &Value) -> Result<()> {
        if definition["type"] != "ValidatingAdmissionWebhook" {
            return Ok(());
        }
        let name = text(&definition["generateName"]);
        let mut webhook = json!({
            "name": name,
            "clientConfig": self.client_config(definition),
            // The OperatorGroup's: all namespaces.
            "namespaceSelector": {},
        });
        for field in [
            "rules",
            "failurePolicy",
            "sideEffects",
            "admissionReviewVersions",
            "timeoutSeconds",
        ] {
            if !definition[field].is_null() {
                webhook[field] = definition[field].clone();
            }
        }
        self.apply(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": format!("{name}-olm") }, "webhooks": [webhook],
        }))
        .await
    }

    /// The name of the ClusterServiceVersion.
    pub(crate) fn csv_name(&self) -> String {
        text(&self.csv["metadata"]["name"]).to_owned()
    }

    fn metadata(&self, name: &str) -> Value {
        json!({ "name": name, "namespace": self.namespace })
    }

    async fn apply(&self, object: &Value) -> Result<()> {
        let mut object: DynamicObject = serde_json::from_value(object.clone())?;
        let kind = object.types.as_ref().context("an object without kind")?;
        let kind = kube::core::GroupVersionKind::try_from(kind)?;
        let (resource, capabilities) = kube::discovery::pinned_kind(&self.client, &kind).await?;
        let api: Api<DynamicObject> = if capabilities.scope == kube::discovery::Scope::Cluster {
            object.metadata.namespace = None;
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        };
        let params = PatchParams::apply(MANAGER).force();
        let applied = api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await;
        applied
            .map(drop)
            .with_context(|| format!("cannot apply {} {}", kind.kind, object.name_any()))
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn base64(bytes: &[u8]) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap_or_default()
}

pub(crate) fn service(deployment: &str) -> String {
    format!("{}-service", deployment.replace('.', "-"))
}

fn secret(deployment: &str) -> String {
    format!("{}-cert", service(deployment))
}

/// The items of a list, which is made if there is none.
fn items(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().expect("it has just been made one")
}

/// Mounts the certificate in every container at both of OLM's places, replacing what was there.
fn mount(spec: &mut Value, secret: &str) {
    let places = [
        ("apiservice-cert", "/apiserver.local.config/certificates", "apiserver"),
        ("webhook-cert", "/tmp/k8s-webhook-server/serving-certs", "tls"),
    ];
    let pod = &mut spec["template"]["spec"];
    for (name, path, file) in places {
        let keys = ["crt", "key"].map(|end| json!({ "key": format!("tls.{end}"), "path": format!("{file}.{end}") }));
        let volume = json!({ "name": name, "secret": { "secretName": secret, "items": keys } });
        items(&mut pod["volumes"]).retain(|volume| volume["name"] != name);
        items(&mut pod["volumes"]).push(volume);
        for container in items(&mut pod["containers"]) {
            let mounts = items(&mut container["volumeMounts"]);
            mounts.retain(|mount| mount["mountPath"] != path && mount["name"] != name);
            mounts.push(json!({ "name": name, "mountPath": path }));
        }
    }
}
