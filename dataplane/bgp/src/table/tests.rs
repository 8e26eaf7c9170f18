use proptest::prelude::*;

use super::*;

fn known() -> RouteTable {
    let mut table = RouteTable::default();
    table.set_known();
    table
}

fn path(peers: &[&str], local_pref: u32, communities: &[u32]) -> Path {
    Path {
        peers: peers.iter().map(ToString::to_string).collect(),
        attributes: Arc::new(Attributes {
            local_pref,
            communities: communities.iter().copied().collect(),
            ..Attributes::default()
        }),
    }
}

fn change(prefix: &str, paths: impl Into<Vec<Path>>) -> RouteChange {
    RouteChange {
        prefix: prefix.parse().unwrap(),
        paths: paths.into(),
    }
}

fn prefixes(routes: &[PeerRoute]) -> Vec<String> {
    let text = |(prefix, attributes): &PeerRoute| format!("{}{prefix}", if attributes.is_some() { "" } else { "-" });
    routes.iter().map(text).collect()
}

#[test]
fn reader_gets_what_changed_since_it_read_last() {
    let mut table = known();
    let reader = table.add_reader();
    for host in 1..=3 {
        assert!(table.change(change(&format!("10.0.0.{host}/32"), [path(&[], 0, &[])])));
    }
    let read = |table: &mut RouteTable| prefixes(&table.read(reader, "a").unwrap());
    assert_eq!(read(&mut table), ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"]);
    assert!(read(&mut table).is_empty());
    table.change(change("10.0.0.1/32", []));
    table.change(change("10.0.0.2/32", [path(&[], 0, &[7])]));
    table.change(change("10.0.0.2/32", [path(&[], 0, &[8])]));
    assert_eq!(read(&mut table), ["-10.0.0.1/32", "10.0.0.2/32"]);
    assert_eq!(table.len(), 2);
}

#[test] // BGP-28
fn nothing_is_read_before_the_table_is_known() {
    let mut table = RouteTable::default();
    let reader = table.add_reader();
    table.change(change("10.0.0.1/32", [path(&[], 0, &[])]));
    assert_eq!(table.read(reader, "a"), None);
    assert!(table.set_known() && !table.set_known());
    assert_eq!(prefixes(&table.read(reader, "a").unwrap()), ["10.0.0.1/32"]);
}

#[test] // BGP-60
fn equal_paths_are_no_change() {
    let mut table = known();
    assert!(table.change(change("10.0.0.7/24", [path(&["a"], 1, &[2])])));
    assert!(!table.change(change("10.0.0.9/24", [path(&["a"], 1, &[2])])));
    assert!(!table.change(change("10.0.1.0/24", [])));
    assert!(table.change(change("10.0.0.0/24", [path(&["a"], 1, &[3])])));
}

#[test] // BGP-22
fn paths_are_for_the_peers_they_name() {
    let mut table = known();
    let readers = [table.add_reader(), table.add_reader()];
    table.change(change("10.0.0.1/32", [path(&["a", "nobody"], 0, &[])]));
    assert_eq!(prefixes(&table.read(readers[0], "a").unwrap()), ["10.0.0.1/32"]);
    assert_eq!(prefixes(&table.read(readers[1], "b").unwrap()), ["-10.0.0.1/32"]);
    table.change(change("10.0.0.1/32", [path(&["b"], 0, &[])]));
    assert_eq!(prefixes(&table.read(readers[0], "a").unwrap()), ["-10.0.0.1/32"]);
    assert_eq!(prefixes(&table.read(readers[1], "b").unwrap()), ["10.0.0.1/32"]);
}

#[test] // BGP-18, BGP-21
fn paths_for_one_peer_merge_whatever_their_order() {
    let (one, two) = (path(&[], 100, &[3, 1]), path(&["a"], 200, &[2, 3]));
    for paths in [[one.clone(), two.clone()], [two, one]] {
        let mut table = known();
        let reader = table.add_reader();
        table.change(change("10.0.0.1/32", paths));
        let read = table.read(reader, "a").unwrap();
        assert_eq!(read[0].1, Some(path(&[], 200, &[1, 2, 3]).attributes));
    }
}

#[test]
fn equal_attributes_are_kept_once_and_unused_ones_go() {
    let mut table = known();
    let reader = table.add_reader();
    for host in 0..200 {
        let paths = [path(&[], 1, &[]), path(&["a"], 2, &[])];
        table.change(change(&format!("10.0.0.{host}/32"), paths));
    }
    let read = table.read(reader, "a").unwrap();
    assert!(
        read.iter()
            .all(|(_, attributes)| { Arc::ptr_eq(attributes.as_ref().unwrap(), read[0].1.as_ref().unwrap()) })
    );
    drop(read);
    assert_eq!(table.attributes.len(), 2);
    for round in 0..1000 {
        table.change(change("10.0.0.1/32", [path(&[], round, &[9])]));
    }
    assert!(table.attributes.len() <= 70, "{}", table.attributes.len());
}

#[test]
fn withdrawn_prefixes_are_kept_for_the_slowest_reader_only() {
    let mut table = known();
    let (slow, quick) = (table.add_reader(), table.add_reader());
    table.change(change("10.0.0.1/32", [path(&[], 0, &[])]));
    table.read(slow, "slow");
    table.change(change("10.0.0.1/32", []));
    table.read(quick, "quick");
    assert_eq!((table.len(), table.entries.len()), (0, 1));
    table.remove_reader(slow);
    assert_eq!((table.entries.len(), table.log.len()), (0, 0));
    assert_eq!(table.read(slow, "slow"), None);
}

#[derive(Clone, Debug)]
enum Step {
    Change(u8, Vec<(u8, u8)>),
    Read(usize),
    Replace(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let paths = prop::collection::vec((0..4u8, 0..3u8), 0..3);
    let step = prop_oneof![
        6 => (0..8u8, paths).prop_map(|(host, paths)| Step::Change(host, paths)),
        2 => (0..3usize).prop_map(Step::Read),
        1 => (0..3usize).prop_map(Step::Replace),
    ];
    prop::collection::vec(step, 0..60)
}

const PEERS: [&str; 3] = ["a", "b", "c"];

fn paths(of: &[(u8, u8)]) -> Vec<Path> {
    // The last one stands for all peers.
    let peers = |peer: u8| PEERS.get(usize::from(peer)).map_or(vec![], |peer| vec![*peer]);
    of.iter()
        .map(|(peer, pref)| path(&peers(*peer), (*pref).into(), &[]))
        .collect()
}

proptest! {
    #[test]
    fn every_reader_comes_to_know_the_table(steps in steps()) {
        let mut table = known();
        let mut wanted: BTreeMap<IpNet, Vec<Path>> = BTreeMap::new();
        let mut readers = PEERS.map(|_| (table.add_reader(), BTreeMap::new()));
        let all = (0..3).map(Step::Read);
        for step in steps.into_iter().chain(all) {
            match step {
                Step::Change(host, of) => {
                    let change = change(&format!("10.0.0.{host}/32"), paths(&of));
                    wanted.insert(change.prefix, change.paths.clone());
                    table.change(change);
                }
                Step::Replace(index) => {
                    table.remove_reader(readers[index].0);
                    readers[index] = (table.add_reader(), BTreeMap::new());
                }
                Step::Read(index) => {
                    let (reader, seen) = &mut readers[index];
                    for (prefix, attributes) in table.read(*reader, PEERS[index]).unwrap() {
                        match attributes {
                            Some(attributes) => drop(seen.insert(prefix, attributes.local_pref)),
                            None => drop(seen.remove(&prefix)),
                        }
                    }
                    let highest = |paths: &[Path]| {
                        let meant = paths.iter().filter(|path| path.is_for(PEERS[index]));
                        meant.map(|path| path.attributes.local_pref).max()
                    };
                    let expected: BTreeMap<_, _> =
                        wanted.iter().filter_map(|(prefix, paths)| Some((*prefix, highest(paths)?))).collect();
                    prop_assert_eq!(&*seen, &expected);
                }
            }
            prop_assert_eq!(table.log.len(), table.entries.len());
        }
        prop_assert_eq!(table.len(), wanted.values().filter(|paths| !paths.is_empty()).count());
        prop_assert_eq!(table.entries.len(), table.len(), "all readers have passed what was withdrawn");
    }
}
