//! Asking speakers what they do at this moment: read-only, with a token that is good for nothing else.
//!
//! ```text
//!  TokenRequest (ServiceAccount metallb-inspect, audience metallb.io)
//!    └─► GET …/pods/https:POD:PORT/proxy/inspect/v1/…   through the API server, which sends no credential of the user on
//!    └─► GET https://POD-IP:PORT/inspect/v1/…           if the API server does not lead there
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, stream};
use http::{Request, StatusCode};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client, Config, ResourceExt};
use metallb_api::names;
use metallb_inspect::bgp::{Route, Session};
use metallb_inspect::layer2::Layer2;
use metallb_inspect::members::Members;
use metallb_inspect::{AUDIENCE, Answer, ROOT, TOKEN_HEADER};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::args::{Global, Via};
use crate::facts::Facts;
use crate::input::cluster::{causes, client};
use crate::report::NotSeen;
use crate::sent::SETTLES;
use crate::sessions::UP;
use crate::world::{namespace, port, speaker_pods};

/// Where sessions are asked for.
pub(crate) const SESSIONS: &str = "/bgp/sessions";
/// Where routes are asked for.
pub(crate) const ROUTES: &str = "/bgp/routes";
/// Where addresses of layer 2 are asked for.
pub(crate) const LAYER2: &str = "/layer2";
/// Where the membership is asked for.
pub(crate) const MEMBERS: &str = "/members";
/// Speakers that are asked at the same time.
const AT_ONCE: usize = 16;
/// How long a token is good for: the shortest that API servers give.
const TOKEN_SECONDS: i64 = 600;
/// How long to wait for a speaker that answers others.
const PAUSE: Duration = Duration::from_secs(1);

/// What a speaker has said; none of what was not asked, or what it does not know to answer.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// When it last did.
    pub at: Timestamp,
    /// Its BGP sessions.
    pub sessions: Option<Vec<Session>>,
    /// What the peers of these sessions have been sent.
    pub routes: Option<Vec<Route>>,
    /// What it answers in layer 2.
    pub layer2: Option<Layer2>,
    /// Which speakers it takes to be alive.
    pub members: Option<Members>,
}

/// What speakers have said.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Why none could be asked, if so.
    pub why_not: Option<String>,
    /// By node: what its speaker has said, or why nothing.
    pub speakers: BTreeMap<String, Result<Heard, String>>,
}

impl Heard {
    /// Says whether a route is on its way, so that it is worth asking again.
    fn is_sending(&self) -> bool {
        let up = |route: &Route| {
            let mut sessions = self.sessions.iter().flatten();
            sessions.any(|session| session.peer == route.peer && session.state == UP && !session.drained)
        };
        let mut routes = self.routes.iter().flatten();
        routes.any(|route| route.state == "pending" && up(route))
    }

    /// Takes in an answer; one to another path is left alone.
    pub(crate) fn take(&mut self, path: &str, answer: Answer<Value>) -> serde_json::Result<()> {
        let data = answer.data;
        self.at = self.at.max(answer.head.time.parse().unwrap_or_default());
        match path {
            SESSIONS => self.sessions = serde_json::from_value(data)?,
            ROUTES => {
                let page: Vec<Route> = serde_json::from_value(data)?;
                self.routes.get_or_insert_default().extend(page);
            }
            MEMBERS => self.members = serde_json::from_value(data)?,
            LAYER2 => self.layer2 = serde_json::from_value(data)?,
            _ => {}
        }
        Ok(())
    }
}

impl Asked {
    /// Those that have said something, by node.
    pub(crate) fn heard(&self) -> impl Iterator<Item = (&str, &Heard)> {
        let all = self.speakers.iter();
        all.filter_map(|(node, said)| Some((node.as_str(), said.as_ref().ok()?)))
    }

    /// How many have said something, and how many there are; none if none was asked.
    pub(crate) fn count(&self) -> Option<[usize; 2]> {
        (!self.speakers.is_empty()).then(|| [self.heard().count(), self.speakers.len()])
    }

    /// Those that have said nothing, with the reasons.
    pub(crate) fn not_seen(&self) -> Option<NotSeen> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, said) in &self.speakers {
            if let Err(why) = said {
                reasons.entry(why).or_default().push(node);
            }
        }
        let silent: usize = reasons.values().map(Vec::len).sum();
        let why = self.why_not.clone().or_else(|| {
            let reasons = reasons
                .iter()
                .map(|(why, nodes)| format!("{}: {why}", nodes.join(", ")));
            let all = reasons.collect::<Vec<_>>().join("; ");
            (silent > 0).then(|| format!("{silent} of {}: {all}", self.speakers.len()))
        })?;
        Some(NotSeen {
            what: "speakers",
            why,
            without: "what they send and answer is not known",
        })
    }
}

/// Asks all speakers, or that of one node, for `paths`, which may have a query, and notes what they say. Recorded answers are in
/// the files.
pub(crate) async fn speakers(global: &Global, facts: &mut Facts, paths: &[String], only: Option<&str>) {
    if global.via == Via::None {
        facts.asked = Asked::default();
        return;
    }
    let Ok(namespace) = namespace(facts, global.metallb_namespace.as_deref()) else {
        // The report says that it cannot be told.
        return;
    };
    if !global.from.is_empty() {
        if !facts.asked.speakers.is_empty() {
            let nodes: Vec<String> = speaker_pods(facts, &namespace).filter_map(node).collect();
            for node in nodes {
                let missing = || Err("no answer of it is in the input".to_owned());
                facts.asked.speakers.entry(node).or_insert_with(missing);
            }
        }
        return;
    }
    facts.asked = match Asker::new(global, facts, &namespace).await {
        Ok(asker) => asker.ask(speaker_pods(facts, &namespace), paths, only).await,
        Err(error) => Asked {
            why_not: Some(format!("{error:#}")),
            ..Asked::default()
        },
    };
}

fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

/// Why an answer was not had.
enum Trouble {
    /// The speaker itself says so.
    Speaker(String),
    /// It was not reached.
    Way(String),
}

struct Asker {
    client: Client,
    token: String,
    via: Via,
    limit: Duration,
    namespace: String,
}

impl Asker {
    async fn new(global: &Global, facts: &Facts, namespace: &str) -> anyhow::Result<Self> {
        if let Some(why) = facts.pods.why_not() {
            anyhow::bail!("their pods are not known: {why}");
        }
        if speaker_pods(facts, namespace).next().is_none() {
            anyhow::bail!("there is no pod of a speaker in namespace {namespace}");
        }
        let client = client(global).await?;
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![AUDIENCE.to_owned()],
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let params = PostParams::default();
        let made = match accounts.create_token_request(names::INSPECT, &params, &request).await {
            Err(kube::Error::Api(status)) if status.code == 404 => anyhow::bail!(
                "ServiceAccount {namespace}/{} is missing: this MetalLB has no looking glass, or it is switched off",
                names::INSPECT
            ),
            made => made.context("no token is given to ask them with")?,
        };
        Ok(Self {
            client,
            token: made.status.context("an empty token was given")?.token,
            via: global.via,
            limit: global.request_timeout,
            namespace: namespace.to_owned(),
        })
    }

    async fn ask(&self, pods: impl Iterator<Item = &Pod>, paths: &[String], only: Option<&str>) -> Asked {
        let asked = pods.filter_map(|pod| Some((node(pod)?, pod)));
        let asked = asked.filter(|(node, _)| only.is_none_or(|only| only == node));
        let said = stream::iter(asked).map(async |(node, pod)| {
            let mut said = self.hear(pod, paths).await;
            if said.as_ref().is_ok_and(Heard::is_sending) {
                sleep(SETTLES).await;
                said = self.hear(pod, paths).await.or(said);
            }
            (node, said)
        });
        Asked {
            why_not: None,
            speakers: said.buffer_unordered(AT_ONCE).collect().await,
        }
    }

    /// All that one speaker says, or why it does not, within the time for one request.
    async fn hear(&self, pod: &Pod, paths: &[String]) -> Result<Heard, String> {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if let Some(phase) = phase.filter(|phase| *phase != "Running") {
            return Err(format!("its Pod is {phase}"));
        }
        let Some(port) = port(pod) else {
            return Err("it runs with --port=0, without /metrics and looking glass".to_owned());
        };
        let (namespace, name) = (&self.namespace, pod.name_any());
        let proxy = format!("/api/v1/namespaces/{namespace}/pods/https:{name}:{port}/proxy");
        let end = Instant::now() + self.limit;
        let late = || Err(Trouble::Way(format!("no answer within {:?}", self.limit)));
        let through = async {
            let answers = self.answers(&self.client, &proxy, paths);
            timeout_at(end, answers).await.unwrap_or_else(|_| late())
        };
        let straight = async {
            let direct = direct(pod, port, self.limit).map_err(|error| Trouble::Way(format!("{error:#}")))?;
            let answers = self.answers(&direct, "", paths);
            timeout_at(end, answers).await.unwrap_or_else(|_| late())
        };
        let said = match self.via {
            Via::Direct => straight.await,
            Via::Proxy | Via::None => through.await,
            Via::Auto => match through.await {
                // Of two failures the first says more: pods are rarely reached from outside the cluster.
                Err(Trouble::Way(first)) => straight.await.map_err(|second| match second {
                    Trouble::Way(_) => Trouble::Way(first),
                    second => second,
                }),
                said => said,
            },
        };
        said.map_err(|(Trouble::Speaker(why) | Trouble::Way(why))| why)
    }

    async fn answers(&self, client: &Client, base: &str, paths: &[String]) -> Result<Heard, Trouble> {
        let mut heard = Heard::default();
        let (mut knows, mut why) = (false, String::new());
        for path in paths {
            let (bare, query) = path.split_once('?').unwrap_or((path, ""));
            let mut more = None;
            loop {
                let next = more.map(|more| format!("&continue={more}")).unwrap_or_default();
                let url = format!("{base}{ROOT}{bare}?{query}{next}");
                let mut answer = match self.get(client, &url).await? {
                    Ok(answer) => answer,
                    Err(unknown) => {
                        why = unknown;
                        break;
                    }
                };
                knows = true;
                more = answer.more.take();
                let unread = |error| Trouble::Speaker(format!("its answer to {bare} cannot be read: {error}"));
                heard.take(bare, answer).map_err(unread)?;
                if more.is_none() {
                    break;
                }
            }
        }
        match knows {
            true => Ok(heard),
            false => Err(Trouble::Speaker(why)),
        }
    }

    /// One answer, or why the speaker knows none to this.
    async fn get(&self, client: &Client, url: &str) -> Result<Result<Answer<Value>, String>, Trouble> {
        let way = |error: kube::Error| Trouble::Way(causes(&error));
        loop {
            let request = Request::get(url).header(TOKEN_HEADER, &self.token).body(Body::empty());
            let request = request.map_err(|error| Trouble::Way(error.to_string()))?;
            let answer = client.send(request).await.map_err(way)?;
            let status = answer.status();
            let body = answer.into_body().collect_bytes().await.map_err(way)?;
            // Only the API server answers with an object.
            let object: Option<Value> = serde_json::from_slice(&body).ok();
            let failed = object.as_ref().filter(|object| object["kind"] == "Status");
            if status == StatusCode::TOO_MANY_REQUESTS {
                sleep(PAUSE).await;
            } else if let Some(failed) = failed {
                let text = failed["message"].as_str().unwrap_or_default();
                return Err(Trouble::Way(format!("the API server says: {text}")));
            } else if status == StatusCode::NOT_FOUND {
                return Ok(Err("it has no looking glass".to_owned()));
            } else if status == StatusCode::NOT_IMPLEMENTED {
                return Ok(Err(String::from_utf8_lossy(&body).trim().to_owned()));
            } else if !status.is_success() {
                let text = String::from_utf8_lossy(&body).trim().to_owned();
                return Err(Trouble::Speaker(format!("it answers {}: {text}", status.as_u16())));
            } else {
                let answer = serde_json::from_slice(&body);
                let unread = |error| Trouble::Speaker(format!("its answer cannot be read: {error}"));
                return answer.map(Ok).map_err(unread);
            }
        }
    }
}

/// To the Pod itself, without any credential of the user. Its certificate is its own: the token is of no use to anybody else.
fn direct(pod: &Pod, port: u16, limit: Duration) -> anyhow::Result<Client> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let ip: std::net::IpAddr = ip.context("its Pod has no address")?.parse()?;
    let mut config = Config::new(format!("https://{}", std::net::SocketAddr::new(ip, port)).parse()?);
    config.accept_invalid_certs = true;
    config.connect_timeout = Some(limit);
    config.read_timeout = Some(limit);
    Ok(Client::try_from(config)?)
}
