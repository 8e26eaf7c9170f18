//! Watches: a stream of events, fed from the history of the store.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use http::header;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::call::Call;
use crate::convert;
use crate::error::{ApiError, Result};
use crate::read;
use crate::selector::Selector;
use crate::state::Shared;
use crate::store::{Change, Object};
use crate::view;

/// How often an idle watch gets a bookmark.
const BOOKMARKS: Duration = Duration::from_secs(30);

struct Watch {
    call: Call,
    selector: Selector,
    changes: watch::Receiver<u64>,
    /// Everything up to here was sent.
    revision: u64,
    ready: VecDeque<Bytes>,
    end: Instant,
    bookmarks: bool,
    over: bool,
}

/// Answers with a stream of events.
pub(crate) fn watch(call: &Call) -> Result<Response> {
    let call = owned(call);
    let selector = read::selector(&call)?;
    let bucket = call.resource.bucket();
    let changes = call.server.store().subscribe(&bucket);
    let seconds = call.params.number("timeoutSeconds").filter(|s| *s > 0).unwrap_or(1800);
    let from = call.params.get("resourceVersion").to_owned();
    let bookmarks = call.params.flag("allowWatchBookmarks");
    let list = call.params.flag("sendInitialEvents");
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut watch = Watch {
        call,
        selector,
        changes,
        revision: 0,
        ready: VecDeque::new(),
        end,
        bookmarks,
        over: false,
    };
    let mut first = Vec::new();
    if from.is_empty() || from == "0" {
        (first, watch.revision) = read::selected(&watch.call)?;
    } else {
        let refuse = |_| ApiError::bad_request(format!("invalid resource version {from:?}"));
        watch.revision = from.parse().map_err(refuse)?;
    }
    let stream = futures::stream::once(async move {
        for object in first {
            watch.push("ADDED", object).await;
        }
        if list {
            watch.bookmark(&json!({"k8s.io/initial-events-end": "true"}));
        }
        futures::stream::unfold(watch, |mut watch| async move {
            let bytes = watch.next().await?;
            Some((Ok::<_, std::convert::Infallible>(bytes), watch))
        })
    });
    let body = Body::from_stream(futures::StreamExt::flatten(stream));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The call outlives its request; a name in the path is a field selector.
fn owned(call: &Call) -> Call {
    let mut call = call.clone();
    if let Some(name) = &call.name {
        call.params.set("fieldSelector", &format!("metadata.name={name}"));
    }
    call
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        let stop = self.call.server.stop.clone();
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            self.changes.mark_unchanged();
            self.collect().await;
            if !self.ready.is_empty() {
                continue;
            }
            // Cancel-safe: no arm keeps anything but what it waits for.
            tokio::select! {
                changed = self.changes.changed() => self.over = changed.is_err(),
                () = tokio::time::sleep_until(self.end) => self.over = true,
                () = stop.cancelled() => self.over = true,
                () = tokio::time::sleep(BOOKMARKS), if self.bookmarks => self.bookmark(&json!({})),
            }
        }
    }

    /// Queues whatever happened since the last event.
    async fn collect(&mut self) {
        let server: Shared = self.call.server.clone();
        let (changes, revision) = {
            let store = server.store();
            let changes = store.since(&self.call.resource.bucket(), self.revision);
            (changes, store.revision())
        };
        let Ok(changes) = changes else {
            let error = ApiError::expired(format!("too old resource version: {} ({revision})", self.revision));
            self.fail(&error);
            return;
        };
        self.revision = self.revision.max(revision);
        for change in changes {
            if let Some((kind, object)) = self.event(&change) {
                self.push(kind, object).await;
            }
        }
    }

    /// How a change looks through the selector.
    fn event(&self, change: &Change) -> Option<(&'static str, Object)> {
        let wanted = |object: &Object| {
            let namespace = self.call.namespace.as_str();
            (namespace.is_empty() || object["metadata"]["namespace"] == namespace) && self.selector.matches(object)
        };
        let before = change.previous.clone().filter(wanted);
        match (change.object.clone(), before) {
            (Some(object), before) if wanted(&object) => {
                Some((if before.is_some() { "MODIFIED" } else { "ADDED" }, object))
            }
            (_, Some(last)) => {
                let mut last = Value::clone(&last);
                last["metadata"]["resourceVersion"] = change.revision.to_string().into();
                Some(("DELETED", Object::new(last)))
            }
            (_, None) => None,
        }
    }

    async fn push(&mut self, kind: &str, object: Object) {
        let call = &self.call;
        match convert::present(&call.server, &call.resource, &call.version, vec![object]).await {
            Ok(objects) => {
                for object in objects {
                    let line = line(kind, &view::one(call, &object));
                    self.ready.push_back(line);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn bookmark(&mut self, annotations: &Value) {
        let version = self.revision.to_string();
        let metadata = json!({"resourceVersion": version, "creationTimestamp": null, "annotations": annotations});
        let (kind, api_version) = (&self.call.resource.kind, self.call.api_version());
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        self.ready.push_back(line("BOOKMARK", &object));
    }

    fn fail(&mut self, error: &ApiError) {
        self.ready.push_back(line("ERROR", &error.status()));
        self.over = true;
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"))
}
