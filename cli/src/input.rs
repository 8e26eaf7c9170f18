//! Reading objects: from a cluster, or from files.

pub(crate) mod cluster;
pub(crate) mod files;

use std::time::SystemTime;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;

use crate::args::Global;
use crate::facts::Facts;

/// What a command looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The configuration, which tells where MetalLB runs, and its programs there.
    Programs,
    /// What the configuration speaks of, too: Nodes and Namespaces.
    Configuration,
    /// Services and their endpoints, too.
    Everything,
    /// What speakers write about Services and sessions, too.
    Statuses,
}

/// Why nothing could be read.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or a file; code 2.
    Usage(anyhow::Error),
    /// The cluster; code 3.
    Cluster(anyhow::Error),
}

/// Reads what a command looks at.
pub(crate) async fn read(global: &Global, wanted: Wanted) -> Result<Facts, Failure> {
    if global.from.is_empty() {
        return cluster::read(global, wanted).await;
    }
    let objects = files::read(&global.from).map_err(Failure::Usage)?;
    let now = objects.newest.unwrap_or_else(now);
    Ok(files::facts(objects, now))
}

/// The time of now.
pub(crate) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or_default()
}
