//! Bare QUIC as a limit: one stream between two processes, with the node's own TLS provider and windows.
//!
//! The server is this program again, started with a hidden flag. Nothing is sealed, stored or checked.

use anyhow::{Context, Result, ensure};
use entente_node::peer::{
    endpoint::{Settings, transport},
    tls::provider,
};
use quinn::{
    ClientConfig, Endpoint, ServerConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{RootCertStore, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes given to the stream at a time: a chunk of an attachment.
const BLOCK: usize = 1 << 20;

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The server: writes its certificate to a file and its address to the standard output, takes one stream to its
/// end, and says so.
pub fn serve(certificate: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    fs::write(certificate, made.cert.der())?;
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport(Settings::default())));
    runtime()?.block_on(async {
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse()?)?;
        println!("{}", endpoint.local_addr()?);
        std::io::stdout().flush()?;
        let connection = endpoint.accept().await.context("no connection")?.await?;
        let (mut answer, mut stream) = connection.accept_bi().await?;
        while stream.read_chunk(BLOCK, true).await?.is_some() {}
        answer.write_all(b"!").await?;
        answer.finish()?;
        connection.closed().await;
        Ok(())
    })
}

/// Sends so many bytes to a server in a process of its own; from opening the stream to its answer.
pub fn measure(folder: &Path, bytes: u64) -> Result<Duration> {
    let certificate = folder.join("quic.der");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--quic-server").arg(&certificate).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = command.spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("no output")?).read_line(&mut line)?;
    let sent = line.trim().parse().context("the QUIC server gave no address");
    let sent = sent.and_then(|address| send(address, &certificate, bytes));
    drop(server.kill());
    drop(server.wait());
    sent
}

fn send(address: SocketAddr, certificate: &Path, bytes: u64) -> Result<Duration> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(fs::read(certificate)?))?;
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport(Settings::default())));
    runtime()?.block_on(async {
        let endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
        let connection = endpoint.connect_with(config, address, "localhost")?.await?;
        let block = vec![7u8; BLOCK];
        let begun = Instant::now();
        let (mut stream, mut answer) = connection.open_bi().await?;
        let mut left = bytes;
        while left > 0 {
            let length = BLOCK.min(usize::try_from(left).unwrap_or(BLOCK));
            stream.write_all(&block[..length]).await?;
            left -= length as u64;
        }
        stream.finish()?;
        let said = answer.read_to_end(1).await?;
        ensure!(said == b"!", "the QUIC server took something else");
        let time = begun.elapsed();
        connection.close(0u32.into(), b"");
        Ok(time)
    })
}
