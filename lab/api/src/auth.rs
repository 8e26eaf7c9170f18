//! Bearer tokens: the administrator's, and those that `serviceaccounts/token` hands out, which never expire here. Everybody
//! known may do everything.

use std::collections::HashMap;

use http::HeaderMap;
use serde_json::{Value, json};

use crate::error::{ApiError, Result};
use crate::meta;

/// Who sent a request, as reviews tell it: `username`, `uid`, `groups`.
pub(crate) type User = Value;

/// The tokens of one server. They are never logged.
#[derive(Default)]
pub(crate) struct Tokens {
    known: HashMap<String, User>,
}

impl Tokens {
    /// Issues the administrator's token.
    pub(crate) fn admin(&mut self) -> String {
        let groups = ["system:masters", "system:authenticated"];
        self.issue(json!({"username": "kubernetes-admin", "uid": "", "groups": groups}))
    }

    fn issue(&mut self, user: User) -> String {
        let token: String = meta::random::<32>().iter().map(|b| format!("{b:02x}")).collect();
        self.known.insert(token.clone(), user);
        token
    }

    /// The user of a request.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<User> {
        let header = headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = header.and_then(|h| h.strip_prefix("Bearer ")).map(str::trim);
        let user = token.and_then(|token| self.known.get(token));
        user.cloned().ok_or_else(ApiError::unauthorized)
    }

    /// Answers a `TokenRequest` for a service account.
    pub(crate) fn request(&mut self, account: &Value, request: &Value) -> Value {
        let (namespace, name) = (meta::namespace(account), meta::name(account));
        let all = "system:serviceaccounts";
        let groups = json!([all, format!("{all}:{namespace}"), "system:authenticated"]);
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let token = self.issue(json!({"username": user, "uid": meta::uid(account), "groups": groups}));
        let seconds = request["spec"]["expirationSeconds"].as_u64().unwrap_or(3600);
        let mut answer = request.clone();
        answer["kind"] = "TokenRequest".into();
        answer["apiVersion"] = "authentication.k8s.io/v1".into();
        answer["status"] = json!({"token": token, "expirationTimestamp": meta::in_seconds(seconds)});
        answer
    }

    /// Answers a `TokenReview`.
    pub(crate) fn review(&self, mut review: Value) -> Value {
        review["status"] = match self.known.get(meta::text(&review, "/spec/token")) {
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
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    review["status"] = json!({"resourceRules": all, "nonResourceRules": [], "incomplete": false});
    review
}
