//! The routes sent to each peer (Adj-RIB-Out), streamed page by page.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use ipnet::IpNet;
use metallb_dataplane::bgp::{Listed, Part, View};

use super::answer::{JSON, closing, opening};
use super::{Glass, Wanted, views};

/// Routes in one answer, unless the query asks for fewer: far below 4 MiB, unless they have hundreds of communities.
const LIMIT: usize = 10_000;
/// Routes that a session is asked for at once.
const PAGE: usize = 500;

/// How far an answer has got.
struct Cursor {
    glass: Glass,
    /// Peers whose routes are still to be listed; of the first some may be listed already.
    peers: VecDeque<String>,
    after: Option<IpNet>,
    prefix: Option<IpNet>,
    /// How many more routes this answer may list.
    left: usize,
    /// Whether a route has been written, so that the next needs a comma.
    begun: bool,
    ended: bool,
}

/// Answers a query for routes; the error is the HTTP answer to one that cannot be served.
pub(super) async fn answer(glass: Glass, wanted: Wanted) -> Result<Response, Response> {
    let bad = |text: String| (StatusCode::BAD_REQUEST, text).into_response();
    let from = match wanted.more.as_deref() {
        Some(text) => Some(
            parse(text).ok_or_else(|| bad(format!("?continue={text} is no value that an earlier answer gave\n")))?,
        ),
        None => None,
    };
    let prefix = match wanted.prefix.as_deref() {
        Some(text) => {
            Some(prefix(text).ok_or_else(|| bad(format!("?prefix={text} is neither a prefix nor an address\n")))?)
        }
        None => None,
    };
    let Some(source) = &glass.source else {
        return Err(glass.unknown());
    };
    let peers = source.sessions.borrow().clone().into_keys();
    let peers = peers.filter(|peer| wanted.peer.as_ref().is_none_or(|wanted| wanted == peer));
    let peers: VecDeque<String> = peers
        .filter(|peer| from.as_ref().is_none_or(|(first, _)| peer >= first))
        .collect();
    let broken = |error: serde_json::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    let mut text = opening(&glass.head()).map_err(broken)?;
    let after = from
        .filter(|(first, _)| peers.front() == Some(first))
        .and_then(|(_, prefix)| prefix);
    let mut cursor = Cursor {
        glass,
        peers,
        after,
        prefix,
        left: wanted.limit.unwrap_or(LIMIT).clamp(1, LIMIT),
        begun: false,
        ended: false,
    };
    // Before the first byte is sent, a session that does not answer can still become an error status.
    text += &cursor.next().await?;
    let rest = stream::try_unfold(cursor, async |mut cursor| {
        if cursor.ended {
            return Ok(None);
        }
        let piece = cursor
            .next()
            .await
            .map_err(|_| io::Error::other("a BGP session did not answer in time"))?;
        Ok(Some((Bytes::from(piece), cursor)))
    });
    let first = stream::once(async { Ok::<_, io::Error>(Bytes::from(text)) });
    Ok((JSON, Body::from_stream(futures::StreamExt::chain(first, rest))).into_response())
}

impl Cursor {
    /// The next piece of the answer; the last one closes it.
    async fn next(&mut self) -> Result<String, Response> {
        let Some(peer) = self.peers.front().cloned() else {
            return Ok(self.close(None));
        };
        let size = PAGE.min(self.left);
        // One more than the page tells whether there is another page.
        let part = match self.prefix {
            Some(prefix) => Part::At(prefix),
            None => Part::After(self.after, size + 1),
        };
        let view = self.glass.look(&peer, part).await?;
        let (text, told, full) = match &view {
            Some(view) => self.tell(&peer, view, size),
            None => (String::new(), 0, false),
        };
        self.left -= told;
        if !full {
            self.peers.pop_front();
            self.after = None;
        }
        if self.left > 0 {
            return Ok(text);
        }
        let more = self.peers.front().map(|next| match self.after {
            Some(after) => format!("{next}/{after}"),
            None => format!("{next}/"),
        });
        Ok(text + &self.close(more.as_deref()))
    }

    /// The first `size` routes of a view, how many these are, and whether there are more.
    fn tell(&mut self, peer: &str, view: &View, size: usize) -> (String, usize, bool) {
        let mut text = String::new();
        let routes: &[Listed] = &view.routes[..view.routes.len().min(size)];
        for route in routes {
            let Ok(route) = serde_json::to_string(&views::route(peer, view, route)) else {
                continue;
            };
            if std::mem::replace(&mut self.begun, true) {
                text.push(',');
            }
            text += &route;
        }
        self.after = routes.last().map(|route| route.prefix).or(self.after);
        (text, routes.len(), view.routes.len() > size)
    }

    fn close(&mut self, more: Option<&str>) -> String {
        self.ended = true;
        closing(more)
    }
}

/// Reads a prefix, or an address.
fn prefix(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(address).map(|prefix| prefix.trunc())
}

/// Reads the `continue` of an earlier answer, `PEER/` or `PEER/PREFIX`: the peer to go on with, and the last prefix listed.
fn parse(text: &str) -> Option<(String, Option<IpNet>)> {
    let (peer, prefix) = text.split_once('/')?;
    let prefix = match prefix {
        "" => None,
        prefix => Some(prefix.parse().ok()?),
    };
    Some((peer.to_owned(), prefix))
}
