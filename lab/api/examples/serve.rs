//! Serves an empty cluster on a loopback port until interrupted: `cargo run -p metallb-lab-api --example serve -- DIR [PORT]`.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "lab-api".to_owned());
    let port = arguments.next().unwrap_or_else(|| "0".to_owned());
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}"))?;
    let options = metallb_lab_api::Options {
        listeners: vec![listener],
        dir: dir.into(),
        ..Default::default()
    };
    let server = metallb_lab_api::start(options).await?;
    println!("export KUBECONFIG={}", server.kubeconfig_path().display());
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
