//! Helm as a function: a chart and values in, objects or a complaint out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use metallb_judges::repository;
use metallb_judges::tools::{HELM, run};
use serde_json::Value;

/// Where releases of these tests go.
pub(crate) const NAMESPACE: &str = "metallb-system";

/// A chart, with Helm to judge it by.
pub(crate) struct Chart {
    helm: PathBuf,
    folder: PathBuf,
    release: String,
    namespace: String,
    args: Vec<String>,
}

/// The chart of MetalLB; the test is skipped where there is no Helm.
pub(crate) fn metallb() -> Chart {
    chart("metallb")
}

/// The chart of the operator, likewise.
pub(crate) fn metallb_operator() -> Chart {
    chart("metallb-operator")
}

fn chart(name: &str) -> Chart {
    let folder = repository().join("charts").join(name);
    Chart {
        helm: HELM.program(),
        folder,
        release: name.to_owned(),
        namespace: NAMESPACE.to_owned(),
        args: Vec::new(),
    }
}

impl Chart {
    /// Another release's name.
    pub(crate) fn release(mut self, name: &str) -> Self {
        self.release = name.to_owned();
        self
    }

    /// Another namespace.
    pub(crate) fn namespace(mut self, name: &str) -> Self {
        self.namespace = name.to_owned();
        self
    }

    /// Values as after `--set`.
    pub(crate) fn set(mut self, values: &str) -> Self {
        self.args.extend(["--set".to_owned(), values.to_owned()]);
        self
    }

    /// A value as after `--set-json`.
    pub(crate) fn json(mut self, value: &str) -> Self {
        self.args.extend(["--set-json".to_owned(), value.to_owned()]);
        self
    }

    /// A file of values, from the folder of these tests.
    pub(crate) fn file(mut self, name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts").join(name);
        self.args.extend(["--values".to_owned(), path.display().to_string()]);
        self
    }

    /// The folder of the chart.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Another command than `template`.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.helm);
        command.arg(name).args(&self.args);
        command
    }

    /// What the chart renders.
    pub(crate) fn objects(&self) -> Objects {
        let text = self.rendered().unwrap();
        let all: Vec<Option<Value>> = serde_saphyr::from_multiple(&text).unwrap();
        Objects(all.into_iter().flatten().collect())
    }

    /// Why the chart renders nothing.
    pub(crate) fn refusal(&self) -> String {
        format!("{:#}", self.rendered().map(drop).unwrap_err())
    }

    fn rendered(&self) -> anyhow::Result<String> {
        let mut command = self.command("template");
        command
            .args([&self.release, "--namespace", &self.namespace])
            .arg(&self.folder);
        run(&mut command)
    }
}

/// Rendered objects.
pub(crate) struct Objects(pub(crate) Vec<Value>);

impl Objects {
    /// `Kind/name` of all.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        self.0.iter().map(key).collect()
    }

    /// The object of this `Kind/name`.
    #[track_caller]
    pub(crate) fn get(&self, wanted: &str) -> &Value {
        let found = self.0.iter().find(|object| key(object) == wanted);
        found.unwrap_or_else(|| panic!("no {wanted} among {:#?}", self.keys()))
    }

    /// A container of a workload.
    #[track_caller]
    pub(crate) fn container(&self, workload: &str, name: &str) -> &Value {
        let pod = self.pod(workload);
        let lists = ["initContainers", "containers"].map(|list| pod[list].as_array());
        let mut all = lists.into_iter().flatten().flatten();
        all.find(|container| container["name"] == name)
            .unwrap_or_else(|| panic!("no container {name} in {workload}"))
    }

    /// The pod of a workload.
    #[track_caller]
    pub(crate) fn pod(&self, workload: &str) -> &Value {
        &self.get(workload)["spec"]["template"]["spec"]
    }
}

/// `Kind/name`.
pub(crate) fn key(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// The strings of a list.
pub(crate) fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The names of a list of things with names.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|item| item["name"].as_str()).collect()
}
