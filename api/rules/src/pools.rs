//! Selectors, names and pools.

use super::*;

const GOLD: Object = object(IP_ADDRESS_POOL, "gold", "{addresses: [192.0.2.0/24]}");
const NODE: Object = object(
    "Node",
    "rack-1",
    "{metadata: {labels: {rack: a}}, status: {addresses: [{type: InternalIP, address: 192.0.2.7}]}}",
);
const HOLDER: Object = object(
    "Service",
    "web",
    "{metadata: {namespace: shop, annotations: {metallb.io/ip-allocated-from-pool: new}}, spec: {type: LoadBalancer}, \
     status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}}",
);

pub(super) const RULES: &[&Entry] = &[
    &Entry {
        at: ADMITTED,
        ..entry(
            Rule::N1,
            &[
                IP_ADDRESS_POOL,
                ADDRESS_POOL,
                L2_ADVERTISEMENT,
                BGP_ADVERTISEMENT,
                BGP_PEER,
                BFD_PROFILE,
                COMMUNITY,
            ],
            "is created in another namespace than MetalLB's",
            "{metadata: {namespace: default}, spec: {addresses: [10.0.0.0/24]}}",
            "{metadata: {namespace: metallb-system}, spec: {addresses: [10.0.0.0/24]}}",
            "resource must be created in metallb-system namespace",
        )
    },
    &entry(
        Rule::S1,
        &[L2_ADVERTISEMENT, BGP_ADVERTISEMENT, BGP_PEER, IP_ADDRESS_POOL],
        "has a label selector with a value twice in one expression",
        "{nodeSelectors: [{matchExpressions: [{key: rack, operator: In, values: [a, a]}]}]}",
        "{nodeSelectors: [{matchExpressions: [{key: rack, operator: In, values: [a, b]}]}]}",
        "duplicate value \"a\" in the match expression of key \"rack\"",
    ),
    &entry(
        Rule::S2,
        &[L2_ADVERTISEMENT, BGP_ADVERTISEMENT, BGP_PEER, IP_ADDRESS_POOL],
        "has a label selector with an expression twice, whatever the order of its values",
        "{nodeSelectors: [{matchExpressions: [{key: rack, operator: In, values: [a, b]}, {key: rack, operator: In, values: [b, a]}]}]}",
        "{nodeSelectors: [{matchExpressions: [{key: rack, operator: In, values: [a, b]}, {key: rack, operator: Exists}]}]}",
        "duplicate match expression of key \"rack\"",
    ),
    &entry(
        Rule::S3,
        &[L2_ADVERTISEMENT, BGP_ADVERTISEMENT, BGP_PEER, IP_ADDRESS_POOL],
        "has a list with the same label selector twice",
        "{nodeSelectors: [{matchLabels: {rack: a}}, {matchLabels: {rack: a}}]}",
        "{nodeSelectors: [{matchLabels: {rack: a}}, {matchLabels: {rack: b}}]}",
        "duplicate definition of the same selector",
    ),
    &entry(
        Rule::S4,
        &[L2_ADVERTISEMENT, BGP_ADVERTISEMENT, BGP_PEER, IP_ADDRESS_POOL],
        "has a label selector that Kubernetes would refuse: operator, values or label syntax",
        "{nodeSelectors: [{matchExpressions: [{key: rack, operator: In}]}]}",
        "{nodeSelectors: [{matchExpressions: [{key: rack, operator: Exists}]}]}",
        "invalid label selector: for 'in', 'notin' operators, values set can't be empty",
    ),
    &entry(
        Rule::P1,
        &[IP_ADDRESS_POOL],
        "has no addresses",
        "{addresses: []}",
        "{addresses: [10.0.0.0/24]}",
        "pool has no prefixes defined",
    ),
    &entry(
        Rule::P2,
        &[IP_ADDRESS_POOL],
        "has an entry that is neither address/length nor first-last",
        "{addresses: [10.0.0.0/33]}",
        "{addresses: [10.0.0.0/32, 10.0.1.1 - 10.0.1.9, 'fc00::/120']}",
        "invalid CIDR \"10.0.0.0/33\"",
    ),
    &entry(
        Rule::P3,
        &[IP_ADDRESS_POOL],
        "has a range that ends before it starts",
        "{addresses: [10.0.0.9-10.0.0.1]}",
        "{addresses: [10.0.0.1-10.0.0.9]}",
        "start IP \"10.0.0.9\" is after the end IP \"10.0.0.1\"",
    ),
    &Entry {
        beside: &[GOLD],
        ..entry(
            Rule::P4,
            &[IP_ADDRESS_POOL],
            "shares addresses with itself or with another pool of either kind",
            "{addresses: [192.0.2.128/25]}",
            "{addresses: [198.51.100.0/24]}",
            "CIDR \"192.0.2.128/25\" in pool \"new\" overlaps with already defined CIDR \"192.0.2.0/24\" of IPAddressPool gold",
        )
    },
    &entry(
        Rule::P6,
        &[IP_ADDRESS_POOL],
        "names a namespace twice",
        "{addresses: [10.0.0.0/24], serviceAllocation: {namespaces: [a, a]}}",
        "{addresses: [10.0.0.0/24], serviceAllocation: {namespaces: [a, b]}}",
        "duplicate definition of namespace \"a\"",
    ),
    &Entry {
        at: GONE,
        backends: NATIVE,
        beside: &[object(BGP_ADVERTISEMENT, "all", "{}")],
        ..entry(
            Rule::P8,
            &[IP_ADDRESS_POOL, BGP_ADVERTISEMENT],
            "holds IPv6 addresses that a BGPAdvertisement selects (upstream's P-8, A-11): it is judged as for FRR, and announced for IPv4 alone so far",
            "{addresses: ['fc00::/64']}",
            "{addresses: [10.0.0.0/24]}",
            "",
        )
    },
    &entry(
        Rule::W16,
        &[IP_ADDRESS_POOL],
        "has a range from one address family to the other",
        "{addresses: ['10.0.0.1-fc00::1']}",
        "{addresses: [10.0.0.1-10.0.0.2, 'fc00::1-fc00::2']}",
        "start and end IP must be of the same family",
    ),
    &entry(
        Rule::W17,
        &[IP_ADDRESS_POOL],
        "has an IPv4-mapped IPv6 prefix shorter than /96",
        "{addresses: ['::ffff:10.0.0.0/64']}",
        "{addresses: ['::ffff:10.0.0.0/120']}",
        "an IPv4-mapped IPv6 prefix must be /96 or longer",
    ),
    &Entry {
        at: WARNED,
        beside: &[NODE],
        ..entry(
            Rule::W18,
            &[IP_ADDRESS_POOL, ADDRESS_POOL],
            "holds an address of a Node or of its Pods, or addresses that no Service can use (loopback, link-local, multicast, unspecified), or has host bits set",
            "{addresses: [192.0.2.0/24]}",
            "{addresses: [198.51.100.0/24]}",
            "192.0.2.0/24 holds 192.0.2.7, an address of Node rack-1",
        )
    },
    &Entry {
        at: STRANDED,
        beside: &[HOLDER],
        ..entry(
            Rule::D1,
            &[IP_ADDRESS_POOL, ADDRESS_POOL],
            "is deleted while Services hold its addresses",
            "{addresses: [10.0.0.0/24]}",
            "{metadata: {name: unused}, spec: {addresses: [10.0.1.0/24]}}",
            "Service shop/web holds 10.0.0.1 of this pool",
        )
    },
    &Entry {
        at: WARNED,
        before: Some("{addresses: [10.0.0.0/24]}"),
        beside: &[HOLDER],
        ..entry(
            Rule::D5,
            &[IP_ADDRESS_POOL, ADDRESS_POOL],
            "loses addresses that Services hold",
            "{addresses: [10.0.0.128/25]}",
            "{addresses: [10.0.0.0/25]}",
            "Service shop/web holds 10.0.0.1, which the pool loses",
        )
    },
    &Entry {
        beside: &[object(IP_ADDRESS_POOL, NAME, "{addresses: [192.0.2.0/24]}")],
        ..entry(
            Rule::Ap2,
            &[ADDRESS_POOL, IP_ADDRESS_POOL],
            "has the name of a pool of the other kind",
            "{protocol: layer2, addresses: [10.0.0.0/24]}",
            "{metadata: {name: other}, spec: {protocol: layer2, addresses: [10.0.0.0/24]}}",
            "duplicate pool: the name is already defined by IPAddressPool new",
        )
    },
    &Entry {
        beside: &[GOLD],
        ..entry(
            Rule::Ap3,
            &[ADDRESS_POOL],
            "shares addresses with itself or with another pool of either kind",
            "{protocol: layer2, addresses: [192.0.2.7/32]}",
            "{protocol: layer2, addresses: [10.0.0.0/24]}",
            "overlaps with already defined CIDR \"192.0.2.0/24\" of IPAddressPool gold",
        )
    },
    &entry(
        Rule::Ap4,
        &[ADDRESS_POOL],
        "has no addresses, or an entry that the rules of IPAddressPool refuse",
        "{protocol: layer2, addresses: [10.0.0.1]}",
        "{protocol: layer2, addresses: [10.0.0.1/32]}",
        "invalid CIDR \"10.0.0.1\"",
    ),
    &entry(
        Rule::Ap5,
        &[ADDRESS_POOL],
        "has bgpAdvertisements with another protocol than bgp",
        "{protocol: layer2, addresses: [10.0.0.0/24], bgpAdvertisements: [{localPref: 1}]}",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{localPref: 1}]}",
        "bgpAdvertisements are only valid with protocol bgp",
    ),
    &entry(
        Rule::Ap6,
        &[ADDRESS_POOL],
        "has an aggregation length beyond 32 (IPv4) or 128 (IPv6)",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{aggregationLength: 33}]}",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{aggregationLength: 24}]}",
        "invalid aggregation length 33 for IPv4",
    ),
    &entry(
        Rule::Ap7,
        &[ADDRESS_POOL],
        "has an aggregation length shorter than the widest prefix of one of its entries",
        "{protocol: bgp, addresses: [10.0.0.0/28], bgpAdvertisements: [{aggregationLength: 26}]}",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{aggregationLength: 26}]}",
        "prefix 28 in this pool is more specific than the aggregation length",
    ),
    &entry(
        Rule::Ap8,
        &[ADDRESS_POOL],
        "has a community twice in one entry",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{communities: ['1:1', '1:1']}]}",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{communities: ['1:1', '1:2']}]}",
        "duplicate definition of community \"1:1\"",
    ),
    &entry(
        Rule::Ap9,
        &[ADDRESS_POOL],
        "has two equal bgpAdvertisements",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{communities: ['1:1']}, {communities: ['1:1']}]}",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{communities: ['1:1']}, {communities: ['1:2']}]}",
        "duplicate definition of advertisement",
    ),
    &entry(
        Rule::Ap10,
        &[ADDRESS_POOL],
        "has a community that does not read",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{communities: ['1:65536']}]}",
        "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{communities: ['large:1:2:3']}]}",
        "invalid community value: invalid section \"65536\"",
    ),
    &Entry {
        at: GONE,
        backends: NATIVE,
        ..entry(
            Rule::Ap11,
            &[ADDRESS_POOL],
            "has a large community: the native back-end speaks RFC 8092",
            "{protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [{communities: ['large:1:2:3']}]}",
            "{protocol: bgp, addresses: [10.0.0.0/24]}",
            "",
        )
    },
];
