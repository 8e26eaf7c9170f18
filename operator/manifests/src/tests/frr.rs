use super::*;

fn speaker() -> Value {
    let environment = Environment {
        frr_image: Some("frr:9".parse().unwrap()),
        ..environment()
    };
    find(
        &rendered(json!({ "bgpBackend": "frr" }), &environment),
        "DaemonSet/speaker",
    )
}

// OP-31, OP-13, FRR-44
#[test]
fn frr_runs_beside_the_speaker_as_tabulated() {
    let speaker = speaker();
    let pod = pod(&speaker);
    assert_eq!(pod["shareProcessNamespace"], true);
    assert_eq!(
        names_in(&pod["containers"]),
        ["speaker", "frr", "reloader", "frr-metrics"]
    );
    assert_eq!(
        names_in(&pod["initContainers"]),
        ["cp-frr-files", "cp-reloader", "cp-metrics"]
    );
    for (name, image) in [
        ("speaker", "host:5000/speaker:1"),
        ("cp-reloader", "host:5000/speaker:1"),
        ("cp-metrics", "host:5000/speaker:1"),
        ("cp-frr-files", "frr:9"),
        ("frr", "frr:9"),
        ("reloader", "frr:9"),
        ("frr-metrics", "frr:9"),
    ] {
        assert_eq!(container(pod, name)["image"], image, "{name}");
    }
    let volumes = [
        "memberlist",
        "metallb-excludel2",
        "memberlist-config",
        "frr-startup",
        "frr-sockets",
        "frr-conf",
        "reloader",
        "metrics",
        "frr-tmp",
        "frr-lib",
        "frr-log",
    ];
    assert_eq!(names_in(&pod["volumes"]), volumes);
}

// OP-31, FRR-44
#[test]
fn frrs_containers_have_their_commands_mounts_and_rights() {
    let speaker = speaker();
    let pod = pod(&speaker);
    let command = json!(["/cp-tool", "/frr-reloader.sh", "/etc/frr_reloader/frr-reloader.sh"]);
    assert_eq!(container(pod, "cp-reloader")["command"], command);
    let user = json!({ "runAsNonRoot": true, "runAsUser": 100, "runAsGroup": 101 });
    assert_eq!(container(pod, "cp-frr-files")["securityContext"], user);
    let frr = container(pod, "frr");
    assert_eq!(frr["command"], json!(["/sbin/tini", "--", "/usr/lib/frr/docker-start"]));
    assert_eq!(
        frr["securityContext"],
        json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsUser": 0,
            "capabilities": { "add": ["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "NET_BIND_SERVICE"] } })
    );
    assert_eq!(frr["env"], json!([{ "name": "TINI_SUBREAPER", "value": "true" }]));
    let live = json!({ "path": "/livez", "port": 9121, "scheme": "HTTPS" });
    assert_eq!(
        (&frr["livenessProbe"]["httpGet"], &frr["startupProbe"]["httpGet"]),
        (&live, &live)
    );
    assert_eq!(frr["livenessProbe"]["periodSeconds"], 10);
    assert_eq!(
        (
            &frr["startupProbe"]["failureThreshold"],
            &frr["startupProbe"]["periodSeconds"]
        ),
        (&json!(30), &json!(5))
    );
    let metrics = container(pod, "frr-metrics");
    assert_eq!(
        texts(&metrics["args"]),
        ["--metrics-port=9121", "--metrics-bind-address=0.0.0.0"]
    );
    assert_eq!(metrics["ports"][0]["name"], "frrmetricshttps");
    let mounts = container(pod, "speaker")["volumeMounts"].as_array().unwrap();
    assert_eq!(
        mounts.last().unwrap(),
        &json!({ "name": "reloader", "mountPath": "/etc/frr_reloader" })
    );
}

// OP-32
#[test]
fn the_variables_of_the_mode_follow_those_of_the_membership() {
    let speaker = speaker();
    let variables = names_in(&container(pod(&speaker), "speaker")["env"]);
    assert_eq!(variables[5], "METALLB_ML_SECRET_KEY_PATH");
    assert_eq!(
        variables[6..],
        [
            "FRR_CONFIG_FILE",
            "FRR_RELOADER_PID_FILE",
            "METALLB_BGP_TYPE",
            "METALLB_POD_NAME",
            "METALLB_ML_SECRET_NAME"
        ]
    );
}

// OP-31
#[test]
fn frr_starts_the_daemons_of_bgp_and_bfd_and_listens_to_nobody() {
    let objects = rendered(json!({ "bgpBackend": "frr" }), &environment());
    let map = find(&objects, "ConfigMap/frr-startup");
    let daemons = map["data"]["daemons"].as_str().unwrap();
    for line in [
        "bgpd=yes",
        "bfdd=yes",
        "ospfd=no",
        "vtysh_enable=yes",
        "zebra_options=\"-A 127.0.0.1 -s 90000000 --limit-fds 100000\"",
        "bgpd_options=\"-A 127.0.0.1 -p 0 --limit-fds 100000\"",
        "ospf6d_options=\"-A ::1\"",
    ] {
        assert!(daemons.lines().any(|it| it == line), "{line} in {daemons}");
    }
    assert_eq!(map["data"]["vtysh.conf"], "service integrated-vtysh-config\n");
}
