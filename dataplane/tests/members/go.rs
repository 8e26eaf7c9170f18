//! Members of Go's memberlist, as the program in `tests/interop`.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread,
};

use metallb_test_runner::skip;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::group::in_time;

/// Where the program is, once it is built.
fn program() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop")
}

/// Builds the program, outside of namespaces, where modules can be fetched; skips the test if there is no Go.
pub(crate) fn build() {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    // Why there is none is the same for all tests; that it does not compile is their failure.
    if let Err(reason) = BUILT.get_or_init(try_build) {
        skip(reason);
    }
}

fn try_build() -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/interop");
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command
            .current_dir(&source)
            .env("GOWORK", "off")
            .env("CGO_ENABLED", "0");
        command.args(arguments).output()
    };
    if !go(&["version"]).is_ok_and(|output| output.status.success()) {
        return Err("there is no Go to build members of memberlist with".to_owned());
    }
    if !go(&["mod", "download"]).unwrap().status.success() {
        return Err("the Go modules of memberlist cannot be had here".to_owned());
    }
    let built = go(&["build", "-mod=readonly", "-o", program().to_str().unwrap(), "."]).unwrap();
    let complaint = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "go build: {complaint}");
    Ok(())
}

/// A process that is a member. Killed when dropped.
pub(crate) struct Member {
    process: Child,
    members: Arc<Mutex<BTreeSet<String>>>,
    log: AsyncMutex<mpsc::UnboundedReceiver<String>>,
}

impl Member {
    pub(crate) fn start(name: &str, bind: SocketAddr, secret: Option<&[u8]>) -> Self {
        let mut command = Command::new(program());
        command.args(["member", "--profile=quick", "--name", name, "--bind", &bind.to_string()]);
        if let Some(secret) = secret {
            command.args(["--key", &key(secret)]);
        }
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = piped.spawn().unwrap();
        let members = Arc::new(Mutex::new(BTreeSet::new()));
        let (lines, seen) = (
            BufReader::new(process.stdout.take().unwrap()).lines(),
            Arc::clone(&members),
        );
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(names) = line.strip_prefix("members ") {
                    *seen.lock().unwrap() = names.split(',').map(str::to_owned).collect();
                }
            }
        });
        let (writer, log) = mpsc::unbounded_channel();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| writer.send(line)));
        Self {
            process,
            members,
            log: AsyncMutex::new(log),
        }
    }

    /// Whom it last saw.
    pub(crate) fn members(&self) -> BTreeSet<String> {
        self.members.lock().unwrap().clone()
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    /// Has it leave, and waits for its end.
    pub(crate) fn leave(mut self) {
        self.tell("leave");
        assert!(self.process.wait().unwrap().success());
    }

    /// Waits until it says something more.
    pub(crate) async fn has_logged(&self, text: &str) {
        let mut log = self.log.lock().await;
        in_time(text, async {
            while !log.recv().await.expect("it still runs").contains(text) {}
        })
        .await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The key that MetalLB derives from a short secret, in Go's way of writing bytes.
fn key(secret: &[u8]) -> String {
    const NOTHING: [u8; 32] = [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ];
    let bytes = secret.iter().chain(&NOTHING).take(32);
    bytes.fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
