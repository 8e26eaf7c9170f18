//! The files that people apply are the ones that the code makes.

mod files;

#[test]
fn every_manifest_is_up_to_date() {
    for (name, made) in files::all().expect("serialisable objects") {
        let path = format!("{}/../../manifests/{name}", env!("CARGO_MANIFEST_DIR"));
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(checked_in == made, "{name} is out of date: run .ci/generate");
    }
}

#[test]
fn the_chart_has_the_alerts_and_the_dashboard_of_the_other_ways_to_install() {
    let files = files::all().expect("serialisable objects");
    let dashboard = files.into_iter().find(|(name, _)| name == "grafana-dashboard.json");
    for (name, made) in [
        dashboard.expect("there is one"),
        ("alerts.json".to_owned(), files::chart_alerts().expect("serialisable")),
    ] {
        let path = format!("{}/../../charts/metallb/files/{name}", env!("CARGO_MANIFEST_DIR"));
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(checked_in == made, "{name} is out of date: run .ci/generate");
    }
}

// OP-99
#[test]
fn every_image_has_the_version_of_the_release_or_a_pinned_one() {
    let release = format!("ghcr.io/metallb-rs/metallb:v{}", env!("CARGO_PKG_VERSION"));
    for (name, made) in files::all().expect("serialisable objects") {
        let images = made.lines().filter_map(|line| line.trim().strip_prefix("image: "));
        for image in images {
            let foreign = image.starts_with("quay.io/") && image.contains(':') && !image.ends_with(":latest");
            assert!(image == release || foreign, "{name}: {image}");
        }
    }
}

/// Where the architectures are told to people, it is those that there are.
#[test]
fn the_texts_name_the_architectures_of_the_release() {
    let list = metallb_manifests::ARCHITECTURES.join(", ");
    for (path, words) in [
        ("README.md", format!("on nodes of architecture {list}")),
        ("docs/install/manifests.md", format!("for the architectures {list}")),
        (
            "operator/bundle/text/description.md",
            format!("Nodes of architecture {list}"),
        ),
        ("charts/metallb/values.yaml", format!("architectures: [{list}]")),
        (
            "charts/metallb-operator/values.yaml",
            format!("architectures: [{list}]"),
        ),
    ] {
        let text = std::fs::read_to_string(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
        assert!(text.contains(&words), "{path} does not say {words:?}");
    }
}
