//! Errors in one line.

use std::error::Error;

use kube::core::Status;

/// Tells an error and what caused it, each thing once: many errors quote their cause themselves.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = told(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = told(cause);
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The text of one error. That of kube for an answer of the API server dumps the whole answer after its message.
fn told(error: &(dyn Error + 'static)) -> String {
    let kubes = error.downcast_ref::<Box<kube::Error>>().map(|error| &**error);
    let answer = match kubes.or_else(|| error.downcast_ref()) {
        Some(kube::Error::Api(status)) => Some(&**status),
        _ => error.downcast_ref::<Box<Status>>().map(|status| &**status),
    };
    match answer {
        Some(status) if status.message.is_empty() => format!("HTTP status {} {}", status.code, status.reason),
        Some(status) => status.message.clone(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("no route")]
        Root,
        #[error("cannot connect: {0}")]
        Quoting(#[source] Box<Self>),
        #[error("cannot list Services")]
        Plain(#[source] Box<Self>),
    }

    #[test]
    fn each_cause_is_told_once() {
        let error = Failure::Plain(Failure::Quoting(Failure::Root.into()).into());
        assert_eq!(explain(&error), "cannot list Services: cannot connect: no route");
        assert_eq!(
            explain(anyhow::Error::from(error).as_ref()),
            "cannot list Services: cannot connect: no route"
        );
    }

    #[test]
    fn an_answer_of_the_api_server_is_its_message() {
        let status = Status::failure("services \"web\" is forbidden", "Forbidden")
            .with_code(403)
            .boxed();
        let error = Box::new(kube::Error::Api(status));
        let told = "cannot write the status: services \"web\" is forbidden";
        assert_eq!(explain(&Refused(error)), told);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write the status")]
    struct Refused(#[source] Box<kube::Error>);

    #[test]
    fn an_answer_without_words_is_its_code() {
        let status = Status::failure("", "TooManyRequests").with_code(429).boxed();
        assert_eq!(explain(&kube::Error::Api(status)), "HTTP status 429 TooManyRequests");
    }
}
