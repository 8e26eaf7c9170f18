//! Over real sockets: what bad clients get, while a good one is served.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// From other addresses than the good client, whose own is 127.0.0.1.
const BAD: [u8; 4] = [127, 0, 0, 2];
const MIB: usize = 1024 * 1024;
/// Much less than any of the limits, and more than an answer takes.
const SOON: Duration = Duration::from_secs(2);

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<io::Result<()>>,
}

impl Server {
    fn start(limits: Limits, tls: Option<Tls>) -> Self {
        let mut bodies = Bodies::up_to(MIB);
        (bodies.patience, bodies.queue) = (SOON / 2, SOON / 4);
        let take = |State(bodies): State<Bodies>, request: Request| async move {
            match bodies.read(request).await {
                Ok(body) => body.bytes.len().to_string().into_response(),
                Err(refused) => refused.into_response(),
            }
        };
        let routes = Router::new()
            .route("/take", post(take))
            .route("/hello", get(|| async { "hello" }))
            .route("/never", get(std::future::pending::<()>))
            .route("/panic", get(async || -> () { panic!("out of luck") }))
            .with_state(bodies);
        let listener = crate::listen::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings {
            tls,
            http2: true,
            limits,
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(serve(listener, settings, routes, stop.clone()));
        Self { address, stop, running }
    }

    async fn connect(&self, from: [u8; 4]) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Says something, and leaves it at that.
    async fn say(&self, from: [u8; 4], what: &str) -> TcpStream {
        let mut stream = self.connect(from).await;
        stream.write_all(what.as_bytes()).await.unwrap();
        stream
    }

    async fn good(&self) {
        let stream = self.say(
            [127, 0, 0, 1],
            "GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        let answer = timeout(SOON, async { heard(stream.await).await }).await;
        let answer = answer.expect("a good request is answered at once");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
            "{answer}"
        );
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// All that comes until the server closes.
async fn heard(mut stream: impl AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn quick() -> Limits {
    Limits {
        head: Duration::from_millis(300),
        handshake: Duration::from_millis(300),
        request: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        grace: Duration::from_millis(300),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_answered_408_while_others_are_served() {
    let server = Server::start(quick(), None);
    let mut slow = server.say(BAD, "GET /hello HTTP/1.1\r\n").await;
    let (mut reads, mut writes) = slow.split();
    let drip = async {
        while writes.write_all(b"x: y\r\n").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    server.good().await;
    let answer = tokio::select! {
        answer = timeout(SOON, heard(&mut reads)) => answer.expect("it ends"),
        () = drip => heard(&mut reads).await,
    };
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
    server.good().await;
    server.end().await;
}

#[tokio::test]
async fn who_says_nothing_or_takes_no_answer_is_closed() {
    let server = Server::start(quick(), None);
    for said in ["", "GET /never HTTP/1.1\r\nhost: x\r\n\r\n", "PRI * HTTP/2.0\r\n", "G"] {
        let stream = server.say(BAD, said).await;
        assert!(timeout(SOON, heard(stream)).await.is_ok(), "{said:?} is not closed");
    }
    server.good().await;
    server.end().await;
}

#[tokio::test]
async fn a_connection_is_kept_between_requests() {
    let idle = Duration::from_secs(60);
    let server = Server::start(Limits { idle, ..quick() }, None);
    let mut stream = server.connect([127, 0, 0, 1]).await;
    for _ in 0..2 {
        stream
            .write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert!(String::from_utf8_lossy(&answer).contains("content-length: 5"));
        // Longer than a head may take.
        sleep(Duration::from_millis(600)).await;
    }
    server.end().await;
}

#[tokio::test]
async fn a_request_that_panics_ends_its_connection_only_and_is_counted() {
    let server = Server::start(Limits::default(), None);
    let before = panics::counter().unwrap().get();
    let bad = server.say(BAD, "GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(heard(bad).await, "");
    server.good().await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<Body>();
    let ask = async |path: &str| {
        client
            .get(format!("http://{}{path}", server.address).parse().unwrap())
            .await
    };
    ask("/panic").await.unwrap_err();
    ask("/hello").await.unwrap();
    server.end().await;
    assert_eq!(panics::counter().unwrap().get(), before + 2);
}

#[tokio::test]
async fn http_2_is_spoken_and_its_connections_end_in_time() {
    use hyper_util::client::legacy::Client;
    let server = Server::start(quick(), None);
    let client = || {
        Client::builder(hyper_util::rt::TokioExecutor::new())
            .http2_only(true)
            .build_http::<Body>()
    };
    let ask = async |client: Client<_, Body>, path: &str| {
        let uri = format!("http://{}{path}", server.address).parse().unwrap();
        timeout(SOON, client.get(uri)).await.expect("it ends")
    };
    let kept = client();
    let (first, second) = tokio::join!(ask(kept.clone(), "/hello"), ask(kept.clone(), "/hello"));
    for answer in [first, second] {
        let answer = answer.unwrap();
        assert_eq!(
            (answer.version(), answer.status()),
            (http::Version::HTTP_2, http::StatusCode::OK)
        );
    }
    assert!(ask(client(), "/never").await.is_err(), "it had its time");
    assert!(
        ask(kept, "/hello").await.is_ok(),
        "one that was idle for too long is replaced"
    );
    server.end().await;
}

#[tokio::test]
async fn many_silent_connections_keep_nobody_out() {
    let limits = Limits {
        connections: 16,
        ..Limits::default()
    };
    let server = Server::start(limits, None);
    let kept = server.connect([127, 0, 0, 1]).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(server.say(BAD, "GET /hello HTTP/1.1\r\n").await);
    }
    server.good().await;
    let mut kept = kept;
    kept.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = timeout(SOON, heard(&mut kept)).await.unwrap();
    assert!(answer.ends_with("hello"), "the modest kept their place: {answer:?}");
    let first = crowd.swap_remove(0);
    assert_eq!(
        timeout(SOON, heard(first)).await.as_deref(),
        Ok(""),
        "the oldest of the crowd has gone"
    );
    server.end().await;
}

#[tokio::test]
async fn large_and_slow_bodies_are_refused_while_others_are_served() {
    let server = Server::start(Limits::default(), None);
    let head = |length: usize| format!("POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let mut large = server.say(BAD, &head(MIB + 1)).await;
    let mut status = [0; 12];
    timeout(SOON, large.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 413", "refused before it is read");
    // One that is slow holds all that its peer may have of the budget: the next of this peer gets none.
    let mut slow = server.say(BAD, &head(MIB)).await;
    sleep(Duration::from_millis(100)).await;
    let mut next = server.say(BAD, &head(MIB)).await;
    server.good().await;
    let body = "x".repeat(MIB);
    let mut other = server.say([127, 0, 0, 1], &head(MIB)).await;
    other.write_all(body.as_bytes()).await.unwrap();
    timeout(SOON, other.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    next.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 503");
    slow.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
    server.end().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_closed() {
    crate::tls::install_crypto_provider();
    let pair = crate::tls::self_signed().unwrap();
    let config = crate::tls::Options::default().server_config(&pair, true).unwrap();
    let tls = watch::channel(Arc::new(config)).1;
    let server = Server::start(quick(), Some(tls));
    for said in ["", "\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n"] {
        let stream = server.say(BAD, said).await;
        assert!(timeout(SOON, heard(stream)).await.is_ok(), "{said:?} is not closed");
    }
    server.end().await;
}

#[tokio::test]
async fn open_requests_have_the_grace_and_no_more() {
    let server = Server::start(quick(), None);
    let open = server
        .say([127, 0, 0, 1], "GET /never HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    sleep(Duration::from_millis(50)).await;
    timeout(SOON, server.end()).await.expect("the stop is not held up");
    assert_eq!(heard(open).await, "");
}
