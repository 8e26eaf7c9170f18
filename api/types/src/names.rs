//! Names, labels and annotations that are an interface to users, to upstream installs or between components.

/// The API group of all kinds.
pub const GROUP: &str = "metallb.io";

/// The prefix of annotations in current use.
pub const ANNOTATION_PREFIX: &str = "metallb.io";
/// The prefix of annotations of old, read when the current one is absent.
pub const DEPRECATED_ANNOTATION_PREFIX: &str = "metallb.universe.tf";

/// On a Service: the pool to take the address from.
pub const ANNOTATION_ADDRESS_POOL: &str = "metallb.io/address-pool";
/// On a Service: the addresses wanted, separated by commas.
pub const ANNOTATION_LOAD_BALANCER_IPS: &str = "metallb.io/loadBalancerIPs";
/// On a Service: the key of those who may share an address.
pub const ANNOTATION_ALLOW_SHARED_IP: &str = "metallb.io/allow-shared-ip";
/// On a Service, written by the controller: the pool that the address is from.
pub const ANNOTATION_IP_ALLOCATED_FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";
/// The old name of [`ANNOTATION_ADDRESS_POOL`].
pub const DEPRECATED_ANNOTATION_ADDRESS_POOL: &str = "metallb.universe.tf/address-pool";
/// The old name of [`ANNOTATION_LOAD_BALANCER_IPS`].
pub const DEPRECATED_ANNOTATION_LOAD_BALANCER_IPS: &str = "metallb.universe.tf/loadBalancerIPs";
/// The old name of [`ANNOTATION_ALLOW_SHARED_IP`].
pub const DEPRECATED_ANNOTATION_ALLOW_SHARED_IP: &str = "metallb.universe.tf/allow-shared-ip";
/// The old name of [`ANNOTATION_IP_ALLOCATED_FROM_POOL`].
pub const DEPRECATED_ANNOTATION_IP_ALLOCATED_FROM_POOL: &str = "metallb.universe.tf/ip-allocated-from-pool";

/// On ServiceL2Status and ServiceBGPStatus: the announcing node.
pub const LABEL_NODE: &str = "metallb.io/node";
/// On ServiceL2Status and ServiceBGPStatus: the name of the Service.
pub const LABEL_SERVICE_NAME: &str = "metallb.io/service-name";
/// On ServiceL2Status and ServiceBGPStatus: the namespace of the Service.
pub const LABEL_SERVICE_NAMESPACE: &str = "metallb.io/service-namespace";
/// On BGPSessionState, from frr-k8s: the node.
pub const LABEL_SESSION_NODE: &str = "frrk8s.metallb.io/node";
/// On BGPSessionState, from frr-k8s: the address of the peer.
pub const LABEL_SESSION_PEER: &str = "frrk8s.metallb.io/peer";
/// On BGPSessionState, from frr-k8s: the VRF, empty for the main one.
pub const LABEL_SESSION_VRF: &str = "frrk8s.metallb.io/vrf";
/// On BGPSessionState: the name of the BGPPeer.
pub const LABEL_PEER: &str = "metallb.io/peer";
/// On ConfigurationState: `controller` or `speaker`.
pub const LABEL_COMPONENT_TYPE: &str = "metallb.io/component-type";
/// On ConfigurationState of a speaker: its node.
pub const LABEL_NODE_NAME: &str = "metallb.io/node-name";
/// On a Node: not for load balancers.
pub const LABEL_EXCLUDE_LB: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// On a Node, with any value but `false`: drain it of BGP traffic, and announce nothing from there until the label is gone.
pub const LABEL_DRAIN: &str = "metallb.io/drain";
/// On an EndpointSlice: its Service.
pub const LABEL_SLICE_SERVICE: &str = "kubernetes.io/service-name";
/// On a Node: its host name.
pub const LABEL_HOSTNAME: &str = "kubernetes.io/hostname";
/// On objects of the operator and of the plain manifests: `metallb`.
pub const LABEL_APP: &str = "app";
/// On objects of the operator and of the plain manifests: which part it is.
pub const LABEL_COMPONENT: &str = "component";
/// The value of [`LABEL_APP`].
pub const APP: &str = "metallb";

/// The namespace of a default install.
pub const DEFAULT_NAMESPACE: &str = "metallb-system";
/// The one MetalLB resource that counts.
pub const METALLB_RESOURCE: &str = "metallb";

/// The controller: its Deployment, container, ServiceAccount and component label.
pub const CONTROLLER: &str = "controller";
/// The speaker: its DaemonSet, container, ServiceAccount and component label.
pub const SPEAKER: &str = "speaker";
/// The component label of the Deployment that serves only webhooks.
pub const WEBHOOK_SERVER: &str = "webhook-server";
/// The Secret with the key of the membership protocol, under the operator.
pub const MEMBERLIST_SECRET: &str = "metallb-memberlist";
/// The Secret with the key of the membership protocol, in the plain manifests.
pub const PLAIN_MEMBERLIST_SECRET: &str = "memberlist";
/// The key inside the memberlist Secret.
pub const MEMBERLIST_SECRET_KEY: &str = "secretkey";
/// The ConfigMap that users may make to tune the membership protocol.
pub const MEMBERLIST_CONFIG_MAP: &str = "metallb-memberlist-config";
/// The ConfigMap that names the interfaces never used in layer 2.
pub const EXCLUDE_L2_CONFIG_MAP: &str = "metallb-excludel2";
/// The key inside the ConfigMap of excluded interfaces.
pub const EXCLUDE_L2_KEY: &str = "excludel2.yaml";
/// The ConfigMap with the TLS settings that the operator passes on.
pub const TLS_CONFIG_MAP: &str = "metallb-tls-config";
/// The ConfigMap with text appended to FRR's configuration.
pub const BGP_EXTRAS_CONFIG_MAP: &str = "bgpextras";

/// The ConfigMap with the files that FRR beside the speaker starts with.
pub const FRR_STARTUP_CONFIG_MAP: &str = "frr-startup";
/// The DaemonSet of a bundled frr-k8s, under the operator.
pub const FRR_K8S: &str = "frr-k8s";
/// The ServiceAccount of a bundled frr-k8s.
pub const FRR_K8S_SERVICE_ACCOUNT: &str = "frr-k8s-daemon";
/// The ConfigMap with the files that FRR in frr-k8s starts with. Upstream's operator uses `frr-startup` for both.
pub const FRR_K8S_STARTUP_CONFIG_MAP: &str = "frr-k8s-frr-startup";
/// The Deployment that serves the webhook of frr-k8s and clears states of nodes that are gone, under the operator.
pub const FRR_K8S_CLEANER: &str = "statuscleaner";
/// The Service of the webhook of frr-k8s.
pub const FRR_K8S_WEBHOOK_SERVICE: &str = "frr-k8s-webhook-service";
/// The Secret with the certificate of that Service.
pub const FRR_K8S_WEBHOOK_SECRET: &str = "frr-k8s-webhook-server-cert";
/// The ValidatingWebhookConfiguration of frr-k8s.
pub const FRR_K8S_WEBHOOK_CONFIGURATION: &str = "frr-k8s-validating-webhook-configuration";
/// The ServiceAccount without pods whose tokens read `/inspect`, and its ClusterRole.
pub const INSPECT: &str = "metallb-inspect";
/// The ClusterRole and Role for people who look at MetalLB; bound to nobody.
pub const VIEWER: &str = "metallb-viewer";
/// The ServiceAccount and ClusterRole of whoever scrapes metrics through PodMonitors.
pub const METRICS_READER: &str = "metallb-metrics-reader";
/// The Secret with the token of that account.
pub const METRICS_TOKEN_SECRET: &str = "metallb-metrics-token";
/// The type of the Secrets that hold passwords of BGP peers, under the key `password`.
pub const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
/// The API group of frr-k8s.
pub const FRR_K8S_GROUP: &str = "frrk8s.metallb.io";
/// The SecurityContextConstraints of the speaker, on OpenShift.
pub const SPEAKER_SCC: &str = "metallb-speaker";

/// The Service of the webhooks of the configuration kinds.
pub const WEBHOOK_SERVICE: &str = "metallb-webhook-service";
/// The Secret with the certificate of that Service.
pub const WEBHOOK_SECRET: &str = "metallb-webhook-cert";
/// The ValidatingWebhookConfiguration of the configuration kinds.
pub const WEBHOOK_CONFIGURATION: &str = "metallb-webhook-configuration";
/// The path of the conversion webhook.
pub const CONVERSION_PATH: &str = "/convert";
/// Path of the webhook that warns of what a deletion leaves behind.
pub const DELETION_PATH: &str = "/warn-metallb-io-deletion";
/// The port that webhooks are served on.
pub const WEBHOOK_PORT: u16 = 9443;

/// The Deployment of the operator.
pub const OPERATOR_DEPLOYMENT: &str = "metallb-operator-controller-manager";
/// The ServiceAccount of the operator.
pub const OPERATOR_SERVICE_ACCOUNT: &str = "manager-account";
/// The Deployment that serves only webhooks.
pub const WEBHOOK_DEPLOYMENT: &str = "metallb-operator-webhook-server";
/// The Service of the operator's own webhook.
pub const OPERATOR_WEBHOOK_SERVICE: &str = "metallb-operator-webhook-service";
/// The Secret with the certificate of that Service.
pub const OPERATOR_WEBHOOK_SECRET: &str = "metallb-operator-webhook-server-cert";
/// The ValidatingWebhookConfiguration of the MetalLB kind.
pub const OPERATOR_WEBHOOK_CONFIGURATION: &str = "metallb-operator-webhook-configuration";
/// The Lease that the operator's leader holds.
pub const OPERATOR_LEASE: &str = "metallb.io.metallboperator";

/// The Lease that the assigning controller holds.
pub const CONTROLLER_LEASE: &str = "metallb-controller";

/// The name of the controller's ConfigurationState.
pub const CONTROLLER_STATE: &str = "controller";
/// Condition of a Service: whether it has addresses, and why not.
pub const CONDITION_ALLOCATED: &str = "metallb.io/Allocated";
/// The condition of a Service that no node may announce; others do not carry it.
pub const CONDITION_ANNOUNCEABLE: &str = "metallb.io/Announceable";
/// The condition of a Service that has addresses: whether, and from where, speakers announce it.
pub const CONDITION_ANNOUNCED: &str = "metallb.io/Announced";
/// The condition of the controller's ConfigurationState.
pub const CONDITION_POOL_RECONCILER: &str = "poolReconcilerValid";
/// The condition of a speaker's ConfigurationState.
pub const CONDITION_CONFIG_RECONCILER: &str = "configReconcilerValid";
/// The reason of a condition that holds.
pub const REASON_RECONCILED: &str = "Reconciled";
/// The reason of a condition that does not.
pub const REASON_CONFIGURATION_ERROR: &str = "ConfigurationError";

/// The name of a speaker's ConfigurationState.
pub fn speaker_state(node: &str) -> String {
    format!("speaker-{node}")
}

/// Who owns which fields in server-side apply.
pub mod field_manager {
    /// The operator, of all that it deploys.
    pub const OPERATOR: &str = "metallb-operator";
    /// The controller, of what it writes besides Services.
    pub const CONTROLLER: &str = "metallb-controller";
    /// The speaker, of its status objects.
    pub const SPEAKER: &str = "metallb-speaker";
    /// Whoever injects a caBundle, of that field only.
    pub const CA_INJECTOR: &str = "metallb-ca-injector";
    /// The controller, of its condition in the ConfigurationState.
    pub const POOL_RECONCILER: &str = "poolReconciler";
    /// A speaker, of its condition in the ConfigurationState.
    pub const CONFIG_RECONCILER: &str = "configReconciler";
}

/// Who reports events.
pub mod event_source {
    /// The controller.
    pub const CONTROLLER: &str = "metallb-controller";
    /// The speaker.
    pub const SPEAKER: &str = "metallb-speaker";
    /// The operator.
    pub const OPERATOR: &str = "metallb-operator";
}

/// Reasons of the condition [`CONDITION_ALLOCATED`], stable for scripts and alerts.
pub mod allocation_reason {
    /// The Service has what it asks for.
    pub const ALLOCATED: &str = "Allocated";
    /// It has an address, but its pool has none of the second family left.
    pub const SECOND_FAMILY_MISSING: &str = "SecondFamilyMissing";
    /// It keeps its addresses, because what it asks for now cannot be had.
    pub const REQUEST_REFUSED: &str = "RequestRefused";
    /// What it asks for cannot be understood.
    pub const INVALID_REQUEST: &str = "InvalidRequest";
    /// The wanted addresses are not of the families of the Service, or its policy does not fit its cluster addresses.
    pub const FAMILY_MISMATCH: &str = "FamilyMismatch";
    /// No pool, or not one pool alone, has the wanted addresses.
    pub const ADDRESS_NOT_IN_POOL: &str = "AddressNotInPool";
    /// The wanted addresses are not in the wanted pool.
    pub const ADDRESS_NOT_IN_WANTED_POOL: &str = "AddressNotInWantedPool";
    /// The pool does not serve this Service.
    pub const POOL_NOT_ALLOWED: &str = "PoolNotAllowed";
    /// There is no pool of the wanted name.
    pub const UNKNOWN_POOL: &str = "UnknownPool";
    /// Another Service has the wanted address and does not share it.
    pub const ADDRESS_IN_USE: &str = "AddressInUse";
    /// Another Service has the port on the shared address.
    pub const PORT_IN_USE: &str = "PortInUse";
    /// No pool has anything to give.
    pub const NO_AVAILABLE_ADDRESSES: &str = "NoAvailableAddresses";
    /// There are no pools.
    pub const NO_POOLS: &str = "NoPools";
    /// The Service has no cluster addresses.
    pub const NO_CLUSTER_IPS: &str = "NoClusterIPs";
    /// Dual stack is required and there is only one cluster address.
    pub const NOT_ENOUGH_CLUSTER_IPS: &str = "NotEnoughClusterIPs";
    /// The families of the cluster addresses are unclear.
    pub const INVALID_CLUSTER_IPS: &str = "InvalidClusterIPs";

    /// All with which a Service may be without an address, or without what it asks for.
    pub const REFUSALS: [&str; 14] = [
        REQUEST_REFUSED,
        INVALID_REQUEST,
        FAMILY_MISMATCH,
        ADDRESS_NOT_IN_POOL,
        ADDRESS_NOT_IN_WANTED_POOL,
        POOL_NOT_ALLOWED,
        UNKNOWN_POOL,
        ADDRESS_IN_USE,
        PORT_IN_USE,
        NO_AVAILABLE_ADDRESSES,
        NO_POOLS,
        NO_CLUSTER_IPS,
        NOT_ENOUGH_CLUSTER_IPS,
        INVALID_CLUSTER_IPS,
    ];
}

/// Reasons of the condition [`CONDITION_ANNOUNCEABLE`] and of the event that comes with it, stable for scripts and alerts.
pub mod announcement_reason {
    /// No advertisement selects the pool of the addresses.
    pub const NO_ADVERTISEMENT: &str = "NoAdvertisement";
    /// The service selectors of the pool's advertisements match other Services.
    pub const SERVICE_NOT_SELECTED: &str = "ServiceNotSelected";
    /// A shared address under an L2Advertisement with service selectors.
    pub const SHARED_IP_WITH_SERVICE_SELECTOR: &str = "SharedIPWithServiceSelector";
    /// The node selectors of the pool's advertisements match no Node.
    pub const NO_MATCHING_NODE: &str = "NoMatchingNode";
    /// The pool's BGPAdvertisements reach no BGPPeer.
    pub const NO_PEER: &str = "NoPeer";
    /// All Nodes that may announce have the condition `NetworkUnavailable`.
    pub const NODES_UNAVAILABLE: &str = "NodesUnavailable";
    /// All Nodes that may announce are excluded by their label.
    pub const NODES_EXCLUDED: &str = "NodesExcluded";
    /// All of them.
    pub const ALL: [&str; 7] = [
        NO_ADVERTISEMENT,
        SERVICE_NOT_SELECTED,
        SHARED_IP_WITH_SERVICE_SELECTOR,
        NO_MATCHING_NODE,
        NO_PEER,
        NODES_UNAVAILABLE,
        NODES_EXCLUDED,
    ];
}

/// Reasons of the condition [`CONDITION_ANNOUNCED`], stable for scripts and alerts.
pub mod announced_reason {
    /// At least one speaker announces the Service.
    pub const ANNOUNCED: &str = "Announced";
    /// No speaker says that it does.
    pub const NOT_ANNOUNCED: &str = "NotAnnounced";
}

/// Reasons of events on Services; scripts and alerts match them.
pub mod event_reason {
    /// An address was assigned.
    pub const IP_ALLOCATED: &str = "IPAllocated";
    /// The present address is not allowed any more.
    pub const CLEAR_ASSIGNMENT: &str = "ClearAssignment";
    /// The pool has no address of the second family.
    pub const ADDITIONAL_ASSIGN_FAILED: &str = "AdditionalAssignFailed";
    /// No address could be assigned.
    pub const ALLOCATION_FAILED: &str = "AllocationFailed";
    /// The wanted addresses are invalid while one is held.
    pub const LOAD_BALANCER_FAILED: &str = "LoadBalancerFailed";
    /// Dual stack is required and there is only one cluster address.
    pub const NOT_ENOUGH_CLUSTER_IPS: &str = "not enough clusterips";
    /// The family of the assigned addresses is unclear.
    pub const NO_LB_IPS_FAMILY: &str = "nolbIPsIPFamily";
    /// The family of the cluster addresses is unclear.
    pub const NO_CLUSTER_IPS_FAMILY: &str = "noclusterIPsIPFamily";
    /// Somebody else keeps overwriting the status of the Service.
    pub const STATUS_OVERWRITTEN: &str = "StatusOverwritten";
    /// An object of the configuration is in use and does something else than it says.
    pub const CONFIG_DOUBTFUL: &str = "ConfigDoubtful";
    /// The allocator contradicts itself.
    pub const INTERNAL_ERROR: &str = "InternalError";
    /// The Service has an annotation with the old prefix.
    pub const DEPRECATED_ANNOTATION: &str = "deprecatedAnnotation";
    /// A node announces the Service.
    pub const NODE_ASSIGNED: &str = "nodeAssigned";
    /// On a BGPPeer: a node has a session with it now.
    pub const SESSION_UP: &str = "SessionUp";
    /// On a BGPPeer: a node has no session with it, or none any more.
    pub const SESSION_DOWN: &str = "SessionDown";
    /// On a BGPPeer: one of the two sides refuses the session.
    pub const SESSION_REFUSED: &str = "SessionRefused";
    /// On a BGPPeer: BFD says that the path to it works.
    pub const BFD_UP: &str = "BFDUp";
    /// On a BGPPeer: BFD says that the path to it does not work any more.
    pub const BFD_DOWN: &str = "BFDDown";
    /// The Service cannot be announced from the elected node.
    pub const ANNOUNCE_FAILED: &str = "announceFailed";
}
