//! Who may read `/metrics`: a bearer token that the API server knows (TokenReview) and whose user may `get` that path
//! (SubjectAccessReview).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::cause::explain;

/// Upstream caches a good token for a minute, a refusal for 30 s.
const ALLOWED_TTL: Duration = Duration::from_secs(60);
const DENIED_TTL: Duration = Duration::from_secs(30);
/// Upstream asks about an unknown token each time.
const UNKNOWN_TTL: Duration = Duration::from_secs(10);
/// Questions at the same time: whoever tries tokens need not keep the API server busy.
const QUESTIONS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Scrapers are few; more answers than this are somebody trying.
const CACHE_LIMIT: usize = 256;
/// The one thing that is done with a path.
const VERB: &str = "get";

/// Verdict on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// May read.
    Allowed,
    /// No token, or one that the API server does not know.
    Unauthenticated,
    /// A known user without the right.
    Denied,
    /// The API server could not be asked.
    Failed,
}

/// Asks the API server about tokens; clones share the cache.
#[derive(Clone)]
pub struct Authorizer {
    client: Client,
    cache: Arc<Mutex<HashMap<Question, (Access, Instant)>>>,
    questions: Arc<Semaphore>,
}

/// What an answer is good for: a hash, so that no token stays in memory.
type Question = [u8; 32];

/// Who asks for what. Lengths are part of it, so that no two questions read the same.
fn question(token: &str, audience: &str, verb: &str, path: &str) -> Question {
    let mut hash = Sha256::new();
    for part in [token, audience, verb, path] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

impl Authorizer {
    /// Creates an authorizer that asks through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            cache: Arc::default(),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    /// Judges the value of an `Authorization` header for `get` on `path`.
    pub async fn judge(&self, authorization: Option<&str>, path: &str) -> Access {
        match authorization.and_then(bearer) {
            Some(token) => self.judge_token(token, None, path).await,
            None => Access::Unauthenticated,
        }
    }

    /// Judges a token for `get` on `path`; with an `audience` only one that was made for it, and so opens nothing else.
    pub async fn judge_token(&self, token: &str, audience: Option<&str>, path: &str) -> Access {
        let question = question(token, audience.unwrap_or_default(), VERB, path);
        if let Some(known) = self.recall(&question) {
            return known;
        }
        let access = match timeout(TIMEOUT, self.ask(token, audience, path)).await {
            Ok(Ok(access)) => access,
            Ok(Err(error)) => {
                tracing::warn!(event = "metricsAccess", error = explain(&error), "cannot check a token");
                Access::Failed
            }
            Err(_) => Access::Failed,
        };
        self.remember(question, access);
        access
    }

    async fn ask(&self, token: &str, audience: Option<&str>, path: &str) -> Result<Access, kube::Error> {
        // Nobody closes it.
        let _place = self.questions.acquire().await;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: audience.map(|audience| vec![audience.to_owned()]),
            },
            ..TokenReview::default()
        };
        let answer = Api::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await?;
        let status = answer.status.unwrap_or_default();
        // An API server that knows no audiences says yes to any, and names none.
        let meant = |audience: &str| status.audiences.iter().flatten().any(|meant| meant == audience);
        let valid = status.authenticated == Some(true) && audience.is_none_or(meant);
        let Some(user) = status.user.filter(|_| valid) else {
            return Ok(Access::Unauthenticated);
        };
        let answer = Api::all(self.client.clone())
            .create(&PostParams::default(), &may_read(user, path))
            .await?;
        Ok(if answer.status.is_some_and(|status| status.allowed) {
            Access::Allowed
        } else {
            Access::Denied
        })
    }

    fn recall(&self, question: &Question) -> Option<Access> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (access, until) = cache.get(question)?;
        (*until > Instant::now()).then_some(*access)
    }

    fn remember(&self, question: Question, access: Access) {
        let ttl = match access {
            Access::Allowed => ALLOWED_TTL,
            Access::Denied => DENIED_TTL,
            Access::Unauthenticated => UNKNOWN_TTL,
            Access::Failed => return,
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if cache.len() >= CACHE_LIMIT {
            cache.retain(|_, (_, until)| *until > now);
        }
        // The answer that would be forgotten first goes, so that whoever fills the cache keeps no scraper out of it.
        if cache.len() >= CACHE_LIMIT
            && let Some(oldest) = cache
                .iter()
                .min_by_key(|(_, (_, until))| *until)
                .map(|(oldest, _)| *oldest)
        {
            cache.remove(&oldest);
        }
        cache.insert(question, (access, now + ttl));
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

fn may_read(user: UserInfo, path: &str) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some(VERB.to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, Calls, client};
    use serde_json::json;

    fn authorizer(authenticated: bool, allowed: bool) -> (Authorizer, Calls) {
        let (client, calls) = client(move |call| {
            if call.path.ends_with("/tokenreviews") {
                Call::ok(&json!({"metadata": {}, "spec": {}, "status": {
                    "authenticated": authenticated, "user": {"username": "scraper", "groups": ["g"]},
                }}))
            } else {
                Call::ok(&json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed}}))
            }
        });
        (Authorizer::new(client), calls)
    }

    #[tokio::test]
    async fn without_a_token_nobody_is_asked() {
        let (authorizer, calls) = authorizer(true, true);
        for header in [None, Some("Basic eDp5"), Some("Bearer ")] {
            assert_eq!(authorizer.judge(header, "/metrics").await, Access::Unauthenticated);
        }
        assert!(calls.all().is_empty());
    }

    #[tokio::test]
    async fn an_unknown_token_is_unauthenticated() {
        assert_eq!(
            authorizer(false, true).0.judge(Some("Bearer t"), "/metrics").await,
            Access::Unauthenticated
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_token_is_remembered_for_ten_seconds() {
        let (authorizer, calls) = authorizer(false, true);
        for (pause, asked) in [(0, 1), (9, 1), (1, 2)] {
            tokio::time::advance(Duration::from_secs(pause)).await;
            assert_eq!(
                authorizer.judge(Some("Bearer t"), "/metrics").await,
                Access::Unauthenticated
            );
            assert_eq!(calls.all().len(), asked);
        }
    }

    #[tokio::test]
    async fn a_user_without_the_right_is_denied() {
        let (authorizer, calls) = authorizer(true, false);
        assert_eq!(authorizer.judge(Some("Bearer t"), "/metrics").await, Access::Denied);
        let asked = &calls.all()[1].body["spec"];
        assert_eq!((&asked["user"], &asked["groups"]), (&json!("scraper"), &json!(["g"])));
        assert_eq!(
            asked["nonResourceAttributes"],
            json!({"path": "/metrics", "verb": "get"})
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_token_is_remembered_for_a_minute() {
        let (authorizer, calls) = authorizer(true, true);
        for _ in 0..3 {
            assert_eq!(authorizer.judge(Some("bearer t"), "/metrics").await, Access::Allowed);
        }
        assert_eq!(calls.all().len(), 2);
        tokio::time::advance(ALLOWED_TTL).await;
        authorizer.judge(Some("Bearer t"), "/metrics").await;
        assert_eq!(calls.all().len(), 4);
    }

    #[tokio::test]
    async fn an_answer_opens_or_closes_no_other_path() {
        let (client, calls) = client(|call| match call.path.ends_with("/tokenreviews") {
            true => Call::ok(&json!({"metadata": {}, "spec": {}, "status": {"authenticated": true, "user": {}}})),
            false => {
                let allowed = call.body["spec"]["nonResourceAttributes"]["path"] == "/metrics";
                Call::ok(&json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed}}))
            }
        });
        let authorizer = Authorizer::new(client);
        for _ in 0..2 {
            assert_eq!(authorizer.judge(Some("Bearer t"), "/metrics").await, Access::Allowed);
            assert_eq!(authorizer.judge(Some("Bearer t"), "/debug").await, Access::Denied);
            assert_eq!(authorizer.judge(Some("Bearer t/"), "/metrics").await, Access::Allowed);
        }
        assert_eq!(calls.all().len(), 6, "each is asked once");
    }

    // CLI-57
    #[tokio::test]
    async fn a_token_counts_for_the_audience_that_it_was_made_for() {
        for (audiences, access) in [
            (json!(["metallb.io"]), Access::Allowed),
            (json!(["https://kubernetes.default.svc"]), Access::Unauthenticated),
            (json!(null), Access::Unauthenticated),
        ] {
            let (client, calls) = client(move |call| match call.path.ends_with("/tokenreviews") {
                true => Call::ok(&json!({"metadata": {}, "spec": {}, "status": {
                    "authenticated": true, "user": {}, "audiences": audiences,
                }})),
                false => Call::ok(&json!({"metadata": {}, "spec": {}, "status": {"allowed": true}})),
            });
            let authorizer = Authorizer::new(client);
            let judged = authorizer.judge_token("t", Some("metallb.io"), "/inspect/v1").await;
            assert_eq!(judged, access);
            assert_eq!(calls.all()[0].body["spec"]["audiences"], json!(["metallb.io"]));
            // The same token without an audience is another question.
            let before = calls.all().len();
            authorizer.judge(Some("Bearer t"), "/inspect/v1").await;
            assert!(calls.all().len() > before);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_remembered_for_half_a_minute() {
        let (authorizer, calls) = authorizer(true, false);
        for _ in 0..2 {
            assert_eq!(authorizer.judge(Some("Bearer t"), "/metrics").await, Access::Denied);
        }
        assert_eq!(calls.all().len(), 2);
        tokio::time::advance(DENIED_TTL).await;
        authorizer.judge(Some("Bearer t"), "/metrics").await;
        assert_eq!(calls.all().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_fills_the_cache_keeps_no_scraper_out_and_the_cache_small() {
        let (authorizer, calls) = authorizer(true, true);
        for number in 0..2 * CACHE_LIMIT {
            let token = format!("Bearer {number}");
            authorizer.judge(Some(&token), "/metrics").await;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(authorizer.cache.lock().unwrap().len(), CACHE_LIMIT);
        for _ in 0..2 {
            authorizer.judge(Some("Bearer t"), "/metrics").await;
        }
        assert_eq!(
            calls.all().len(),
            2 * (2 * CACHE_LIMIT + 1),
            "the last one is remembered"
        );
    }

    #[tokio::test]
    async fn no_token_is_kept() {
        let (authorizer, _) = authorizer(true, true);
        authorizer.judge(Some("Bearer secret-token"), "/metrics").await;
        let kept: Vec<_> = authorizer.cache.lock().unwrap().keys().copied().collect();
        assert_eq!(kept, [question("secret-token", "", "get", "/metrics")]);
        assert_ne!(kept, [question("secret-token", "", "get", "/debug")]);
    }

    #[tokio::test]
    async fn an_unreachable_api_server_is_a_failure_and_not_remembered() {
        let (client, calls) = client(|_| Call::failure(500, "InternalError"));
        let authorizer = Authorizer::new(client);
        assert_eq!(authorizer.judge(Some("Bearer t"), "/metrics").await, Access::Failed);
        authorizer.judge(Some("Bearer t"), "/metrics").await;
        assert_eq!(calls.all().len(), 2);
    }
}
