//! The image without a container engine: its root file system is laid out by the very script that the Dockerfile calls,
//! and the programs run in it as another user, with nothing else of this machine.
//!
//! The program is the one that tests are built with, and the libraries that it is linked to come along; or the one that
//! ships, which is static and has none: `METALLB_PROGRAM=$(.ci/program)`, as in `.ci/run image`.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Output},
    thread,
    time::{Duration, Instant},
};

use metallb_test_runner::{main as run_tests, skip, tests};

const DOCKERFILE: &str = include_str!("../../Dockerfile");

fn main() -> ExitCode {
    run_tests(tests![
        the_image_is_bare_and_runs_as_nobody,
        licences_and_bill_of_materials_are_in_the_image,
        every_program_runs_in_the_image_as_nobody_on_a_read_only_root,
        names_are_resolved_by_hosts_file_and_by_dns,
    ])
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The instructions of the last stage: name and argument.
fn instructions() -> Vec<(String, String)> {
    let joined = DOCKERFILE.replace("\\\n", " ");
    let all: Vec<_> = joined
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let last = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    all[last..].to_vec()
}

fn instruction(wanted: &str) -> String {
    let all = instructions();
    let mut found = all.iter().filter(|(name, _)| name == wanted);
    let (_, argument) = found.next().unwrap();
    assert!(found.next().is_none(), "{wanted} is there twice");
    argument.clone()
}

/// The program that ships, if whoever runs this has built it.
fn shipped() -> Option<PathBuf> {
    std::env::var_os("METALLB_PROGRAM").map(PathBuf::from)
}

/// Lays the root out in a folder that other users can enter.
fn lay_out() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rootfs");
    let laid = Command::new(workspace().join(".ci/rootfs"))
        .arg(shipped().unwrap_or_else(|| env!("CARGO_BIN_EXE_metallb").into()))
        .arg(&root)
        .output()
        .unwrap();
    assert!(laid.status.success(), "{}", String::from_utf8_lossy(&laid.stderr));
    let open = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(open.success());
    if shipped().is_none() {
        libraries(&root);
    }
    dir
}

/// Adds the libraries of the program that tests are built with.
fn libraries(root: &Path) {
    let output = Command::new("ldd").arg(env!("CARGO_BIN_EXE_metallb")).output().unwrap();
    for word in String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Not by this process: children of other tests would keep it open for writing, and nothing could be started.
        assert!(
            Command::new("cp")
                .arg("-L")
                .arg(word)
                .arg(to)
                .status()
                .unwrap()
                .success()
        );
    }
}

/// Runs a program of the image as the Dockerfile's user, the root read-only.
fn run(root: &Path, program: &str, args: &[&str]) -> Output {
    command(root, "A=b", program).args(args).output().unwrap()
}

/// The same, with one more variable, to be started.
fn command(root: &Path, variable: &str, program: &str) -> Command {
    // With devices, as every container has them: where random bytes come from, for one.
    let script = r#"mkdir -p "$1/dev" && mount --bind "$1" "$1" && mount --rbind /dev "$1/dev" &&
        mount -o remount,bind,ro "$1" && root=$1 user=$2 variable=$3 && shift 3 &&
        exec env -i "$variable" PATH=/usr/sbin:/usr/bin:/sbin:/bin OPERATOR_NAMESPACE=metallb-system METALLB_NAMESPACE=metallb-system METALLB_POD_NAME=p CONTROLLER_IMAGE=a SPEAKER_IMAGE=a FRR_IMAGE=a METALLB_NODE_NAME=n \
        chroot --userspec="$user" "$root" "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec", script, "sh"])
        .arg(root)
        .args([&instruction("USER"), variable, program]);
    command
}

/// Skips the test that calls it where no root can be changed.
fn needs_root() {
    let output = Command::new("id").arg("-u").output().unwrap();
    if output.stdout != b"0\n" {
        skip("changing the root needs root");
    }
}

fn the_image_is_bare_and_runs_as_nobody() {
    assert_eq!(instruction("FROM"), "scratch");
    assert_eq!(instruction("COPY"), "--from=build /rootfs/ /");
    let user = instruction("USER");
    let (uid, gid) = user.split_once(':').unwrap();
    assert!(
        uid.parse::<u32>().unwrap() > 0 && gid.parse::<u32>().unwrap() > 0,
        "{user}"
    );
    let labels = instruction("LABEL");
    for label in [
        "title",
        "description",
        "licenses",
        "source",
        "version",
        "revision",
        "created",
    ] {
        assert!(
            labels.contains(&format!("org.opencontainers.image.{label}=")),
            "{label}"
        );
    }
    let version = format!("VERSION={}", env!("CARGO_PKG_VERSION"));
    assert!(
        instructions()
            .iter()
            .any(|(name, argument)| name == "ARG" && *argument == version),
        "{version}"
    );
}

fn licences_and_bill_of_materials_are_in_the_image() {
    let dir = lay_out();
    let root = dir.path().join("rootfs");
    assert!(
        fs::read_to_string(root.join("LICENSES/Apache-2.0.txt"))
            .unwrap()
            .contains("Apache License")
    );
    let others = fs::read_to_string(root.join("LICENSES/third-party.txt")).unwrap();
    assert!(others.contains("tokio") && others.contains("Permission is hereby granted"));
    let bill: serde_json::Value = serde_json::from_slice(&fs::read(root.join("sbom.cdx.json")).unwrap()).unwrap();
    let names: Vec<_> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["name"].as_str())
        .collect();
    assert!(
        names.contains(&"metallb-speaker") && names.contains(&"rustls") && names.contains(&"kube"),
        "{names:?}"
    );
    assert!(
        !names.contains(&"metallb-lab") && !names.contains(&"tempfile"),
        "{names:?}"
    );
}

fn every_program_runs_in_the_image_as_nobody_on_a_read_only_root() {
    needs_root();
    let dir = lay_out();
    let root = dir.path().join("rootfs");
    for program in ["/manager", "/controller", "/speaker"] {
        let help = run(&root, program, &["--help"]);
        assert!(
            help.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&help.stderr)
        );
        // Where there is no cluster, it says so and ends.
        let started = run(&root, program, &[]);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&started.stdout),
            String::from_utf8_lossy(&started.stderr)
        );
        assert_eq!(started.status.code(), Some(1), "{program}: {said}");
        assert!(said.contains("cannot use the kubeconfig"), "{program}: {said}");
        // Where there is one, it asks it.
        let line = request(&root, program, &HERE.to_string());
        assert!(line.contains(" /api"), "{program}: {line}");
    }
    let unknown = run(&root, "/metallb", &[]);
    assert_eq!(unknown.status.code(), Some(2));
}

/// Of the loopback network, so that the ports of this machine's own services are free here.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);

/// Answers every question for an IPv4 address with [`HERE`], and every other one with nothing, for as long as tests run.
fn name_server() {
    let socket = UdpSocket::bind((HERE, 53)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            // RFC 1035 §4.1: a header of twelve bytes, then the question: labels up to an empty one, type, class.
            let name = 12 + buffer[12..length].iter().position(|byte| *byte == 0).unwrap();
            let question = buffer[12..name + 5].to_vec();
            let address = buffer[name + 1..name + 3] == [0, 1];
            let mut answer = buffer[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(address), 0, 0, 0, 0]);
            answer.extend(question);
            if address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(HERE.octets());
            }
            socket.send_to(&answer, client).unwrap();
        }
    });
}

/// A program that ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asserts that a process runs as the Dockerfile's user, in no other group, on a root that is read-only.
fn is_confined(pid: u32) {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let (user, status) = (instruction("USER"), read("status"));
    let ids = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (uid, gid) = user.split_once(':').unwrap();
    assert_eq!(
        (ids("Uid:"), ids("Gid:")),
        (vec![uid.to_owned(); 4], vec![gid.to_owned(); 4])
    );
    assert!(ids("Groups:").iter().all(|group| group == gid), "{status}");
    let mounts = read("mountinfo");
    // proc_pid_mountinfo(5): the fifth field is the mount point, seen from the root of the process; options follow.
    let root = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = root.into_iter().find(|fields| fields[4] == "/").unwrap();
    assert!(root[5].split(',').any(|option| option == "ro"), "{mounts}");
}

/// The first line that a program of the image sends to the API server at this name; it is confined as it does.
fn request(root: &Path, program: &str, host: &str) -> String {
    let server = TcpListener::bind((HERE, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let config = format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{{"name": "u", "user": {{}}}}],
            "contexts": [{{"name": "c", "context": {{"cluster": "k", "user": "u"}}}}],
            "clusters": [{{"name": "k", "cluster": {{"server": "http://{host}:{port}", "certificate-authority": "/ca.crt"}}}}]}}"#
    );
    fs::write(root.join("kubeconfig"), config).unwrap();
    // An authority is always given in a cluster; the image has none of its own.
    let authority = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap().cert;
    fs::write(root.join("ca.crt"), authority.pem()).unwrap();
    let path = root.join("log");
    let log = fs::File::create(&path).unwrap();
    let mut started = Running(
        command(root, "KUBECONFIG=/kubeconfig", program)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    server.set_nonblocking(true).unwrap();
    let began = Instant::now();
    let mut connection = loop {
        match server.accept() {
            Ok((connection, _)) => break connection,
            Err(_) if began.elapsed() < Duration::from_secs(60) => thread::sleep(Duration::from_millis(20)),
            Err(error) => panic!(
                "{program} does not reach {host}: {error}, {:?}: {}",
                started.0.try_wait(),
                fs::read_to_string(path).unwrap()
            ),
        }
    };
    is_confined(started.0.id());
    connection.set_nonblocking(false).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut buffer = [0; 1024];
    let length = connection.read(&mut buffer).unwrap();
    drop(started);
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

/// The API server may be known by a name: from `/etc/hosts`, as kubelet mounts it, or from the cluster's DNS. A static
/// program finds no library there that would look names up for it.
fn names_are_resolved_by_hosts_file_and_by_dns() {
    needs_root();
    let dir = lay_out();
    let root = dir.path().join("rootfs");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/hosts"), format!("{HERE} api.in-hosts\n")).unwrap();
    fs::write(
        root.join("etc/resolv.conf"),
        format!("nameserver {HERE}\nsearch svc.test\noptions ndots:5\n"),
    )
    .unwrap();
    name_server();
    for program in ["/manager", "/controller", "/speaker"] {
        for host in ["api.in-hosts", "kubernetes.default.svc"] {
            let line = request(&root, program, host);
            assert!(
                line.contains(" /api") && line.ends_with("HTTP/1.1"),
                "{program}, {host}: {line}"
            );
        }
    }
}
