use axum::body::Body;
use axum::http::Request as HttpRequest;
use http_body_util::BodyExt;
use metallb_config::Resources;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

const NAMESPACE: &str = "metallb-system";

fn routes() -> Router {
    let pool =
        json!({ "metadata": { "name": "gold", "namespace": NAMESPACE }, "spec": { "addresses": ["10.0.0.0/24"] } });
    let pool: metallb_api::IPAddressPool = serde_json::from_value(pool).unwrap();
    let resources = Arc::new(Resources {
        pools: vec![pool],
        ..Resources::default()
    });
    let reader = move || resources.clone();
    let rules = Rules {
        namespace: NAMESPACE.to_owned(),
        ..Rules::default()
    };
    router(Judge::new(Arc::new(reader), watch::channel(rules).1))
}

async fn call(path: &str, content_type: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
    let request = HttpRequest::post(path)
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(body))
        .unwrap();
    let response = routes().oneshot(request).await.unwrap();
    (
        response.status(),
        response.into_body().collect().await.unwrap().to_bytes().to_vec(),
    )
}

async fn ask(path: &str, review: Value) -> Value {
    let (status, body) = call(path, "application/json", review.to_string().into_bytes()).await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

#[allow(clippy::needless_pass_by_value)]
fn review(operation: &str, object: Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u-1", "operation": operation, "namespace": NAMESPACE, "object": object, "oldObject": null } })
}

fn pool(addresses: &[&str]) -> Value {
    json!({ "metadata": { "name": "new", "namespace": NAMESPACE }, "spec": { "addresses": addresses } })
}

#[tokio::test]
async fn a_good_object_is_allowed_under_its_uid() {
    let answer = ask(Kind::IpAddressPool.path(), review("CREATE", pool(&["10.0.1.0/24"]))).await;
    let expected = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": { "uid": "u-1", "allowed": true } });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_bad_object_is_forbidden_with_its_errors() {
    let answer = ask(Kind::IpAddressPool.path(), review("CREATE", pool(&["10.0.0.0/25"]))).await;
    let (response, status) = (&answer["response"], &answer["response"]["status"]);
    assert_eq!(
        (&response["allowed"], &status["code"], &status["reason"]),
        (&json!(false), &json!(403), &json!("Forbidden"))
    );
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("overlaps with already defined CIDR")
    );
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_a_bad_request() {
    let answer = ask(Kind::IpAddressPool.path(), review("CREATE", json!({ "spec": 7 }))).await;
    assert_eq!(
        (&answer["response"]["allowed"], &answer["response"]["status"]["code"]),
        (&json!(false), &json!(400))
    );
}

#[tokio::test]
async fn warnings_travel_with_the_answer() {
    let answer = ask(Kind::IpAddressPool.path(), review("CREATE", pool(&["127.0.0.0/24"]))).await;
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["warnings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_kind_has_its_path() {
    for kind in Kind::ALL {
        assert_eq!(
            ask(kind.path(), review("CONNECT", json!(null))).await["response"]["allowed"],
            true
        );
    }
}

#[rstest]
#[case::no_json("application/json", b"{".to_vec(), StatusCode::BAD_REQUEST)]
#[case::other_kind("application/json", b"{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}".to_vec(), StatusCode::BAD_REQUEST)]
#[case::no_request(
    "application/json",
    b"{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\"}".to_vec(),
    StatusCode::BAD_REQUEST
)]
#[case::array("application/json", b"[]".to_vec(), StatusCode::BAD_REQUEST)]
#[case::empty("application/json", Vec::new(), StatusCode::BAD_REQUEST)]
#[case::cut_off("application/json", cut_off(), StatusCode::BAD_REQUEST)]
#[case::no_utf8("application/json", b"{\"kind\":\"\xff\xfe\"}".to_vec(), StatusCode::BAD_REQUEST)]
#[case::too_deep("application/json", b"[".repeat(100_000), StatusCode::BAD_REQUEST)]
#[case::unknown_version("application/json", versioned("admission.k8s.io/v2"), StatusCode::BAD_REQUEST)]
#[case::no_version("application/json", versioned("admission.k8s.io"), StatusCode::BAD_REQUEST)]
#[case::other_group("application/json", versioned("admission.example.com/v1"), StatusCode::BAD_REQUEST)]
#[case::no_type("", versioned("admission.k8s.io/v1"), StatusCode::UNSUPPORTED_MEDIA_TYPE)]
#[case::protobuf(
    "application/vnd.kubernetes.protobuf",
    versioned("admission.k8s.io/v1"),
    StatusCode::UNSUPPORTED_MEDIA_TYPE
)]
#[case::old_version("application/json", versioned("admission.k8s.io/v1beta1"), StatusCode::OK)]
#[case::other_type("text/yaml", b"{}".to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE)]
#[case::too_large("application/json", vec![b' '; BODY_LIMIT + 1], StatusCode::PAYLOAD_TOO_LARGE)]
#[tokio::test]
async fn what_is_no_review_gets_an_http_error(#[case] media: &str, #[case] body: Vec<u8>, #[case] status: StatusCode) {
    assert_eq!(call(Kind::IpAddressPool.path(), media, body).await.0, status);
}

fn versioned(version: &str) -> Vec<u8> {
    let mut review = review("CREATE", pool(&["10.0.1.0/24"]));
    review["apiVersion"] = version.into();
    review.to_string().into_bytes()
}

fn cut_off() -> Vec<u8> {
    let mut body = versioned("admission.k8s.io/v1");
    body.truncate(body.len() - 1);
    body
}

#[rstest]
#[case::cut_off(b"{\"kind\":\"ConversionReview\"".to_vec())]
#[case::unknown_version(conversion_review("v2", "metallb.io/v1beta2", json!([])).to_string().into_bytes())]
#[case::admission(versioned("admission.k8s.io/v1"))]
#[tokio::test]
async fn what_is_no_conversion_gets_an_http_error(#[case] body: Vec<u8>) {
    assert_eq!(
        call("/convert", "application/json", body).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[rstest]
#[case("GET", Kind::IpAddressPool.path(), StatusCode::METHOD_NOT_ALLOWED)]
#[case("POST", "/validate-metallb-io-v1beta1-pod", StatusCode::NOT_FOUND)]
#[tokio::test]
async fn other_methods_and_paths_are_none_of_ours(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: StatusCode,
) {
    let request = HttpRequest::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    assert_eq!(routes().oneshot(request).await.unwrap().status(), status);
}

#[tokio::test] // D-1 to D-4 share one path, so the review tells the kind
async fn deletions_of_all_kinds_are_judged_under_one_path() {
    let mut deletion = review("DELETE", Value::Null);
    deletion["request"]["oldObject"] = pool(&["10.0.1.0/24"]);
    deletion["request"]["kind"] = json!({ "group": "metallb.io", "version": "v1beta1", "kind": "IPAddressPool" });
    assert_eq!(
        ask(names::DELETION_PATH, deletion.clone()).await["response"]["allowed"],
        true
    );
    deletion["request"]["kind"]["kind"] = "Pod".into();
    let (status, _) = call(
        names::DELETION_PATH,
        "application/json",
        deletion.to_string().into_bytes(),
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_charset_in_the_content_type_is_fine() {
    let body = review("CREATE", pool(&["10.0.1.0/24"])).to_string().into_bytes();
    assert_eq!(
        call(Kind::IpAddressPool.path(), "application/json; charset=utf-8", body)
            .await
            .0,
        StatusCode::OK
    );
}

struct Broken;

impl Reader for Broken {
    fn current(&self) -> futures::future::BoxFuture<'_, Result<Arc<Resources>, ReadError>> {
        let source = kube::Error::LinesCodecMaxLineLengthExceeded;
        Box::pin(std::future::ready(Err(ReadError {
            kind: "IPAddressPool".to_owned(),
            source,
        })))
    }
}

#[tokio::test]
async fn what_cannot_be_judged_is_not_allowed() {
    let rules = Rules {
        namespace: NAMESPACE.to_owned(),
        ..Rules::default()
    };
    let routes = router(Judge::new(Arc::new(Broken), watch::channel(rules).1));
    let body = review("CREATE", pool(&["10.0.1.0/24"])).to_string();
    let request = HttpRequest::post(Kind::IpAddressPool.path())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap();
    let body = routes
        .oneshot(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&answer["response"]["allowed"], &answer["response"]["status"]["code"]),
        (&json!(false), &json!(500))
    );
}

#[allow(clippy::needless_pass_by_value)]
fn conversion_review(version: &str, to: &str, objects: Value) -> Value {
    json!({ "apiVersion": format!("apiextensions.k8s.io/{version}"), "kind": "ConversionReview",
        "request": { "uid": "u-2", "desiredAPIVersion": to, "objects": objects } })
}

#[rstest] // W-41: API servers may speak either version
#[case("v1")]
#[case("v1beta1")]
#[tokio::test]
async fn conversion_answers_in_the_version_asked(#[case] version: &str) {
    let peer = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer", "metadata": { "name": "p" },
        "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" } });
    let answer = ask(
        "/convert",
        conversion_review(version, "metallb.io/v1beta2", json!([peer])),
    )
    .await;
    assert_eq!(answer["apiVersion"], format!("apiextensions.k8s.io/{version}"));
    let response = &answer["response"];
    assert_eq!(
        (&response["uid"], &response["result"]["status"]),
        (&json!("u-2"), &json!("Success"))
    );
    assert_eq!(response["convertedObjects"][0]["apiVersion"], "metallb.io/v1beta2");
}

#[tokio::test]
async fn one_bad_object_fails_the_batch_by_name() {
    let bad = json!({ "apiVersion": "metallb.io/v9", "kind": "BGPPeer", "metadata": { "name": "bad" } });
    let answer = ask("/convert", conversion_review("v1", "metallb.io/v1beta2", json!([bad]))).await;
    let result = &answer["response"]["result"];
    assert_eq!(result["status"], "Failure");
    assert_eq!(
        result["message"],
        "bad: cannot convert BGPPeer from metallb.io/v9 to metallb.io/v1beta2"
    );
}

#[tokio::test]
async fn a_conversion_of_many_objects_may_be_large() {
    let review = conversion_review(
        "v1",
        "metallb.io/v1beta2",
        json!([{ "padding": " ".repeat(BODY_LIMIT) }]),
    );
    let (status, _) = call("/convert", "application/json", review.to_string().into_bytes()).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn requests_and_verdicts_are_counted_under_the_names_that_dashboards_know() {
    let registry = prometheus::Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    let pool_exists = Arc::new(Resources {
        pools: vec![serde_json::from_value(pool(&["10.0.0.0/24"])).unwrap()],
        ..Resources::default()
    });
    let rules = Rules {
        namespace: NAMESPACE.to_owned(),
        ..Rules::default()
    };
    let judge = Judge::new(Arc::new(move || pool_exists.clone()), watch::channel(rules).1);
    let routes = router(judge.counted(Some(metrics)));
    let mut other = pool(&["10.0.0.0/25"]);
    other["metadata"]["name"] = "other".into();
    let reviews = [
        review("CREATE", pool(&["10.0.0.0/24"])),
        review("CREATE", pool(&["127.0.0.0/24"])),
        review("CREATE", other),
        Value::Null,
    ];
    for review in reviews {
        let request = HttpRequest::post(Kind::IpAddressPool.path())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(review.to_string()))
            .unwrap();
        routes.clone().oneshot(request).await.unwrap();
    }
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    let path = "webhook=\"/validate-metallb-io-v1beta1-ipaddresspool\"";
    for line in [
        format!("controller_runtime_webhook_requests_total{{code=\"200\",{path}}} 3"),
        format!("controller_runtime_webhook_requests_total{{code=\"400\",{path}}} 1"),
        format!("controller_runtime_webhook_requests_total{{code=\"500\",{path}}} 0"),
        format!("controller_runtime_webhook_requests_in_flight{{{path}}} 0"),
        format!("controller_runtime_webhook_latency_seconds_count{{{path}}} 4"),
        "metallb_admission_reviews_total{kind=\"IPAddressPool\",operation=\"CREATE\",verdict=\"allowed\"} 1".to_owned(),
        "metallb_admission_reviews_total{kind=\"IPAddressPool\",operation=\"CREATE\",verdict=\"warned\"} 1".to_owned(),
        "metallb_admission_reviews_total{kind=\"IPAddressPool\",operation=\"CREATE\",verdict=\"denied\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn a_stop_before_the_first_certificate_is_no_error() {
    let stop = CancellationToken::new();
    stop.cancel();
    // The order in which both are looked at is not by chance.
    for _ in 0..32 {
        let (_, certificate) = watch::channel(None);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (settings, ready) = (TlsSettings::default(), Readiness::default());
        let served = serve(address, settings, certificate, routes(), &ready, stop.clone()).await;
        assert!(served.is_ok(), "{served:?}");
    }
}
