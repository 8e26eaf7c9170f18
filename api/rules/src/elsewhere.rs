//! Rules and weak places of upstream that are no rule here, and what holds instead.

/// What became of a rule of upstream that has no entry of its own: its name there, and what holds here.
pub const ELSEWHERE: &[(&str, &str)] = &[
    (
        "P-5",
        "a namespace holds a name once; over both kinds of pool that is AP-2",
    ),
    ("P-7", "S-1 to S-4 hold for the selectors of serviceAllocation, too"),
    (
        "A-9",
        "two equal advertisements say the same, so both are fine; in an AddressPool AP-9 refuses them",
    ),
    ("A-11", "P-8"),
    ("B-8", "S-1 to S-4"),
    ("B-12", "B-31, which compares what peers mean instead of whole objects"),
    (
        "X-1",
        "the ConfigMap bgpextras is for FRR; in native mode nobody reads it",
    ),
    (
        "X-2",
        "a Service whose address lost its pool stays announced until its address has changed, and is named in ConfigurationState; D-1 and D-5 warn before",
    ),
    (
        "X-3",
        "a bad expression in the ConfigMap metallb-excludel2 keeps the speaker from starting, with a message that names it",
    ),
    ("AP-1", "N-1"),
    ("AP-12", "F-4"),
    (
        "O-6",
        "whether the platform can run the back-end is decided by the operator, which tells it in the conditions of the MetalLB resource",
    ),
    (
        "W-2",
        "B-9 is checked at admission; B-10 and B-11 warn only of what does not exist",
    ),
    ("W-3", "F-3"),
    (
        "W-4",
        "each write is judged against the whole configuration: A-4, A-5 and F-4 hold for pools, too",
    ),
    (
        "W-5",
        "on purpose: what is in a foreign namespace already has no effect, and its finalizers must be removable",
    ),
    (
        "W-6",
        "only errors that the object of the request takes part in count; updates that change nothing of the configuration and objects that are being deleted pass",
    ),
    (
        "W-7",
        "of two objects created at once the older stays in use, then the one with the lesser name",
    ),
    (
        "W-8",
        "each object is refused alone; controller and speaker keep the last good version of it",
    ),
    ("W-9", "the operator hands its back-end to the webhooks"),
    (
        "W-11",
        "D-1 to D-5 warn; deleting a Secret is not asked about, and the peer that needs it is named in ConfigurationState",
    ),
    ("W-13", "B-31 and AP-9 compare without metadata"),
    (
        "W-15",
        "B-13 says what the API server can enforce: an absent field may be set once",
    ),
    ("W-23", "the native back-end connects to IPv6 peers"),
    (
        "W-24",
        "localASN and sourceAddress are understood by every back-end that has them",
    ),
    (
        "W-27",
        "B-31 compares parsed addresses, interface and VRF each by itself",
    ),
    ("W-28", "X-1"),
    ("W-30", "about the objects made for frr-k8s, not about what users write"),
    ("W-31", "AS numbers of four octets throughout"),
    ("W-32", "namespaceSelectors that match no namespace mean nobody"),
    ("W-33", "any number orders pools, negative ones first"),
    (
        "W-34",
        "sharing an address is decided by the allocator, which keeps Local and Cluster apart",
    ),
    (
        "W-35",
        "decided per Service by the speaker, which tells it in its log and events",
    ),
    (
        "W-36",
        "ConfigurationState is written from the parser's result alone, once all kinds are read",
    ),
    (
        "W-37",
        "node names that are no label value are shortened, or left out of the labels",
    ),
    ("W-38", "statuses are sorted and written when they change"),
    (
        "W-40",
        "absent timers stay absent in conversion, and what v1beta1 cannot say travels in an annotation",
    ),
    ("W-41", "conversionReviewVersions are v1 and v1beta1"),
    ("W-42", "one name of each webhook, that of upstream's manifests"),
];
