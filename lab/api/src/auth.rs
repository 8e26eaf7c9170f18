//! Bearer tokens: the administrator's, and those that `serviceaccounts/token` hands out. Everybody known may do everything.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde_json::{Value, json};

use crate::error::{ApiError, Result};
use crate::meta;

/// Who sent a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
}

impl User {
    pub(crate) fn to_json(&self) -> Value {
        json!({"username": self.name, "uid": self.uid, "groups": self.groups})
    }
}

/// The tokens of one server. They are never logged.
#[derive(Default)]
pub(crate) struct Tokens {
    known: HashMap<String, (User, Option<Instant>)>,
}

impl Tokens {
    /// Issues the administrator's token.
    pub(crate) fn admin(&mut self) -> String {
        let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
        self.issue(
            User {
                name: "kubernetes-admin".into(),
                uid: String::new(),
                groups,
            },
            None,
        )
    }

    fn issue(&mut self, user: User, lifetime: Option<Duration>) -> String {
        let token: String = meta::random::<32>().iter().map(|b| format!("{b:02x}")).collect();
        self.known
            .insert(token.clone(), (user, lifetime.map(|l| Instant::now() + l)));
        token
    }

    fn find(&self, token: &str) -> Option<&User> {
        let (user, expiry) = self.known.get(token)?;
        expiry.is_none_or(|at| Instant::now() < at).then_some(user)
    }

    /// The user of a request.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<User> {
        let header = headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = header.and_then(|h| h.strip_prefix("Bearer ")).map(str::trim);
        token
            .and_then(|t| self.find(t))
            .cloned()
            .ok_or_else(ApiError::unauthorized)
    }

    /// Answers a `TokenRequest` for a service account.
    pub(crate) fn request(&mut self, account: &Value, request: &Value) -> Value {
        let (namespace, name) = (meta::namespace(account), meta::name(account));
        let groups = [
            "system:serviceaccounts",
            &format!("system:serviceaccounts:{namespace}"),
            "system:authenticated",
        ];
        let user = User {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            uid: meta::uid(account).to_owned(),
            groups: groups.iter().map(ToString::to_string).collect(),
        };
        let seconds = request["spec"]["expirationSeconds"]
            .as_u64()
            .unwrap_or(3600)
            .clamp(600, 1 << 32);
        let expiry = k8s_openapi::jiff::Timestamp::now() + Duration::from_secs(seconds);
        let token = self.issue(user, Some(Duration::from_secs(seconds)));
        let mut answer = request.clone();
        answer["kind"] = "TokenRequest".into();
        answer["apiVersion"] = "authentication.k8s.io/v1".into();
        answer["status"] = json!({"token": token, "expirationTimestamp": format!("{expiry:.0}")});
        answer
    }

    /// Answers a `TokenReview`.
    pub(crate) fn review(&self, mut review: Value) -> Value {
        let user = self.find(meta::text(&review, "/spec/token")).map(User::to_json);
        review["status"] = match user {
            Some(user) => json!({"authenticated": true, "user": user, "audiences": review["spec"]["audiences"]}),
            None => json!({"authenticated": false, "error": "invalid bearer token"}),
        };
        review
    }
}

/// Answers a (Self|Local)SubjectAccessReview: everybody but the anonymous user is allowed.
pub(crate) fn access_review(mut review: Value) -> Value {
    let user = meta::text(&review, "/spec/user");
    review["status"] = json!({"allowed": user != "system:anonymous", "reason": "the lab authorises every known user"});
    review
}

/// Answers a `SelfSubjectRulesReview`: everything.
pub(crate) fn rules_review(mut review: Value) -> Value {
    review["status"] = json!({
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": false,
    });
    review
}
