//! Advertisements and communities.

use super::*;

const SMALL: Object = object(IP_ADDRESS_POOL, "small", "{addresses: [1.1.1.0/28]}");
const ALL_L2: Object = object(L2_ADVERTISEMENT, "all", "{}");

const SIXTY_FOUR: &str = "{communities: ['1:0', '1:1', '1:2', '1:3', '1:4', '1:5', '1:6', '1:7', '1:8', '1:9', '1:10', '1:11', '1:12',  \
     '1:13', '1:14', '1:15', '1:16', '1:17', '1:18', '1:19', '1:20', '1:21', '1:22', '1:23', '1:24',  \
     '1:25', '1:26', '1:27', '1:28', '1:29', '1:30', '1:31', '1:32', '1:33', '1:34', '1:35', '1:36',  \
     '1:37', '1:38', '1:39', '1:40', '1:41', '1:42', '1:43', '1:44', '1:45', '1:46', '1:47', '1:48',  \
     '1:49', '1:50', '1:51', '1:52', '1:53', '1:54', '1:55', '1:56', '1:57', '1:58', '1:59', '1:60',  \
     '1:61', '1:62', '1:63']}";
const SIXTY_THREE: &str = "{communities: ['1:0', '1:1', '1:2', '1:3', '1:4', '1:5', '1:6', '1:7', '1:8', '1:9', '1:10', '1:11', '1:12',  \
     '1:13', '1:14', '1:15', '1:16', '1:17', '1:18', '1:19', '1:20', '1:21', '1:22', '1:23', '1:24',  \
     '1:25', '1:26', '1:27', '1:28', '1:29', '1:30', '1:31', '1:32', '1:33', '1:34', '1:35', '1:36',  \
     '1:37', '1:38', '1:39', '1:40', '1:41', '1:42', '1:43', '1:44', '1:45', '1:46', '1:47', '1:48',  \
     '1:49', '1:50', '1:51', '1:52', '1:53', '1:54', '1:55', '1:56', '1:57', '1:58', '1:59', '1:60',  \
     '1:61', '1:62']}";

pub(super) const RULES: &[&Entry] = &[
    &entry(
        Rule::L1,
        &[L2_ADVERTISEMENT],
        "names a pool twice",
        "{ipAddressPools: [gold, gold]}",
        "{ipAddressPools: [gold, silver]}",
        "duplicate definition of ipAddressPools \"gold\"",
    ),
    &entry(
        Rule::L2,
        &[L2_ADVERTISEMENT],
        "prefers nodes by a label selector that Kubernetes would refuse",
        "{preferredNodeSelectors: [{weight: 1, preference: {matchExpressions: [{key: rack, operator: Near}]}}]}",
        "{preferredNodeSelectors: [{weight: 1, preference: {matchLabels: {rack: a}}}]}",
        "invalid label selector: \"Near\" is not a valid label selector operator",
    ),
    &Entry {
        at: EVERYWHERE,
        ..entry(
            Rule::L3,
            &[L2_ADVERTISEMENT],
            "prefers nodes with a weight outside 1 to 100",
            "{preferredNodeSelectors: [{weight: 101, preference: {matchLabels: {rack: a}}}]}",
            "{preferredNodeSelectors: [{weight: 100, preference: {matchLabels: {rack: a}}}]}",
            "weight 101 is not from 1 to 100",
        )
    },
    &entry(
        Rule::M3,
        &[
            L2_ADVERTISEMENT,
            COMMUNITY,
            BGP_ADVERTISEMENT,
            BGP_PEER,
            IP_ADDRESS_POOL,
        ],
        "has a control character in the name of an interface or alias; at admission also in a name of anything else",
        "{interfaces: [\"eth0\\n\"]}",
        "{interfaces: [eth0]}",
        "must not contain control characters",
    ),
    &Entry {
        at: WARNED,
        beside: &[object(IP_ADDRESS_POOL, "gold", "{addresses: [10.0.0.0/24]}")],
        ..entry(
            Rule::W12,
            &[L2_ADVERTISEMENT, BGP_ADVERTISEMENT],
            "names a pool or peer that does not exist, or selects no pool at all",
            "{ipAddressPoolSelectors: [{matchLabels: {tier: none}}]}",
            "{ipAddressPools: [gold]}",
            "no IPAddressPool is selected",
        )
    },
    &Entry {
        at: STRANDED,
        beside: &[
            object(IP_ADDRESS_POOL, "gold", "{addresses: [10.0.0.0/24]}"),
            object(L2_ADVERTISEMENT, "silver-only", "{ipAddressPools: [silver]}"),
        ],
        ..entry(
            Rule::D4,
            &[L2_ADVERTISEMENT, BGP_ADVERTISEMENT],
            "is deleted while it is the last advertisement of a pool",
            "{ipAddressPools: [gold]}",
            "{metadata: {name: other}, spec: {ipAddressPools: [silver]}}",
            "nothing else advertises IPAddressPool gold",
        )
    },
    &Entry {
        at: EVERYWHERE,
        ..entry(
            Rule::A1,
            &[BGP_ADVERTISEMENT],
            "has an aggregationLength below 1",
            "{aggregationLength: 0}",
            "{aggregationLength: 1}",
            "invalid aggregation length 0 for IPv4",
        )
    },
    &entry(
        Rule::A2,
        &[BGP_ADVERTISEMENT],
        "has an aggregation length beyond 32 (IPv4) or 128 (IPv6)",
        "{aggregationLengthV6: 129}",
        "{aggregationLengthV6: 128}",
        "invalid aggregation length 129 for IPv6",
    ),
    &Entry {
        at: EVERYWHERE,
        ..entry(
            Rule::A3,
            &[BGP_ADVERTISEMENT],
            "has serviceSelectors together with an aggregation length",
            "{aggregationLength: 24, serviceSelectors: [{matchLabels: {app: web}}]}",
            "{aggregationLength: 32, serviceSelectors: [{matchLabels: {app: web}}]}",
            "serviceSelectors and aggregationLength are mutually exclusive",
        )
    },
    &Entry {
        beside: &[SMALL],
        ..entry(
            Rule::A4,
            &[BGP_ADVERTISEMENT, IP_ADDRESS_POOL],
            "has an aggregation length shorter than the widest prefix of an entry of a selected pool",
            "{aggregationLength: 26}",
            "{aggregationLength: 28}",
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 1.1.1.0/28",
        )
    },
    &Entry {
        beside: &[
            SMALL,
            object(BGP_ADVERTISEMENT, "all", "{localPref: 100}"),
            object("Node", "rack-1", "{metadata: {labels: {rack: a}}}"),
        ],
        ..entry(
            Rule::A5,
            &[BGP_ADVERTISEMENT, ADDRESS_POOL, IP_ADDRESS_POOL],
            "gives another localPref to the same routes, on a common node for a common peer, as another advertisement",
            "{localPref: 200}",
            "{localPref: 200, aggregationLength: 30}",
            "invalid localPref 200: localPref 100 is already set by BGPAdvertisement all",
        )
    },
    &entry(
        Rule::A6,
        &[BGP_ADVERTISEMENT],
        "names a pool, peer or community twice",
        "{peers: [a, a]}",
        "{peers: [a, b]}",
        "duplicate definition of peers \"a\"",
    ),
    &entry(
        Rule::A7,
        &[BGP_ADVERTISEMENT],
        "has a community with a colon that is neither a literal nor an alias",
        "{communities: ['64500:x']}",
        "{communities: ['64500:1', 'large:64500:1:2']}",
        "invalid community value: invalid section \"x\"",
    ),
    &Entry {
        at: REFERENCE,
        beside: &[object(
            COMMUNITY,
            "names",
            "{communities: [{name: blackhole, value: '65535:666'}]}",
        )],
        ..entry(
            Rule::A8,
            &[BGP_ADVERTISEMENT],
            "has a community that is no alias of any Community",
            "{communities: [blakhole]}",
            "{communities: [blackhole]}",
            "blakhole",
        )
    },
    &Entry {
        at: GONE,
        backends: NATIVE,
        ..entry(
            Rule::A10,
            &[BGP_ADVERTISEMENT],
            "has a large community: the native back-end speaks RFC 8092",
            "{communities: ['large:1:2:3']}",
            "{communities: ['1:2']}",
            "",
        )
    },
    &Entry {
        backends: FRR_MODES,
        ..entry(
            Rule::A12,
            &[BGP_ADVERTISEMENT, ADDRESS_POOL],
            "has more than 63 communities; the native back-end sends as many as fit into a message",
            SIXTY_FOUR,
            SIXTY_THREE,
            "64 communities: FRR takes at most 63",
        )
    },
    &Entry {
        at: EVERYWHERE,
        ..entry(
            Rule::W14,
            &[BGP_ADVERTISEMENT, ADDRESS_POOL, BGP_PEER],
            "has a localPref outside 0 to 4294967295, or a peerPort outside 1 to 65535",
            "{localPref: -1}",
            "{localPref: 4294967295}",
            "localPref must be from 0 to 4294967295",
        )
    },
    &entry(
        Rule::C1,
        &[COMMUNITY],
        "has an alias whose value is no literal: a:b with 16-bit parts, or large:a:b:c with 32-bit parts",
        "{communities: [{name: a, value: '65536:1'}]}",
        "{communities: [{name: a, value: 'large:65536:1:1'}]}",
        "invalid community value: invalid section",
    ),
    &Entry {
        beside: &[object(COMMUNITY, "names", "{communities: [{name: a, value: '1:1'}]}")],
        ..entry(
            Rule::C2,
            &[COMMUNITY],
            "defines an alias that it or another Community defines",
            "{communities: [{name: a, value: '1:2'}]}",
            "{communities: [{name: b, value: '1:2'}]}",
            "duplicate definition of community \"a\", already defined by Community names",
        )
    },
    &Entry {
        at: GONE,
        backends: NATIVE,
        ..entry(
            Rule::C3,
            &[COMMUNITY],
            "has an alias for a large community: the native back-end speaks RFC 8092",
            "{communities: [{name: a, value: 'large:1:2:3'}]}",
            "{communities: [{name: a, value: '1:2'}]}",
            "",
        )
    },
    &Entry {
        at: WARNED,
        ..entry(
            Rule::W21,
            &[COMMUNITY],
            "has an alias without a name, or one that reads like a literal",
            "{communities: [{name: '64500:1', value: '64500:2'}]}",
            "{communities: [{name: mine, value: '64500:2'}]}",
            "the alias \"64500:1\" reads like a community",
        )
    },
    &Entry {
        at: STRANDED,
        beside: &[ALL_L2, object(BGP_ADVERTISEMENT, "all", "{communities: [blackhole]}")],
        ..entry(
            Rule::D2,
            &[COMMUNITY],
            "is deleted while advertisements use its aliases",
            "{communities: [{name: blackhole, value: '65535:666'}]}",
            "{communities: [{name: unused, value: '65535:666'}]}",
            "BGPAdvertisement all uses the alias \"blackhole\"",
        )
    },
];
