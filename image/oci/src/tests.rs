use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
};

use flate2::read::GzDecoder;
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

const DOCKERFILE: &str = include_str!("../../../Dockerfile");
const NAME: &str = "registry.example/metallb:v1";

/// A program header and nothing else: enough to tell the machine by, and the loader if there is one.
fn program(machine: u8, loader: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
    (bytes[18], bytes[32], bytes[54], bytes[56]) = (machine, 64, 56, 1);
    bytes[64] = if loader.is_empty() { 1 } else { 3 };
    (bytes[72], bytes[96]) = (120, u8::try_from(loader.len()).unwrap());
    bytes.extend(loader.as_bytes());
    bytes
}

/// A root with one of everything that an image holds.
fn root(program: &[u8]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, data: &[u8], mode: u32| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, data).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("metallb", program, 0o755);
    write("LICENSES/text", b"do what you like", 0o640);
    fs::create_dir(root.path().join("tmp")).unwrap();
    fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("metallb", root.path().join("speaker")).unwrap();
    root
}

/// The files of a tar.
fn unpacked(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        (entry.path().unwrap().display().to_string(), data)
    });
    entries.collect()
}

fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap();
    let data = &files[&format!("blobs/{}", digest.replace(':', "/"))];
    assert_eq!(digest, format!("sha256:{:x}", Sha256::digest(data)));
    assert_eq!(descriptor["size"], data.len());
    data
}

fn gunzipped(data: &[u8]) -> Vec<u8> {
    let mut layer = Vec::new();
    GzDecoder::new(data).read_to_end(&mut layer).unwrap();
    layer
}

#[rstest]
#[case(0x3e, "amd64")]
#[case(0xb7, "arm64")]
fn the_archive_is_an_oci_layout_of_the_image_that_the_dockerfile_describes(
    #[case] machine: u8,
    #[case] architecture: &str,
) {
    let root = root(&program(machine, ""));
    let arguments = ["REVISION=abc".to_owned()];
    let archive = pack(NAME, DOCKERFILE, &arguments, root.path()).unwrap();
    assert_eq!(archive, pack(NAME, DOCKERFILE, &arguments, root.path()).unwrap());

    let files = unpacked(&archive);
    let json_of = |data: &[u8]| -> Value { serde_json::from_slice(data).unwrap() };
    assert_eq!(json_of(&files["oci-layout"]), json!({ "imageLayoutVersion": "1.0.0" }));
    let index = json_of(&files["index.json"]);
    assert_eq!(index["schemaVersion"], 2);
    let [descriptor] = index["manifests"].as_array().unwrap().as_slice() else {
        panic!("{index:#}")
    };
    assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(descriptor["annotations"]["io.containerd.image.name"], NAME);
    assert_eq!(
        descriptor["platform"],
        json!({ "architecture": architecture, "os": "linux" })
    );

    let manifest = json_of(blob(&files, descriptor));
    assert_eq!(manifest["schemaVersion"], 2);
    let packed = &manifest["layers"][0];
    assert_eq!(packed["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let layer = gunzipped(blob(&files, packed));

    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.image.config.v1+json"
    );
    let config = json_of(blob(&files, &manifest["config"]));
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&json!(architecture), &json!("linux"))
    );
    let diff = format!("sha256:{:x}", Sha256::digest(&layer));
    assert_eq!(config["rootfs"], json!({ "type": "layers", "diff_ids": [diff] }));
    let run = &config["config"];
    assert_eq!(
        (&run["User"], &run["Entrypoint"]),
        (&json!("65534:65534"), &json!(["/metallb"]))
    );
    assert!(run["Env"][0].as_str().unwrap().starts_with("PATH=/"));
    let label = |name: &str| &run["Labels"][format!("org.opencontainers.image.{name}")];
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (label("revision"), label("created")),
        (&json!("abc"), &json!("unknown"))
    );
    // Two manifests' worth of blobs would be another image's left behind.
    assert_eq!(files.len(), 5, "{:?}", files.keys());
}

#[test]
fn the_layer_is_roots_with_the_modes_of_the_files() {
    let root = root(&program(0x3e, ""));
    let layer = layer::of(root.path()).unwrap();
    let mut archive = tar::Archive::new(layer.as_slice());
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(
            (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
            (0, 0, 0)
        );
        let link = header.link_name().unwrap().map(|path| path.display().to_string());
        found.push((
            entry.path().unwrap().display().to_string(),
            header.mode().unwrap(),
            link,
        ));
    }
    let wanted = [
        ("LICENSES/", 0o755, None),
        ("LICENSES/text", 0o640, None),
        ("metallb", 0o755, None),
        ("speaker", 0o777, Some("metallb")),
        ("tmp/", 0o1777, None),
    ];
    let wanted = wanted.map(|(path, mode, link)| (path.to_owned(), mode, link.map(str::to_owned)));
    assert_eq!(found, wanted);
}

#[test]
fn what_is_no_file_is_refused() {
    let root = root(&program(0x3e, ""));
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let error = layer::of(root.path()).unwrap_err().to_string();
    assert!(error.contains("socket is a socket"), "{error}");
}

#[rstest]
#[case::dynamic(&program(0x3e, "/lib64/ld-linux-x86-64.so.2\0"), "needs /lib64/ld-linux-x86-64.so.2, which the image lacks")]
#[case::foreign(&program(0xf3, ""), "a machine that images are not made for: 0xf3")]
#[case::script(b"#!/bin/sh\n", "is no program of 64 bits")]
#[case::cut_off(&program(0x3e, "")[..60], "is no program of 64 bits")]
fn a_program_that_could_not_start_is_refused(#[case] program: &[u8], #[case] message: &str) {
    let root = root(program);
    let error = pack(NAME, DOCKERFILE, &[], root.path()).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn a_program_whose_loader_comes_along_is_none_of_those() {
    let root = root(&program(0x3e, "/metallb\0"));
    assert!(pack(NAME, DOCKERFILE, &[], root.path()).is_ok());
}

#[rstest]
#[case("metallb:v1")]
#[case("library/metallb:v1")]
#[case("registry.example/metallb")]
#[case("registry.example:5000/metallb")]
#[case("registry.example/metallb@sha256:0")]
#[case("registry.example/metallb:v1 ")]
fn a_name_that_something_would_have_to_complete_is_refused(#[case] name: &str) {
    let error = check_name(name).unwrap_err().to_string();
    assert!(error.contains("REGISTRY/REPOSITORY:TAG"), "{error}");
    check_name("localhost/a/metallb:v1").unwrap();
    check_name("registry.example:5000/metallb:v1").unwrap();
}

/// A last stage with more lines.
fn with(lines: &str) -> String {
    format!(
        "FROM base AS build\nRUN anything at all\nFROM scratch\nCOPY --from=build /rootfs/ /\nENTRYPOINT [\"/metallb\"]\n{lines}"
    )
}

#[test]
fn the_last_stage_is_read_as_a_builder_reads_it() {
    let text = "ARG OUTER=outer\n".to_owned()
        + &with(concat!(
            "# A comment\n",
            "arg VERSION=1.2\nARG OUTER\nARG GIVEN=default\nENV A=$VERSION B=\"b ${GIVEN}\"\n",
            "LABEL one=1 two=\"t w o\" \\\n# in between\n  three='$VERSION' four=\\$A\nLABEL five=\"${A}-${OUTER}\"\nUSER $B\n",
        ));
    let stage = Stage::last_of(&text, &["GIVEN=given".to_owned()]).unwrap();
    assert_eq!(stage.user, "b given");
    assert_eq!(stage.entrypoint, ["/metallb"]);
    let labels = [
        ("one", "1"),
        ("two", "t w o"),
        ("three", "$VERSION"),
        ("four", "$A"),
        ("five", "1.2-outer"),
    ];
    assert_eq!(
        stage.labels,
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
    let names: Vec<_> = stage.environment.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "A", "B"]);
}

#[rstest]
#[case("WORKDIR /x", "line 6: WORKDIR: this instruction is not understood")]
#[case("RUN true", "line 6: RUN: this instruction")]
#[case("HEALTHCHECK NONE", "HEALTHCHECK: this instruction")]
#[case("COPY more /", "COPY: only COPY --from=STAGE FOLDER/ / is understood")]
#[case("COPY --from=other /rootfs/ /", "only COPY --from=STAGE FOLDER/ /")]
#[case("COPY --from=build --chown=1 /rootfs/ /", "only COPY --from=STAGE FOLDER/ /")]
#[case("COPY --from=build /more/ /", "copies 2 roots, not one")]
#[case("ENTRYPOINT /metallb", "only a JSON list of strings")]
#[case("USER a b", "one word is expected, there are 2")]
#[case("USER $NOBODY", "no ARG or ENV before it is called NOBODY")]
#[case("USER ${NOBODY:-1}", "only $NAME and ${NAME} are understood")]
#[case("LABEL a", "only NAME=VALUE is understood, not a")]
#[case("ENV A b", "only NAME=VALUE is understood")]
#[case("LABEL a=\"b", "a quote \" is not closed")]
#[case("FROM alpine", "only a last stage FROM scratch")]
#[case("# escape=`", "another escape character")]
#[case("USER 1 \\", "ends in a backslash")]
fn what_is_not_understood_is_refused_with_its_line(#[case] lines: &str, #[case] message: &str) {
    let error = format!("{:#}", Stage::last_of(&with(lines), &[]).unwrap_err());
    assert!(error.contains(message), "{error}");
}

#[rstest]
#[case("FROM scratch\nENTRYPOINT [\"/a\"]", "copies 0 roots")]
#[case(
    "FROM base AS build\nFROM scratch\nCOPY --from=build /rootfs/ /",
    "has no ENTRYPOINT"
)]
#[case("RUN true", "it has no FROM")]
fn what_is_missing_is_refused(#[case] text: &str, #[case] message: &str) {
    let error = format!("{:#}", Stage::last_of(text, &[]).unwrap_err());
    assert!(error.contains(message), "{error}");
}

#[test]
fn a_build_argument_that_nothing_takes_is_refused() {
    let error = format!(
        "{:#}",
        Stage::last_of(DOCKERFILE, &["REVISON=1".to_owned()]).unwrap_err()
    );
    assert!(error.contains("no ARG REVISON"), "{error}");
}
