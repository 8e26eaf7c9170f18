//! From a listener of the machine to the API server inside the lab, byte by byte.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Forwards connections of `listener` to `to` until `stop`.
pub(crate) fn forward(listener: TcpListener, to: SocketAddr, stop: CancellationToken) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener).context("cannot use the inherited listener")?;
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        loop {
            match listener.accept().await {
                Ok((client, _)) => drop(tokio::spawn(join(client, to))),
                // Out of file descriptors, mostly; they come back.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }));
    Ok(())
}

async fn join(mut client: TcpStream, to: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(to).await {
        // Either side may go away at any time.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_go_through_both_ways() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, stop) = (front.local_addr().unwrap(), CancellationToken::new());
        forward(front, server.local_addr().unwrap(), stop.clone()).unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut far, _) = server.accept().await.unwrap();
        client.write_all(b"ask").await.unwrap();
        let mut three = [0; 3];
        far.read_exact(&mut three).await.unwrap();
        far.write_all(b"yes").await.unwrap();
        client.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"yes");
        stop.cancel();
    }
}
