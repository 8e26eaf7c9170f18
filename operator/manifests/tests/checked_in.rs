//! The files that people apply are the ones that the code makes.

use metallb_api::names;
use metallb_manifests::{
    Object,
    install::{self, Install},
};

fn assert_up_to_date(name: &str, objects: &[Object]) {
    let path = format!("{}/../../manifests/{name}", env!("CARGO_MANIFEST_DIR"));
    let checked_in = std::fs::read_to_string(path).expect("a checked-in file");
    assert!(
        checked_in == metallb_crdgen::documents(objects).expect("serialisable objects"),
        "{name} is out of date: run .ci/generate"
    );
}

#[test]
fn the_operators_manifest_is_up_to_date() {
    let install = Install::release(names::DEFAULT_NAMESPACE);
    assert_up_to_date("metallb-operator.yaml", &install::objects(&install));
}

#[test]
fn the_webhooks_manifest_is_up_to_date() {
    let install = Install::release(names::DEFAULT_NAMESPACE);
    assert_up_to_date("webhooks.yaml", &install::webhook_configurations(&install));
}
