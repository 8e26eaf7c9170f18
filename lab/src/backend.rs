//! The tiny HTTP server of image `lab.local/backend`: says who it is and by which node a request came.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The request header by which the service proxy names its node.
pub(crate) const VIA_HEADER: &str = "x-lab-via-node";
/// How long a silent client is borne.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves `--port N` (default 8080) until killed.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let port = port(args)?;
    let listener = TcpListener::bind(("0.0.0.0", port)).with_context(|| format!("cannot listen on port {port}"))?;
    let me = format!("pod {} on {}", env("POD_NAME"), env("NODE_NAME"));
    for stream in listener.incoming() {
        let (stream, me) = (stream?, me.clone());
        std::thread::spawn(move || answer(&stream, &me));
    }
    Ok(())
}

fn port(args: &[OsString]) -> Result<u16> {
    match args {
        [] => Ok(8080),
        [flag, port] if flag == "--port" => port.to_string_lossy().parse().context("--port wants a number"),
        _ => bail!("the backend takes --port alone"),
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| "?".into())
}

fn answer(stream: &TcpStream, me: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut via = String::from("?");
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case(VIA_HEADER) => via = value.trim().into(),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let body = format!("{me} via node {via} from {}\n", stream.peer_addr()?.ip());
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
