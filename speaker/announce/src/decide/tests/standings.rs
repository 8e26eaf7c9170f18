//! What members say of themselves.

use super::*;

const ALL: [&str; 3] = ["node-a", "node-b", "node-c"];

/// All can announce on these interfaces.
fn cluster(interfaces: &[&str]) -> Cluster {
    let standing = Standing {
        interfaces: interfaces.iter().map(|name| ((*name).to_owned(), false)).collect(),
        ..Standing::default()
    };
    let mut cluster = Cluster::new();
    cluster.standings = Some(ALL.iter().map(|node| ((*node).into(), standing.clone())).collect());
    cluster
}

impl Cluster {
    fn standing(&mut self, node: &str) -> &mut Standing {
        self.standings.as_mut().unwrap().get_mut(node).unwrap()
    }

    /// All nodes in order, the same for all of them.
    fn order(&self) -> String {
        let service = service(&["10.0.0.1"]);
        let ranking = |node: &str| self.decide_on(node, &service).ranking.unwrap();
        let order = ranking("node-a");
        for node in ALL {
            assert_eq!(ranking(node), order, "in the eyes of {node}");
            let answers = self.decide_on(node, &service).layer2.is_ok();
            assert_eq!(answers, order.winner() == Some(node), "{node}");
        }
        let names: Vec<&str> = order.nodes().iter().map(|node| &node["node-".len()..]).collect();
        names.join("")
    }

    fn only_on(&mut self, interface: &str) {
        self.pool().l2[0].interfaces = metallb_config::Interfaces::Only(names(&[interface]));
    }
}

// L2-79
#[test]
fn a_node_without_an_interface_of_the_advertisement_is_behind_all_others() {
    let mut cluster = cluster(&["eth0", "eth1"]);
    assert_eq!(cluster.order(), "bac");
    cluster.standing("node-b").interfaces.remove("eth1");
    assert_eq!(cluster.order(), "bac", "eth0 will do");
    cluster.only_on("eth1");
    assert_eq!(cluster.order(), "acb");
    cluster.standing("node-a").interfaces.clear();
    assert_eq!(cluster.order(), "cba");
    cluster.standing("node-c").interfaces.clear();
    assert_eq!(cluster.order(), "bac", "somebody shall answer");
}

#[test]
fn a_node_that_cannot_announce_is_behind_one_that_may_be_gone() {
    let mut cluster = cluster(&["eth0"]);
    cluster.standing("node-b").interfaces.clear();
    cluster.suspects = ["node-a".into(), "node-c".into()].into();
    assert_eq!(cluster.order(), "acb");
}

#[test]
fn interfaces_that_were_not_told_are_not_taken_for_broken() {
    let mut cluster = cluster(&["eth0"]);
    cluster.only_on("eth9");
    cluster.standing("node-b").more = true;
    assert_eq!(cluster.order(), "bac");
}

#[test]
fn each_node_is_judged_by_the_advertisements_that_list_it() {
    let mut cluster = cluster(&["eth0"]);
    cluster.only_on("eth0");
    let mut second = cluster.pool().l2[0].clone();
    cluster.pool().l2[0].nodes = names(&["node-a", "node-c"]);
    second.nodes = names(&["node-b"]);
    second.interfaces = metallb_config::Interfaces::Only(names(&["eth1"]));
    cluster.pool().l2.push(second);
    let ranking = cluster.decide_on("node-a", &service(&["10.0.0.1"])).ranking.unwrap();
    assert_eq!(ranking.winner(), Some("node-a"));
}

#[test]
fn while_a_member_is_not_ours_nothing_of_this_counts() {
    let mut cluster = cluster(&["eth0"]);
    cluster.standing("node-b").interfaces.clear();
    cluster.standings = None;
    assert_eq!(cluster.order(), "bac");
}

// L2-93
#[test]
fn a_newcomer_waits_for_others_with_its_score_if_failback_is_delayed() {
    let mut cluster = cluster(&["eth0"]);
    cluster.standing("node-b").newcomer = true;
    assert_eq!(cluster.order(), "bac");
    cluster.failback = Failback::Delayed;
    assert_eq!(cluster.order(), "acb");
    cluster.pool().l2[0].preferred.insert("node-b".to_owned(), 100);
    assert_eq!(cluster.order(), "bac");
    cluster.pool().l2[0].preferred.clear();
    ALL.iter().for_each(|node| cluster.standing(node).newcomer = true);
    assert_eq!(cluster.order(), "bac");
}

#[test]
fn an_interface_that_is_back_only_lately_makes_its_node_wait_where_it_has_no_other() {
    let mut cluster = cluster(&["eth0", "eth1"]);
    cluster.failback = Failback::Delayed;
    cluster.standing("node-b").interfaces.insert("eth1".to_owned(), true);
    assert_eq!(cluster.order(), "bac");
    cluster.only_on("eth1");
    assert_eq!(cluster.order(), "acb");
}

// L2-80
#[test]
fn the_owner_stays_with_failback_never_unless_another_is_preferred() {
    let mut cluster = cluster(&["eth0"]);
    cluster.failback = Failback::Never;
    assert_eq!(cluster.order(), "bac", "nobody has it");
    cluster.owners = ["node-c".into()].into();
    assert_eq!(cluster.order(), "cba");
    cluster.owners.insert("node-a".into());
    assert_eq!(cluster.order(), "acb", "two say so");
    cluster.pool().l2[0].preferred.insert("node-b".to_owned(), 1);
    assert_eq!(cluster.order(), "bac");
    cluster.pool().l2[0].preferred.clear();
    cluster.owners = ["node-c".into()].into();
    cluster.standing("node-c").interfaces.clear();
    assert_eq!(cluster.order(), "bac");
}

// L2-77
#[test]
fn of_two_announcers_that_know_each_other_only_from_the_segment_one_has_the_better_claim() {
    let mut cluster = Cluster::new();
    cluster.members = ["node-a".into()].into();
    let service = service(&["10.0.0.1"]);
    let outranks = |cluster: &Cluster, node, peer| {
        let inputs = Inputs {
            node,
            nodes: &cluster.nodes,
            members: Some(&cluster.members),
            suspects: &cluster.suspects,
            extension: None,
            ignore_exclude_label: false,
            class: "",
        };
        outranks(
            &inputs,
            cluster.pool_of(&service).unwrap(),
            &service,
            &cluster.endpoints,
            peer,
        )
    };
    assert!(outranks(&cluster, "node-a", "node-b") && !outranks(&cluster, "node-b", "node-a"));
    assert!(!outranks(&cluster, "node-a", "node-c") && outranks(&cluster, "node-c", "node-a"));
    let excluded = NodeView {
        excluded: true,
        ..NodeView::default()
    };
    cluster.nodes.insert("node-b".into(), excluded);
    assert!(!outranks(&cluster, "node-a", "node-b"), "it is no candidate");
}
