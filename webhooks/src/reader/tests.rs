use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// A client whose API server answers by path: items of a list, or a status.
fn client(answer: impl Fn(&str) -> Result<Value, u16> + Clone + Send + Sync + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            // Long enough for others to come meanwhile.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let (status, body) = match answer(request.uri().path()) {
                Ok(items) => (
                    StatusCode::OK,
                    json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items }).to_string(),
                ),
                Err(code) => (StatusCode::from_u16(code).unwrap(), format!("{code}\n")),
            };
            let response = Response::builder().status(status).body(Body::from(body.into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    Client::new(service, "metallb-system")
}

fn pool(name: &str, addresses: &Value) -> Value {
    let metadata = json!({ "name": name, "namespace": "metallb-system",
        "managedFields": [{ "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:spec": {} } }] });
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": metadata, "spec": { "addresses": addresses } })
}

fn names(resources: &Resources) -> Vec<String> {
    resources.pools.iter().map(ResourceExt::name_any).collect()
}

#[tokio::test] // the definition of AddressPool may be missing in a cluster
async fn a_kind_that_is_not_installed_has_no_objects() {
    let client = client(|path| match path.rsplit('/').next() {
        Some("addresspools") => Err(404),
        Some("ipaddresspools") => Ok(json!([pool("gold", &json!(["10.0.0.0/24"]))])),
        _ => Ok(json!([])),
    });
    let found = Lists::new(client, "metallb-system").current().await.unwrap();
    assert_eq!((names(&found), found.address_pools.len()), (vec!["gold".to_owned()], 0));
    assert!(found.pools[0].metadata.managed_fields.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_never_answered_is_asked_for_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let service = tower::service_fn(move |request: Request<Body>| {
        let pools = request.uri().path().ends_with("/ipaddresspools");
        let dead = pools && asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if dead {
                std::future::pending::<()>().await;
            }
            let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": [] });
            Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        }
    });
    let lists = Lists::new(Client::new(service, "metallb-system"), "metallb-system");
    let found = timeout(Duration::from_secs(10), lists.current()).await;
    assert!(found.expect("an answer while the API server waits").is_ok());
}

#[tokio::test] // W-19
async fn an_object_that_is_not_legible_is_skipped_alone() {
    let client = client(|path| match path.rsplit('/').next() {
        Some("ipaddresspools") => Ok(json!([pool("bad", &json!(7)), pool("gold", &json!(["10.0.0.0/24"]))])),
        _ => Ok(json!([])),
    });
    let found = Lists::new(client, "metallb-system").current().await.unwrap();
    assert_eq!(names(&found), ["gold"]);
}

#[tokio::test]
async fn only_the_names_of_secrets_may_be_withheld() {
    let without = |plural: &'static str| {
        let client = client(move |path| {
            if path.rsplit('/').next() == Some(plural) {
                Err(403)
            } else {
                Ok(json!([]))
            }
        });
        async move { Lists::new(client, "metallb-system").current().await.map(drop) }
    };
    assert!(without("secrets").await.is_ok());
    let error = without("bgppeers").await.unwrap_err();
    assert_eq!(error.to_string(), "cannot list BGPPeer");
}

#[tokio::test]
async fn requests_of_a_burst_share_two_rounds_of_lists() {
    let rounds = Arc::new(AtomicUsize::new(0));
    let counted = rounds.clone();
    let client = client(move |path| {
        if path.ends_with("/ipaddresspools") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Ok(json!([]))
    });
    let lists = Lists::new(client, "metallb-system");
    let all = futures::future::join_all((0..50).map(|_| lists.current())).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(rounds.load(Ordering::SeqCst) <= 2, "{rounds:?}");
    lists.current().await.unwrap();
    assert!(
        rounds.load(Ordering::SeqCst) <= 3,
        "a later request reads by itself: {rounds:?}"
    );
}
