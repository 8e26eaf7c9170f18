//! Custom resources: definitions, schemas, rules, versions.

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};

use crate::{from, refusal, server, widget_definition};

fn widgets(client: kube::Client, version: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("lab.test", version, "Widget"));
    Api::namespaced_with(client, "default", &resource)
}

fn widget(name: &str, version: &str, spec: &Value) -> DynamicObject {
    from(
        json!({"apiVersion": format!("lab.test/{version}"), "kind": "Widget", "metadata": {"name": name}, "spec": spec}),
    )
}

async fn define(client: kube::Client) -> Value {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let crds = Api::<CustomResourceDefinition>::all(client);
    let patch = Patch::Apply(widget_definition());
    serde_json::to_value(
        crds.patch("widgets.lab.test", &PatchParams::apply("test"), &patch)
            .await
            .unwrap(),
    )
    .unwrap()
}

#[tokio::test]
async fn a_definition_is_established_and_served_at_once() {
    let (server, _dir) = server().await;
    let crd = define(server.client()).await;
    let established = crd["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    assert!(established);
    let again = define(server.client()).await;
    assert_eq!(crd["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"]);
    assert_eq!(
        widgets(server.client(), "v1")
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        0
    );
}

#[tokio::test]
async fn a_bound_written_as_a_float_is_no_change_to_another_manager() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let (server, _dir) = server().await;
    let first = define(server.client()).await;
    // The Rust type has floats for bounds, and says 65535.0.
    let typed: CustomResourceDefinition = from(widget_definition());
    let again = Api::<CustomResourceDefinition>::all(server.client())
        .patch(
            "widgets.lab.test",
            &PatchParams::apply("another"),
            &Patch::Apply(&typed),
        )
        .await
        .unwrap();
    assert_eq!(json!(again.metadata.generation), first["metadata"]["generation"]);
}

#[tokio::test]
async fn objects_are_defaulted_validated_and_counted() {
    let (server, _dir) = server().await;
    define(server.client()).await;
    let api = widgets(server.client(), "v1");
    let made = api
        .create(
            &PostParams::default(),
            &widget("a", "v1", &json!({"addresses": ["x"], "unknown": 1})),
        )
        .await
        .unwrap();
    assert_eq!(made.data["spec"], json!({"addresses": ["x"], "port": 179}));
    assert_eq!(made.metadata.generation, Some(1));
    let (code, message) = refusal(
        api.create(
            &PostParams::default(),
            &widget("b", "v1", &json!({"addresses": [], "port": 0})),
        )
        .await,
    );
    assert_eq!(code, 422);
    assert!(
        message.starts_with("Widget.lab.test \"b\" is invalid: [spec.addresses: Invalid value: 0:"),
        "{message}"
    );
    let (code, message) = refusal(
        api.create(
            &PostParams::default(),
            &widget("b", "v1", &json!({"addresses": ["x"], "hold": 1, "keep": 1})),
        )
        .await,
    );
    assert_eq!(code, 422);
    assert!(
        message.ends_with("spec: Invalid value: \"object\": keep must be less than hold"),
        "{message}"
    );
    let changed = api
        .patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"port": 1}})),
        )
        .await
        .unwrap();
    assert_eq!(changed.metadata.generation, Some(2));
}

#[tokio::test]
async fn the_status_is_written_through_its_subresource_only() {
    let (server, _dir) = server().await;
    define(server.client()).await;
    let api = widgets(server.client(), "v1");
    api.create(&PostParams::default(), &widget("a", "v1", &json!({"addresses": ["x"]})))
        .await
        .unwrap();
    let both = json!({"spec": {"port": 7}, "status": {"ready": true}});
    let main = api
        .patch("a", &PatchParams::default(), &Patch::Merge(both.clone()))
        .await
        .unwrap();
    assert_eq!((&main.data["spec"]["port"], main.data.get("status")), (&json!(7), None));
    let apply = json!({"apiVersion": "lab.test/v1", "kind": "Widget", "metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let status = api
        .patch_status("a", &PatchParams::apply("operator"), &Patch::Apply(&apply))
        .await
        .unwrap();
    assert_eq!(status.data["status"]["conditions"][0]["type"], "Ready");
    assert_eq!(status.metadata.generation, main.metadata.generation);
    let again = api
        .patch_status("a", &PatchParams::apply("operator"), &Patch::Apply(&apply))
        .await
        .unwrap();
    assert_eq!(again.metadata.resource_version, status.metadata.resource_version);
}

#[tokio::test]
async fn every_served_version_shows_the_same_objects() {
    let (server, _dir) = server().await;
    define(server.client()).await;
    let old = widgets(server.client(), "v1beta1");
    old.create(
        &PostParams::default(),
        &widget("a", "v1beta1", &json!({"addresses": ["x"]})),
    )
    .await
    .unwrap();
    let new = widgets(server.client(), "v1").get("a").await.unwrap();
    assert_eq!(new.types.unwrap().api_version, "lab.test/v1");
    assert_eq!(
        old.list(&ListParams::default()).await.unwrap().items[0]
            .types
            .as_ref()
            .unwrap()
            .api_version,
        "lab.test/v1beta1"
    );
}

#[tokio::test]
async fn a_deleted_definition_takes_its_objects_along() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let (server, _dir) = server().await;
    define(server.client()).await;
    let api = widgets(server.client(), "v1");
    api.create(&PostParams::default(), &widget("a", "v1", &json!({"addresses": ["x"]})))
        .await
        .unwrap();
    let crds = Api::<CustomResourceDefinition>::all(server.client());
    crds.delete("widgets.lab.test", &DeleteParams::default()).await.unwrap();
    for _ in 0..200 {
        if crds.get_opt("widgets.lab.test").await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(refusal(api.list(&ListParams::default()).await).0, 404);
    define(server.client()).await;
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn the_definitions_of_the_product_are_served_with_their_rules() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let (server, _dir) = server().await;
    let crds = Api::<CustomResourceDefinition>::all(server.client());
    let documents: Vec<Value> = serde_saphyr::from_multiple(include_str!("../../../../manifests/crds.yaml")).unwrap();
    for crd in documents.into_iter().filter(Value::is_object) {
        crds.create(&PostParams::default(), &from(crd)).await.unwrap();
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", "v1beta2", "BGPPeer"));
    let peers: Api<DynamicObject> = Api::namespaced_with(server.client(), "default", &resource);
    let peer = |spec: Value| {
        from(json!({"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": {"name": "p"}, "spec": spec}))
    };
    let base = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "enableGracefulRestart": true});
    let mut odd = base.clone();
    odd["connectTime"] = "1500ms".into();
    let (code, message) = refusal(peers.create(&PostParams::default(), &peer(odd)).await);
    assert!(code == 422 && message.contains("spec.connectTime"), "{message}"); // B-14
    peers.create(&PostParams::default(), &peer(base)).await.unwrap();
    let patch = Patch::Merge(json!({"spec": {"enableGracefulRestart": false}}));
    let (code, message) = refusal(peers.patch("p", &PatchParams::default(), &patch).await);
    assert!(
        code == 422 && message.contains("spec.enableGracefulRestart"),
        "{message}"
    ); // B-13
}
