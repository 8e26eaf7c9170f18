//! Rights that are granted although the end-to-end tests do not use them, each with its reason.

/// Rights with one reason. A list that is empty stands for everything.
pub(super) struct Spared {
    pub(super) roles: &'static [&'static str],
    pub(super) resources: &'static [&'static str],
    pub(super) names: &'static [&'static str],
    pub(super) verbs: &'static [&'static str],
    pub(super) why: &'static str,
}

impl Spared {
    const fn new(roles: &'static [&'static str], resources: &'static [&'static str], why: &'static str) -> Self {
        Self {
            roles,
            resources,
            names: &[],
            verbs: &[],
            why,
        }
    }

    const fn verbs(self, verbs: &'static [&'static str]) -> Self {
        Self { verbs, ..self }
    }

    const fn names(self, names: &'static [&'static str]) -> Self {
        Self { names, ..self }
    }
}

const OPERATOR: &[&str] = &["metallb-manager-role"];
const WRITES: &[&str] = &["create", "delete", "get", "patch"];

/// All of them.
pub(super) const SPARED: &[Spared] = &[
    Spared::new(
        &["frr-k8s-daemon-role"],
        &[],
        "another program, which only the back-end frr-k8s runs",
    ),
    Spared::new(
        &[],
        &[
            "apiservers.config.openshift.io",
            "clusteroperators.config.openshift.io",
            "networks.operator.openshift.io",
            "securitycontextconstraints.security.openshift.io",
        ],
        "OpenShift has the kind, nobody else",
    ),
    Spared::new(
        &["metallb-inspect", "metallb-viewer"],
        &[],
        "for people, who are not there",
    ),
    Spared::new(
        &[],
        &["frrconfigurations.frrk8s.metallb.io", "frrnodestates.frrk8s.metallb.io"],
        "written, withdrawn and heard of with the back-end frr-k8s",
    ),
    Spared::new(
        OPERATOR,
        &["secrets"],
        "the token that a Prometheus operator of the cluster scrapes with",
    )
    .names(&["metallb-metrics-token"]),
    Spared::new(
        OPERATOR,
        &[
            "podmonitors.monitoring.coreos.com",
            "prometheusrules.monitoring.coreos.com",
            "servicemonitors.monitoring.coreos.com",
        ],
        "the kind comes with a Prometheus operator",
    ),
    Spared::new(
        OPERATOR,
        &["poddisruptionbudgets.policy"],
        "made when there are several controllers",
    )
    .verbs(WRITES),
    Spared::new(
        OPERATOR,
        &["serviceaccounts"],
        "made for monitors; the others come with the installation",
    )
    .verbs(&["create"]),
    Spared::new(
        &["controller", "speaker"],
        &["configurationstates.metallb.io"],
        "OpenShift's admission asks for it, when a new pod becomes the owner",
    )
    .verbs(&["delete"]),
    Spared::new(
        &["speaker"],
        &["bgpsessionstates.frrk8s.metallb.io"],
        "the state of a session goes with its BGPPeer; and as for ConfigurationStates",
    )
    .verbs(&["delete"]),
    Spared::new(
        &["metallb-manager-role", "metallb-system:controller"],
        &["validatingwebhookconfigurations.admissionregistration.k8s.io"],
        "OpenShift's admission asks for it before it lets the namespace become the owner",
    )
    .verbs(&["delete"]),
    Spared::new(
        OPERATOR,
        &["metallbs/finalizers.metallb.io"],
        "OpenShift's admission asks for it, of whoever makes objects that hold up the deletion of their owner",
    ),
    Spared::new(
        &[
            "metallb-manager-role",
            "metallb-system:controller",
            "metallb-system:speaker",
        ],
        &["events.events.k8s.io"],
        "an event that comes again within six minutes raises the count of the first",
    )
    .verbs(&["patch"]),
    Spared::new(
        &["controller"],
        &["servicebgpstatuses.metallb.io"],
        "whoever deletes a BGPPeer is told which Services are announced to it",
    ),
    Spared::new(
        &["metallb-system:controller", "metallb-system:speaker"],
        &[
            "tokenreviews.authentication.k8s.io",
            "subjectaccessreviews.authorization.k8s.io",
        ],
        "asked about whoever scrapes metrics",
    ),
];
