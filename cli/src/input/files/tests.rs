use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use kube::ResourceExt;
use serde_json::json;

use super::*;

const POOL: &str = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: web, resourceVersion: \"9\", \
                    creationTimestamp: \"2026-09-01T14:02:11Z\"}\nspec: {addresses: [192.0.2.0/24]}\n";

fn objects(texts: &[&str]) -> Facts {
    let mut objects = Objects::default();
    for text in texts {
        documents(text)
            .unwrap()
            .into_iter()
            .for_each(|document| objects.add(document));
    }
    facts(objects, Timestamp::default())
}

// CLI-6
#[test]
fn a_list_a_stream_json_a_folder_and_archives_hold_the_same_objects() {
    let folder = tempfile::tempdir().unwrap();
    let json: Value = serde_saphyr::from_str(POOL).unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [json.clone()]}).to_string();
    let mut bare = json;
    bare.as_object_mut()
        .unwrap()
        .retain(|name, _| !["apiVersion", "kind"].contains(&name.as_str()));
    let typed = json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPoolList", "items": [bare]}).to_string();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in [("cluster/any/name.yaml", POOL), ("cluster/speaker.log", "a: [log")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(&tar).unwrap();
    let files: [(&str, Vec<u8>); 5] = [
        ("list.yaml", list.into_bytes()),
        ("typed.json", typed.into_bytes()),
        ("stream.yaml", format!("---\n# nothing\n---\n{POOL}").into_bytes()),
        ("dump.tar", tar),
        ("dump.tar.gz", gz.finish().unwrap()),
    ];
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let read = read(&[path]).unwrap();
        assert_eq!(read.newest, Some("2026-09-01T14:02:11Z".parse().unwrap()), "{name}");
        let found = facts(read, Timestamp::default());
        assert_eq!(found.pools.list()[0].name_any(), "web", "{name}");
    }
    std::fs::write(folder.path().join("notes.txt"), "a: [no YAML").unwrap();
    let whole = facts(read(&[folder.path().to_owned()]).unwrap(), Timestamp::default());
    assert_eq!(whole.pools.list().len(), 1);
}

#[test]
fn of_two_versions_of_an_object_the_later_one_counts() {
    let with = |version: &str, addresses: &str| POOL.replace("\"9\"", version).replace("192.0.2.0/24", addresses);
    let (old, new) = (with("\"9\"", "192.0.2.0/24"), with("\"10\"", "198.51.100.0/24"));
    for order in [[&old, &new], [&new, &old]] {
        let found = objects(&order.map(String::as_str));
        assert_eq!(found.pools.list()[0].spec.addresses, ["198.51.100.0/24"]);
    }
}

#[test]
fn what_every_cluster_has_and_the_files_do_not_is_not_known() {
    let found = objects(&[POOL]);
    assert!(!found.nodes.is_known() && !found.slices.is_known());
    assert!(found.services.is_known() && found.peers.is_known());
}

#[test]
fn an_old_peer_is_read_as_a_new_one() {
    let peer = "apiVersion: metallb.io/v1beta1\nkind: BGPPeer\nmetadata: {name: tor}\n\
                spec: {myASN: 64500, peerASN: 64501, peerAddress: 192.0.2.1, nodeSelectors: [{matchLabels: {rack: a}}]}";
    let found = objects(&[peer]);
    assert_eq!(found.peers.list()[0].spec.node_selectors.len(), 1);
}

#[test]
fn a_secret_is_dropped_and_broken_text_is_named() {
    let mut all = Objects::default();
    all.add(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": {"password": "aHVudGVyMg=="}}));
    assert!(all.all.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.yaml");
    std::fs::write(&path, "a: [b").unwrap();
    let error = read(&[path]).err().unwrap();
    assert!(format!("{error:#}").contains("broken.yaml"), "{error:#}");
}
