//! The parts of a lab that others may put in the place of the lab's own: who stores the objects, who runs the pods, and
//! what stands between them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;

/// A running control plane, which serves at [`API_ADDRESS`](crate::API_ADDRESS).
pub trait ControlPlane: Send + Sync {
    /// A client with every right.
    fn client(&self) -> Client;
    /// The authority that signed the certificate.
    fn ca(&self) -> &str;
    /// A kubeconfig for people on this machine.
    fn kubeconfig(&self) -> &Path;
    /// Whether it makes pods of Deployments and DaemonSets and fills EndpointSlices; the lab does where not. The lab
    /// schedules the pods of its own nodes always.
    fn has_controllers(&self) -> bool;
    /// Ends it.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Nodes that are not the lab's own.
pub trait Nodes: Send + Sync {
    /// Ends a node as a power failure does. What is returned is what the cluster does about it, later.
    ///
    /// # Errors
    /// When there is no such node.
    fn kill(&self, name: &str) -> Result<BoxFuture<'static, Result<()>>>;
}

/// Somebody between the pods and the API server.
pub trait Door: Send + Sync {
    /// Where the pods find it.
    fn address(&self) -> SocketAddr;
    /// The authority of its certificate.
    fn ca(&self) -> &str;
    /// Tells that this token is that of a pod on the node.
    fn learn(&self, token: &str, pod: &Pod, node: &str);
}

/// What a lab is put together from.
pub struct Parts {
    /// Who stores the objects.
    pub control_plane: Box<dyn ControlPlane>,
    /// Who runs the pods; the lab's own agents when `None`.
    pub nodes: Option<Arc<dyn Nodes>>,
    /// What the pods take for the API server, if not that itself.
    pub door: Option<Arc<dyn Door>>,
}
