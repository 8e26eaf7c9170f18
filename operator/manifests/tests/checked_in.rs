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
