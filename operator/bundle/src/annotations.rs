//! What says what a bundle is: its annotations, and the labels of its image, which must be equal.

use std::fmt::Write;

use crate::PACKAGE;

/// The channels in the catalog: releases, and what may become one.
pub(crate) const CHANNELS: [&str; 2] = ["stable", "candidate"];

/// The folders of a bundle, in its image and in `bundle/`.
const FOLDERS: [&str; 3] = ["manifests/", "metadata/", "tests/scorecard/"];

fn annotations() -> [(&'static str, String); 8] {
    let [manifests, metadata, scorecard] = FOLDERS.map(ToOwned::to_owned);
    [
        (
            "operators.operatorframework.io.bundle.mediatype.v1",
            "registry+v1".to_owned(),
        ),
        ("operators.operatorframework.io.bundle.manifests.v1", manifests),
        ("operators.operatorframework.io.bundle.metadata.v1", metadata),
        ("operators.operatorframework.io.bundle.package.v1", PACKAGE.to_owned()),
        ("operators.operatorframework.io.bundle.channels.v1", CHANNELS.join(",")),
        (
            "operators.operatorframework.io.bundle.channel.default.v1",
            CHANNELS[0].to_owned(),
        ),
        (
            "operators.operatorframework.io.test.mediatype.v1",
            "scorecard+v1".to_owned(),
        ),
        ("operators.operatorframework.io.test.config.v1", scorecard),
    ]
}

pub(crate) fn yaml() -> String {
    let mut text = String::from("annotations:\n");
    for (key, value) in annotations() {
        let _ = writeln!(text, "  {key}: {value}");
    }
    text
}

pub(crate) fn dockerfile() -> String {
    let mut text = String::from("FROM scratch\n\n");
    for (key, value) in annotations() {
        let _ = writeln!(text, "LABEL {key}={value}");
    }
    text.push('\n');
    for folder in FOLDERS {
        let _ = writeln!(text, "COPY bundle/{folder} /{folder}");
    }
    text
}

/// The tests of `operator-sdk scorecard` that every bundle should pass.
pub(crate) fn scorecard() -> String {
    let tests = [
        ("basic", "basic-check-spec"),
        ("olm", "olm-bundle-validation"),
        ("olm", "olm-crds-have-validation"),
        ("olm", "olm-crds-have-resources"),
        ("olm", "olm-spec-descriptors"),
        ("olm", "olm-status-descriptors"),
    ];
    let mut text = String::from(
        "apiVersion: scorecard.operatorframework.io/v1alpha3\nkind: Configuration\nmetadata:\n  name: config\nstages:\n- parallel: true\n  tests:\n",
    );
    for (suite, test) in tests {
        let _ = write!(
            text,
            "  - entrypoint:\n    - scorecard-test\n    - {test}\n    image: quay.io/operator-framework/scorecard-test:v1.42.0\n    labels:\n      suite: {suite}\n      test: {test}-test\n"
        );
    }
    text
}
