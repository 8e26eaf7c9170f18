//! The file that people apply is the one that the types make.

#[test]
fn the_checked_in_definitions_are_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/crds.yaml");
    let checked_in = std::fs::read_to_string(path).unwrap();
    assert!(
        checked_in == metallb_crdgen::yaml().unwrap(),
        "run `cargo run -p metallb-crdgen > manifests/crds.yaml`"
    );
}

#[test]
fn definitions_carry_no_labels_short_names_or_ca_bundle() {
    for crd in metallb_crdgen::crds() {
        assert_eq!(crd.metadata.labels, None);
        assert_eq!(crd.spec.names.short_names, None);
        assert_eq!(crd.spec.names.categories, None);
        assert_eq!(crd.spec.scope, "Namespaced");
        let name = format!("{}.{}", crd.spec.names.plural, crd.spec.group);
        assert_eq!(crd.metadata.name, Some(name));
    }
    assert!(!metallb_crdgen::yaml().unwrap().contains("caBundle"));
}
