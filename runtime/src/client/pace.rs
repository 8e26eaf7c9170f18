//! Manners towards an API server in trouble: no request waits for ever, and no watch is begun again and again.
//!
//! kube begins a watch that has ended at once, whatever made it end; an API server, or a proxy before it, that ends all
//! watches as soon as they begin would be asked as fast as the network allows.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Uri};
use tokio::time::{Instant, sleep_until, timeout};
use tower::{BoxError, Service};

/// Within this time the head of the answer must be there. API servers give up themselves after 60 s.
const ANSWER: Duration = Duration::from_secs(30);
/// The same watch begins at most once in this time.
const WATCH: Duration = Duration::from_secs(1);

/// The API server took longer than [`ANSWER`].
#[derive(Debug, thiserror::Error)]
#[error("no answer within {ANSWER:?}")]
struct NoAnswer;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Pace<S> {
    inner: S,
    watches: Watches,
}

impl<S> Pace<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            watches: Watches::default(),
        }
    }
}

impl<S, B> Service<Request<B>> for Pace<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let begin = self.watches.begin(request.uri(), Instant::now());
        // The one that was asked whether it is ready must be the one that is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            if let Some(begin) = begin {
                sleep_until(begin).await;
            }
            match timeout(ANSWER, inner.call(request)).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(NoAnswer.into()),
            }
        })
    }
}

/// When each watch began last.
#[derive(Clone, Debug, Default)]
struct Watches(Arc<Mutex<HashMap<String, Instant>>>);

impl Watches {
    /// When the request may be sent, if it is a watch that began a moment ago.
    fn begin(&self, uri: &Uri, now: Instant) -> Option<Instant> {
        let watch = identity(uri)?;
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, at| *at + WATCH > now);
        let at = begun.get(&watch).map_or(now, |last| *last + WATCH);
        begun.insert(watch, at);
        (at > now).then_some(at)
    }
}

/// What makes a watch the same: all but where it goes on, and for how long.
fn identity(uri: &Uri) -> Option<String> {
    let parameters: Vec<&str> = uri.query()?.split('&').collect();
    let watch = |parameter: &&str| matches!(*parameter, "watch=true" | "watch=1");
    parameters.iter().find(|parameter| watch(parameter))?;
    let kept = parameters
        .into_iter()
        .filter(|parameter| !parameter.starts_with("resourceVersion=") && !parameter.starts_with("timeoutSeconds="));
    Some(format!("{}?{}", uri.path(), kept.collect::<Vec<_>>().join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::{ServiceExt, service_fn};

    fn watch(version: u32) -> Uri {
        format!("/api/v1/services?watch=true&timeoutSeconds=60&resourceVersion={version}")
            .parse()
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_ends_at_once_begins_once_a_second() {
        let answer = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(()) });
        let pace = Pace::new(answer);
        let began = Instant::now();
        for version in 0..5 {
            let request = Request::get(watch(version)).body(()).unwrap();
            pace.clone().oneshot(request).await.unwrap();
        }
        assert_eq!(began.elapsed(), WATCH * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn other_requests_and_other_watches_are_not_held_up() {
        let answer = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(()) });
        let pace = Pace::new(answer);
        let began = Instant::now();
        for uri in [
            "/api/v1/services?watch=true",
            "/api/v1/nodes?watch=true",
            "/api/v1/nodes?watch=true&labelSelector=a",
            "/api/v1/nodes",
            "/api/v1/nodes",
        ] {
            let request = Request::get(uri).body(()).unwrap();
            pace.clone().oneshot(request).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_answer_fails_in_the_end() {
        let silent = service_fn(|_: Request<()>| std::future::pending::<Result<(), BoxError>>());
        let began = Instant::now();
        let request = Request::get("/api/v1/nodes").body(()).unwrap();
        let failed = Pace::new(silent).oneshot(request).await.unwrap_err();
        assert_eq!(failed.to_string(), "no answer within 30s");
        assert_eq!(began.elapsed(), ANSWER);
    }
}
