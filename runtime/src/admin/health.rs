use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::{Error, serve_plain};

/// What the process still waits for before it is ready; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    missing: Arc<Mutex<BTreeSet<String>>>,
}

impl Health {
    /// Starts with the things to wait for, in words that an administrator understands.
    pub fn waiting_for<S: Into<String>>(missing: impl IntoIterator<Item = S>) -> Self {
        Self {
            missing: Arc::new(Mutex::new(missing.into_iter().map(Into::into).collect())),
        }
    }

    /// Strikes `what` off the list.
    pub fn ready(&self, what: &str) {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(what);
    }

    /// Puts `what` on the list (again).
    pub fn missing(&self, what: &str) {
        self.missing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(what.to_owned());
    }

    /// Returns the text and status of `/readyz`.
    #[must_use]
    pub fn readiness(&self) -> (StatusCode, String) {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.is_empty() {
            return (StatusCode::OK, "ok".to_owned());
        }
        let list = missing.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {list}"))
    }
}

/// Serves `/healthz` (the process serves) and `/readyz` (it has what it needs, else the text says what is missing)
/// until `stop`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve_health(address: SocketAddr, health: Health, stop: CancellationToken) -> Result<(), Error> {
    serve_plain(address, router(health), stop).await
}

fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/readyz",
            get(|State(health): State<Health>| async move { health.readiness() }),
        )
        .with_state(health)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_missing() {
        let health = Health::waiting_for(["configuration", "services"]);
        assert_eq!(health.readiness().1, "waiting for: configuration, services");
        health.ready("configuration");
        assert_eq!(
            health.readiness(),
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for: services".into())
        );
        health.ready("services");
        assert_eq!(health.readiness(), (StatusCode::OK, "ok".into()));
    }

    #[tokio::test]
    async fn the_port_answers_both_paths_and_frees_itself_on_stop() {
        // CTL-138
        let address = free_address();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve_health(address, Health::waiting_for(["nodes"]), stop.clone()));
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let ready = ask(address, "/readyz").await;
        assert!(
            ready.starts_with("HTTP/1.1 503") && ready.ends_with("waiting for: nodes"),
            "{ready}"
        );
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_port_is_reached_over_both_families() {
        let port = free_address().port();
        let stop = CancellationToken::new();
        let address = crate::listen::everywhere(port);
        let server = tokio::spawn(serve_health(address, Health::default(), stop.clone()));
        for host in ["127.0.0.1", "[::1]"] {
            let answer = ask(format!("{host}:{port}").parse().unwrap(), "/readyz").await;
            assert!(answer.ends_with("ok"), "{host}: {answer}");
        }
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    fn free_address() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = loop {
            match tokio::net::TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}
