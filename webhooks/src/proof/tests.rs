use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use metallb_config::Resources;
use rustls::pki_types::UnixTime;
use tokio::sync::watch;

use super::*;
use crate::certs::bundle::{Bundle, Plan, renew};
use crate::server::{Judge, router, serve};
use crate::{ReadError, Reader, Rules};

const NAME: &str = "metallb-webhook-service.metallb-system.svc";

/// A reader that may fail as long as it is told to.
struct Moody(watch::Receiver<bool>);

impl Reader for Moody {
    fn current(&self) -> BoxFuture<'_, Result<Arc<Resources>, ReadError>> {
        let answer = if *self.0.borrow() {
            Ok(Arc::default())
        } else {
            Err(ReadError {
                kind: "BGPPeer".to_owned(),
                source: kube::Error::LinesCodecMaxLineLengthExceeded,
            })
        };
        std::future::ready(answer).boxed()
    }
}

struct Server {
    address: SocketAddr,
    bundle: Bundle,
    ready: Readiness,
    stop: CancellationToken,
    readable: watch::Sender<bool>,
}

impl Server {
    async fn start(readable: bool) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        Self::start_at(address, readable).await
    }

    async fn start_at(address: SocketAddr, readable: bool) -> Self {
        metallb_runtime::tls::install_crypto_provider();
        let bundle = renew(UnixTime::now(), Plan::RenewAll, None, NAME).unwrap();
        let (readable, told) = watch::channel(readable);
        let routes = router(Judge::new(Arc::new(Moody(told)), watch::channel(Rules::default()).1));
        let (ready, stop) = (Readiness::default(), CancellationToken::new());
        let certificate = watch::channel(Some(bundle.serving.clone())).1;
        let (seen, end) = (ready.clone(), stop.clone());
        tokio::spawn(async move { serve(address, Default::default(), certificate, routes, &seen, end).await });
        let server = Self {
            address,
            bundle,
            ready,
            stop,
            readable,
        };
        server.ready.certified(Ok(server.trust()));
        server.ready.callable().await;
        server
    }

    fn trust(&self) -> Trust {
        Trust::Authority {
            ca: self.bundle.ca_certificate.clone(),
            name: NAME.to_owned(),
        }
    }

    async fn call(&self, trust: &Trust) -> Result<(), String> {
        call(self.address, Kind::BgpPeer, trust).await
    }
}

#[tokio::test]
async fn a_request_under_the_name_of_the_service_is_answered() {
    let server = Server::start(true).await;
    assert_eq!(server.call(&server.trust()).await, Ok(()));
    assert_eq!(server.call(&Trust::Unknown).await, Ok(()));
    server.stop.cancel();
}

#[tokio::test]
async fn the_port_is_reached_over_both_families() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let server = Server::start_at(metallb_runtime::listen::everywhere(port), true).await;
    for host in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let answer = ask((host, port).into(), Kind::BgpPeer, &server.trust()).await;
        assert_eq!(answer, Ok(()), "{host}");
    }
    server.stop.cancel();
}

#[tokio::test]
async fn another_ca_or_another_name_is_no_proof() {
    let server = Server::start(true).await;
    let foreign = renew(UnixTime::now(), Plan::RenewAll, None, NAME).unwrap();
    let foreign = Trust::Authority {
        ca: foreign.ca_certificate,
        name: NAME.to_owned(),
    };
    let renamed = Trust::Authority {
        ca: server.bundle.ca_certificate.clone(),
        name: "other.metallb-system.svc".to_owned(),
    };
    for trust in [foreign, renamed] {
        let problem = server.call(&trust).await.unwrap_err();
        assert!(problem.contains("certificate"), "{problem}");
    }
    server.stop.cancel();
}

#[tokio::test]
async fn who_cannot_read_the_objects_is_not_ready_until_he_can() {
    let server = Server::start(false).await;
    let prove = follow(server.address, Kind::BgpPeer, server.ready.clone(), server.stop.clone());
    let prove = tokio::spawn(prove);
    let told = async {
        while !server
            .ready
            .missing()
            .is_some_and(|missing| missing.contains("cannot list BGPPeer"))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    server.readable.send_replace(true);
    tokio::time::timeout(Duration::from_secs(20), server.ready.wait())
        .await
        .unwrap();
    prove.await.unwrap();
    server.stop.cancel();
}

#[test]
fn who_listens_everywhere_is_called_at_home() {
    let home = |text: &str| {
        reachable(text.parse().unwrap())
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(home("0.0.0.0:1"), ["127.0.0.1:1"]);
    assert_eq!(home("[::]:1"), ["127.0.0.1:1", "[::1]:1"]);
    assert_eq!(home("10.0.0.1:1"), ["10.0.0.1:1"]);
}
