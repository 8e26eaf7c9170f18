//! Events and log lines.

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use metallb_ipam::{EventKind, Key, Level};
use metallb_runtime::CancellationToken;
use metallb_runtime::cause::explain;
use metallb_runtime::events::{EventType, Recorder};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

/// Events that may wait; an event beyond is dropped, since nobody waits for it.
const BACKLOG: usize = 8192;
/// Events on their way at a time.
const AT_A_TIME: usize = 8;

struct Note {
    about: Box<ObjectReference>,
    kind: EventKind,
    reason: &'static str,
    message: String,
}

/// Where workers leave what is to be said; never waits.
#[derive(Clone)]
pub(super) struct Speaker(mpsc::Sender<Note>);

/// Sends what was left.
pub(super) struct Publisher {
    notes: mpsc::Receiver<Note>,
    recorder: Recorder,
}

impl Speaker {
    pub(super) fn new(recorder: Recorder) -> (Self, Publisher) {
        let (sender, notes) = mpsc::channel(BACKLOG);
        (Self(sender), Publisher { notes, recorder })
    }

    pub(super) fn tell(&self, about: Box<ObjectReference>, kind: EventKind, reason: &'static str, message: String) {
        let note = Note {
            about,
            kind,
            reason,
            message,
        };
        if let Err(mpsc::error::TrySendError::Full(note)) = self.0.try_send(note) {
            warn!(
                event = "eventDropped",
                reason = note.reason,
                name = note.about.name,
                "too many events at a time"
            );
        }
    }
}

impl Publisher {
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let recorder = self.recorder;
        let notes = tokio_stream(self.notes);
        let publish = notes.for_each_concurrent(AT_A_TIME, |note| publish(&recorder, note));
        tokio::select! {
            () = publish => Ok(()),
            () = stop.cancelled() => Ok(()),
        }
    }
}

fn tokio_stream(notes: mpsc::Receiver<Note>) -> impl futures::Stream<Item = Note> {
    futures::stream::unfold(notes, |mut notes| async move { Some((notes.recv().await?, notes)) })
}

async fn publish(recorder: &Recorder, note: Note) {
    let kind = match note.kind {
        EventKind::Normal => EventType::Normal,
        EventKind::Warning => EventType::Warning,
    };
    let sent = recorder
        .publish(&note.about, kind, note.reason, note.reason, &note.message)
        .await;
    if let Err(error) = sent {
        warn!(
            event = "eventFailed",
            reason = note.reason,
            name = note.about.name,
            error = explain(&error)
        );
    }
}

/// Writes a line of the engine in upstream's words.
pub(super) fn log(key: &Key, level: Level, event: &'static str, detail: &str) {
    let service = key.to_string();
    match (level, event) {
        (_, "ipAllocated") => info!(event, service, ip = detail, "IP address assigned by controller"),
        (_, "serviceDeleted") => info!(event, service, "service deleted"),
        (_, "deprecatedAnnotation") => warn!(event, service, annotation = detail, "deprecated annotation"),
        (_, "allocateIPs") => error!(op = event, service, error = detail, "IP allocation failed"),
        (_, "loadbalancerIP") => error!(event, service, error = detail, "invalid requested loadbalancer IPs"),
        (Level::Debug, _) => debug!(event, service, reason = detail),
        (Level::Info, _) => info!(event, service, reason = detail),
        (Level::Warn, _) => warn!(event, service, reason = detail),
        (Level::Error, _) => error!(event, service, reason = detail),
    }
}
