//! Tools written in Go that judge what we ship; how they are built, `metallb_test_runner::tools` says.
//!
//! Another tool is another folder beside `tests/judges/tools/helm` and another [`Tool`] constant.

use std::process::Command;

use anyhow::{Context, Result, bail};
pub use metallb_test_runner::tools::Tool;

/// Helm, as its release is built: so it claims the Kubernetes version that its client library is of.
pub const HELM: Tool = Tool {
    name: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    module: "helm.sh/helm/v3",
    tags: "",
    variables: &[
        ("helm.sh/helm/v3/internal/version.version", "v3"),
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor", "1"),
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor", "36"),
        ("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor", "1"),
        ("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor", "36"),
    ],
};

/// Judges the manifests of a bundle as the catalogs of operators do.
pub const OPERATOR_VERIFY: Tool = Tool {
    name: "operator-verify",
    package: "github.com/operator-framework/api/cmd/operator-verify",
    module: "github.com/operator-framework/api",
    tags: "",
    variables: &[],
};

/// Makes, judges and serves catalogs of operators.
pub const OPM: Tool = Tool {
    name: "opm",
    package: "github.com/operator-framework/operator-registry/cmd/opm",
    module: "github.com/operator-framework/operator-registry",
    tags: "json1,containers_image_openpgp,exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper",
    variables: &[],
};

/// Upstream's speaker, as it was before ours takes its place.
pub const UPSTREAM_SPEAKER: Tool = Tool {
    name: "speaker",
    package: "go.universe.tf/metallb/speaker",
    module: "go.universe.tf/metallb",
    tags: "",
    variables: &[],
};

/// Runs a program to its end; what it printed.
///
/// # Errors
/// When it fails: the message is what it complained about.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_names_the_version() {
        assert!(HELM.version().unwrap().starts_with("v3."));
    }
}
