//! One request: recorded, then refused, delayed, lost, or passed on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;

use super::body::{self, Body, Parts};
use super::connection::Connection;
use super::request::{Request, Verb};
use super::rule::Fault;
use super::script::Script;

type Answer = Response<Body>;

/// What a client gets instead of an answer.
enum Instead {
    Answer(Answer),
    Nothing,
}

/// Sends requests on to the API server.
pub(super) struct Forwarder<C> {
    pub script: Arc<Script>,
    client: Client<C, Incoming>,
    to: SocketAddr,
}

/// A forwarder to `to`, whose certificate `ca` signed.
pub(super) fn forwarder(
    script: Arc<Script>,
    to: SocketAddr,
    ca: &str,
) -> Result<Forwarder<impl Connect + Clone + Send + Sync + 'static>> {
    let mut config = kube::Config::new(format!("https://{to}").parse()?);
    let certificates = pem(ca);
    anyhow::ensure!(!certificates.is_empty(), "the API server's authority is no certificate");
    config.root_cert = Some(certificates);
    let connector = config.rustls_https_connector().context("cannot make a client")?;
    Ok(Forwarder {
        script,
        client: Client::builder(TokioExecutor::new()).build(connector),
        to,
    })
}

/// The certificates of a PEM text.
fn pem(text: &str) -> Vec<Vec<u8>> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::pem_slice_iter(text.as_bytes())
        .filter_map(|certificate| certificate.ok().map(|certificate| certificate.to_vec()))
        .collect()
}

impl<C: Connect + Clone + Send + Sync + 'static> Forwarder<C> {
    /// Answers one request of `connection`.
    pub(super) async fn answer(
        &self,
        asked: http::Request<Incoming>,
        connection: Connection,
    ) -> Result<Answer, Infallible> {
        let (head, body) = asked.into_parts();
        let request = Request::read(self.script.caller(&head), &head);
        let number = self.script.record(request.clone());
        let asked = http::Request::from_parts(head, body);
        let answer = match self.play(asked, request, &connection).await {
            Instead::Answer(answer) => answer,
            // Whoever waits on this connection is woken by its end.
            Instead::Nothing => std::future::pending().await,
        };
        self.script.answered(number, answer.status().as_u16());
        Ok(answer)
    }

    async fn play(&self, asked: http::Request<Incoming>, request: Request, connection: &Connection) -> Instead {
        let (mut met, mut slow, mut lose) = (Vec::new(), None, false);
        for (id, fault) in self.script.meet(&request, &mut met) {
            match fault {
                Fault::Delay(time) => tokio::time::sleep(time).await,
                Fault::Silence => body::silence(&self.script, id).await,
                Fault::Dead => std::future::pending().await,
                Fault::SlowBody(bytes) => slow = Some(bytes),
                Fault::LoseAnswer => lose = true,
                Fault::Refuse => {
                    connection.close();
                    return Instead::Nothing;
                }
                Fault::Reset => {
                    connection.reset();
                    return Instead::Nothing;
                }
                Fault::Busy { retry_after } => return Instead::Answer(busy(retry_after)),
                Fault::Answer(code) => return Instead::Answer(refusal(code)),
                Fault::Conflict => return Instead::Answer(refusal(409)),
                Fault::Gone if request.verb == Verb::Watch => return Instead::Answer(stream(body::gone_event())),
                Fault::Gone => return Instead::Answer(refusal(410)),
                Fault::DropWatch => return Instead::Answer(stream("")),
            }
        }
        let answer = self.pass(asked).await;
        if lose {
            connection.reset();
            return Instead::Nothing;
        }
        let Some(answer) = answer else {
            connection.close();
            return Instead::Nothing;
        };
        let parts = Parts {
            script: self.script.clone(),
            connection: connection.clone(),
        };
        Instead::Answer(answer.map(|body| body::pass(body, request, met, slow, parts)))
    }

    async fn pass(&self, mut asked: http::Request<Incoming>) -> Option<Response<Incoming>> {
        let path = asked.uri().path_and_query().map_or("/", |path| path.as_str());
        let to = Uri::builder()
            .scheme("https")
            .authority(self.to.to_string())
            .path_and_query(path);
        *asked.uri_mut() = to.build().ok()?;
        match self.client.request(asked).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(%error, "the API server does not answer the proxy");
                None
            }
        }
    }
}

fn refusal(code: u16) -> Answer {
    let mut answer = stream(body::status(code).to_string());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

fn busy(seconds: u32) -> Answer {
    let mut answer = refusal(429);
    answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    answer
}

fn stream(text: impl Into<bytes::Bytes>) -> Answer {
    let mut answer = Response::new(body::full(text));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
