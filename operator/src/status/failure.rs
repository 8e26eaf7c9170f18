//! What can go wrong between plan and cluster, and what it means for the resource.

use metallb_runtime::cause::explain;

use crate::status::conditions::State;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused it or could not be asked.
    #[error("cannot {verb} {object}")]
    Api {
        /// What was attempted.
        verb: &'static str,
        /// `Kind/name`, or whatever was asked for.
        object: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A kind is in the manifests that this code does not watch; a bug.
    #[error("cannot delete {0}: the operator does not deploy this kind")]
    Kind(String),
    /// An object that cannot be written as JSON; a bug.
    #[error("cannot serialise {0}")]
    Json(String, #[source] serde_json::Error),
}

impl Error {
    pub(crate) fn api(verb: &'static str, object: &str, source: kube::Error) -> Self {
        Self::Api {
            verb,
            object: object.to_owned(),
            source: Box::new(source),
        }
    }

    /// Tells whether it may well pass by itself: conflicts, throttling, an API server that is away.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => matches!(status.code, 409 | 429 | 500..),
                _ => true,
            },
            _ => false,
        }
    }

    /// Tells whether a right is missing.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self.state(), State::Degraded { reason, .. } if reason == "MissingPermissions")
    }

    /// Tells the state that the failure means for the resource.
    pub(crate) fn state(&self) -> State {
        let Self::Api { verb, source, .. } = self else {
            return State::degraded("ApplyFailed", self.to_string());
        };
        let (reason, cause) = match source.as_ref() {
            kube::Error::Api(status) => (reason(verb, status.code, &status.message), status.message.clone()),
            other => ("ApiUnreachable", explain(other)),
        };
        State::degraded(reason, format!("{self}: {cause}"))
    }
}

/// Names the cause. The API server says 403 for missing rights, quotas, and whatever an admission plugin dislikes.
fn reason(verb: &str, code: u16, message: &str) -> &'static str {
    match code {
        401 => "MissingPermissions",
        403 if message.contains("exceeded quota") => "QuotaExceeded",
        403 if message.contains("being terminated") => "NamespaceTerminating",
        403 if message.contains(" cannot ") || !message.contains("denied") => "MissingPermissions",
        _ if verb == "delete" => "PruneFailed",
        _ => "ApplyFailed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn refused(code: u16, message: &str) -> Error {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        Error::api("apply", "Deployment/controller", kube::Error::Api(Box::new(status)))
    }

    // OP-41, OP-42
    #[test]
    fn a_refusal_becomes_a_state_with_the_servers_words() {
        let rights = "deployments.apps \"controller\" is forbidden: User \"x\" cannot patch resource \"deployments\"";
        for (code, message, wanted) in [
            (403, rights, "MissingPermissions"),
            (401, "Unauthorized", "MissingPermissions"),
            (403, "forbidden: exceeded quota: few", "QuotaExceeded"),
            (403, "admission webhook \"x\" denied the request: no", "ApplyFailed"),
            (
                403,
                "unable to create: namespace x is being terminated",
                "NamespaceTerminating",
            ),
            (422, "spec.template: Invalid value", "ApplyFailed"),
        ] {
            let State::Degraded { reason, message: told } = refused(code, message).state() else {
                panic!()
            };
            assert_eq!(reason, wanted);
            assert_eq!(told, format!("cannot apply Deployment/controller: {message}"));
        }
    }

    #[test]
    fn what_may_pass_by_itself_is_told_apart() {
        for code in [409, 429, 500, 503] {
            assert!(refused(code, "later").is_passing(), "{code}");
        }
        for code in [400, 403, 404, 422] {
            assert!(!refused(code, "no").is_passing(), "{code}");
        }
    }

    #[test]
    fn every_reason_is_a_word_that_the_schema_takes() {
        for code in [400, 401, 403, 404, 422, 500] {
            let State::Degraded { reason, .. } = refused(code, "x").state() else {
                panic!()
            };
            assert!(reason.chars().all(char::is_alphanumeric));
        }
    }
}
