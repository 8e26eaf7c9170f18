//! The key of the membership: a file and, until there is one, the Secret that it comes from.
//!
//! The controller makes the Secret when it starts, so the first speakers may come before it. Their volume is optional: a
//! kubelet would otherwise not start them and say so in one event after another. But an optional volume is filled within
//! minutes only, so whoever has an empty one reads the Secret itself.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::{Api, Client};
use metallb_api::names;
use metallb_runtime::admin::Health;
use metallb_runtime::events::{EventType, Recorder};
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch::{Config, watch};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use crate::args::Membership;

/// Between two looks for the file.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks whether the key in it has changed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long a new key is understood before it is used, and the old one thereafter: until then all kubelets have brought
/// it to their speakers, which takes each up to two minutes.
const OVERLAP: Duration = Duration::from_secs(150);
/// Between two events that tell of another speaker with another key; the log tells more often.
const TELL_AGAIN: Duration = Duration::from_secs(600);
/// Reason of that event on the speaker's Pod; not upstream's.
const KEY_MISMATCH: &str = "memberlistKeyMismatch";
/// The action that it is about.
const JOIN: &str = "JoinMembers";

/// Reads the key, if the membership has one; waits until there is one.
///
/// Upstream: ends without a file, and is started again.
///
/// # Errors
/// When the file cannot be read, or its folder is not there.
pub(crate) async fn read(
    client: &Client,
    namespace: &str,
    membership: &Membership,
    health: &Health,
    tasks: &Spawner,
) -> Result<Option<Vec<u8>>> {
    let Some(file) = &membership.key_file else {
        return Ok(None);
    };
    if let Some(key) = look(file)? {
        return Ok(Some(key));
    }
    let secret = membership.secret.as_deref();
    let awaited = match secret {
        Some(secret) => format!("Secret {secret}, which the controller makes when it starts"),
        None => format!("file {}, the key of the membership", file.display()),
    };
    info!(event = "memberlistKeyAwaited", "waiting for {awaited}");
    health.missing(&awaited);
    // Cancel-safe: nothing is taken out of anything.
    let key = tokio::select! {
        key = appear(file) => key?,
        key = fetch(client, namespace, secret, tasks) => key,
    };
    health.ready(&awaited);
    Ok(Some(key))
}

/// Takes a new key from the file to the membership, in three steps that lose nobody. For ever.
///
/// Upstream: the file is read once; speakers that are started with another key see each other no more.
pub(crate) async fn follow(file: &Path, mut key: Vec<u8>, set_keys: impl Fn(Vec<Vec<u8>>)) {
    loop {
        sleep(LOOK_AGAIN).await;
        // A volume that cannot be read at the moment says nothing about the key.
        let Ok(Some(new)) = look(file) else { continue };
        if new == key || new.is_empty() {
            continue;
        }
        info!(
            event = "memberlistKeyChanged",
            "a new key is understood, and used in {OVERLAP:?}"
        );
        set_keys(vec![key.clone(), new.clone()]);
        sleep(OVERLAP).await;
        info!(
            event = "memberlistKeyUsed",
            "the new key is used, the old one understood for {OVERLAP:?}"
        );
        set_keys(vec![new.clone(), key]);
        sleep(OVERLAP).await;
        set_keys(vec![new.clone()]);
        key = new;
    }
}

/// Has users told who has another key, at most every ten minutes. For ever.
pub(crate) async fn tell_mismatches(mut mismatches: watch::Receiver<Option<IpAddr>>, tell: impl Fn(IpAddr)) {
    while mismatches.changed().await.is_ok() {
        let from = *mismatches.borrow_and_update();
        if let Some(from) = from {
            tell(from);
            sleep(TELL_AGAIN).await;
        }
    }
    // The membership has ended, which is seen elsewhere.
    std::future::pending::<()>().await;
}

/// Tells whoever looks at the Pod of this speaker.
pub(crate) fn emit_mismatch(recorder: &Recorder, pod: &ObjectReference, from: IpAddr) {
    let note = format!(
        "what came from {from} is encrypted with another memberlist key than that of this speaker, or not at all: they cannot \
         see each other, and may both announce the same addresses"
    );
    recorder.emit(pod, EventType::Warning, KEY_MISMATCH, JOIN, &note);
}

/// Reads the file; none while its folder, the volume, is empty.
fn look(file: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(file) {
        Ok(key) => Ok(Some(key)),
        Err(error) if error.kind() == ErrorKind::NotFound => match file.parent() {
            Some(folder) if folder.is_dir() => Ok(None),
            _ => bail!("cannot read {}: its folder does not exist", file.display()),
        },
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

async fn appear(file: &Path) -> Result<Vec<u8>> {
    loop {
        sleep(RETRY).await;
        if let Some(key) = look(file)? {
            return Ok(key);
        }
    }
}

/// Waits for the Secret; for ever if its name was not told.
async fn fetch(client: &Client, namespace: &str, secret: Option<&str>, tasks: &Spawner) -> Vec<u8> {
    let Some(name) = secret else {
        return std::future::pending().await;
    };
    let stop = tasks.stop().child_token();
    let _ends = stop.clone().drop_guard();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let config = Config::default().fields(&format!("metadata.name={name}"));
    let mut watched = watch(secrets, config, &tasks.until(stop));
    while let Some(change) = watched.changes.recv().await {
        let data = change.object().and_then(|secret| secret.data.as_ref());
        if let Some(key) = data.and_then(|data| data.get(names::MEMBERLIST_SECRET_KEY)) {
            return key.0.clone();
        }
    }
    // Only the stop signal ends the watch.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use metallb_dataplane::members::Timing;
    use metallb_runtime::CancellationToken;
    use metallb_runtime::tasks::Tasks;
    use serde_json::json;
    use tokio::time::timeout;

    use super::*;

    /// An API server that has the Secret as soon as `there`.
    fn api_server(there: &Arc<AtomicBool>) -> Client {
        let there = Arc::clone(there);
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            assert!(query.contains("metadata.name%3Dmemberlist"), "{query}");
            let secret = json!({ "metadata": { "name": "memberlist", "uid": "1", "resourceVersion": "1" },
                "data": { "secretkey": "Zm9vYmFy" } });
            let answer = match there.load(Ordering::SeqCst) {
                true => json!({ "kind": "SecretList", "metadata": { "resourceVersion": "1" }, "items": [secret] }),
                false => json!({ "kind": "Status", "status": "Failure", "code": 503, "reason": "x", "message": "x" }),
            };
            let code = if answer["kind"] == "Status" { 503 } else { 200 };
            let answer = Response::builder()
                .status(code)
                .body(Body::from(answer.to_string().into_bytes()));
            async { answer }
        });
        Client::new(service, "ns")
    }

    /// Who owns the tasks of a test, and who starts them.
    fn owner() -> (Tasks, Spawner) {
        let tasks = Tasks::new(CancellationToken::new());
        let spawner = tasks.spawner();
        (tasks, spawner)
    }

    fn membership(file: &Path, secret: Option<&str>) -> Membership {
        Membership {
            bind: ([127, 0, 0, 1], 7946).into(),
            labels: String::new(),
            key_file: Some(file.to_owned()),
            secret: secret.map(ToOwned::to_owned),
            timing: Timing::lan(),
            fast: false,
        }
    }

    /// A folder that ends with the test.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("metallb-key-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn file(&self) -> std::path::PathBuf {
            self.0.join("secretkey")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_file_is_read_without_asking_anybody() {
        let folder = Folder::new("file");
        std::fs::write(folder.file(), "key").unwrap();
        let (client, health) = (api_server(&Arc::default()), Health::default());
        let (_tasks, spawner) = owner();
        let membership = membership(&folder.file(), Some("memberlist"));
        let key = read(&client, "ns", &membership, &health, &spawner).await.unwrap();
        assert_eq!(key.as_deref(), Some(&b"key"[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_before_the_secret_waits_for_it_and_says_so() {
        let folder = Folder::new("secret");
        let (there, health) = (Arc::default(), Health::default());
        let (client, (_tasks, spawner)) = (api_server(&there), owner());
        let membership = membership(&folder.file(), Some("memberlist"));
        let mut reading = std::pin::pin!(read(&client, "ns", &membership, &health, &spawner));
        assert!(timeout(Duration::from_secs(60), &mut reading).await.is_err());
        let missing = health.readiness().1;
        assert!(
            missing.contains("Secret memberlist, which the controller makes"),
            "{missing}"
        );
        there.store(true, Ordering::SeqCst);
        let key = timeout(Duration::from_secs(60), &mut reading).await.unwrap().unwrap();
        assert_eq!(key.as_deref(), Some(&b"foobar"[..]));
        assert_eq!(health.readiness().1, "ok");
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_name_of_the_secret_the_file_is_awaited() {
        let folder = Folder::new("late");
        let (client, health) = (api_server(&Arc::default()), Health::default());
        let (_tasks, spawner) = owner();
        let membership = membership(&folder.file(), None);
        let mut reading = std::pin::pin!(read(&client, "ns", &membership, &health, &spawner));
        assert!(timeout(Duration::from_secs(60), &mut reading).await.is_err());
        std::fs::write(folder.file(), "key").unwrap();
        let key = timeout(Duration::from_secs(60), &mut reading).await.unwrap().unwrap();
        assert_eq!(key.as_deref(), Some(&b"key"[..]));
    }

    // A speaker may learn of the key long after this one, and must be understood before and after.
    #[tokio::test(start_paused = true)]
    async fn a_new_key_is_understood_then_used_then_alone() {
        let folder = Folder::new("new");
        std::fs::write(folder.file(), "old").unwrap();
        let (keys, mut set) = tokio::sync::mpsc::unbounded_channel();
        let file = folder.file();
        let set_keys = |secrets: Vec<Vec<u8>>| {
            let texts = secrets.into_iter().map(|secret| String::from_utf8(secret).unwrap());
            keys.send(texts.collect::<Vec<_>>()).unwrap();
        };
        let mut following = std::pin::pin!(follow(&file, b"old".to_vec(), set_keys));
        assert!(timeout(2 * OVERLAP, &mut following).await.is_err());
        assert!(set.try_recv().is_err(), "the key is the same");
        std::fs::write(folder.file(), "new").unwrap();
        assert!(timeout(2 * LOOK_AGAIN, &mut following).await.is_err());
        assert_eq!(set.try_recv().unwrap(), ["old", "new"]);
        assert!(timeout(OVERLAP, &mut following).await.is_err());
        assert_eq!(set.try_recv().unwrap(), ["new", "old"]);
        assert!(timeout(OVERLAP, &mut following).await.is_err());
        assert_eq!(set.try_recv().unwrap(), ["new"]);
        assert!(timeout(2 * OVERLAP, &mut following).await.is_err());
        assert!(set.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn another_key_is_told_of_at_once_and_then_every_ten_minutes_at_most() {
        let (mismatch, mismatches) = watch::channel(None);
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let mut telling = std::pin::pin!(tell_mismatches(mismatches, |from| told.send(from).unwrap()));
        let minute = Duration::from_secs(60);
        assert!(timeout(60 * minute, &mut telling).await.is_err());
        assert!(heard.try_recv().is_err(), "there was none");
        for last in 1..=9 {
            mismatch.send_replace(Some(IpAddr::from([192, 0, 2, last])));
            assert!(timeout(minute, &mut telling).await.is_err());
        }
        assert_eq!(heard.try_recv().unwrap(), IpAddr::from([192, 0, 2, 1]));
        assert!(heard.try_recv().is_err());
        assert!(timeout(60 * minute, &mut telling).await.is_err());
        assert_eq!(heard.try_recv().unwrap(), IpAddr::from([192, 0, 2, 9]), "it goes on");
        assert!(heard.try_recv().is_err(), "and not for ever");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error() {
        let (client, health) = (api_server(&Arc::default()), Health::default());
        let (_tasks, spawner) = owner();
        let membership = membership(Path::new("/no/such/folder/secretkey"), Some("memberlist"));
        let error = read(&client, "ns", &membership, &health, &spawner)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("/no/such/folder/secretkey: its folder"), "{error}");
    }
}
