//! A door before PostgreSQL that can cut a connection at its COMMIT: before the server hears it, or after the
//! server has answered and before the client hears that.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A simple query of this one word.
const COMMIT: &[u8] = b"COMMIT\0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    BeforeCommit,
    AfterCommit,
}

pub(crate) struct Proxy {
    /// The database behind it.
    pub(crate) url: String,
    armed: Arc<Mutex<Option<Cut>>>,
}

impl Proxy {
    /// Listens on a free port before the server of an address.
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends the relay with the test")]
    pub(crate) async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (user, rest) = url.rsplit_once('@').unwrap();
        let (server, path) = rest.split_once('/').unwrap();
        let url = format!("{user}@{}/{path}", listener.local_addr().unwrap());
        let armed: Arc<Mutex<Option<Cut>>> = Arc::default();
        let (shared, server) = (Arc::clone(&armed), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let armed = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _cut = carry(client, server, &armed).await;
                });
            }
        });
        Self { url, armed }
    }

    pub(crate) fn arm(&self, cut: Cut) {
        *self.armed.lock() = Some(cut);
    }

    pub(crate) fn disarm(&self) {
        *self.armed.lock() = None;
    }
}

/// Copies both ways until one side ends or the connection is cut, which closes both.
async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    armed: &Mutex<Option<Cut>>,
) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut commit_is_out = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = &asked[..read?];
                let commits = bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
                let cut = if commits { *armed.lock() } else { None };
                if bytes.is_empty() || cut == Some(Cut::BeforeCommit) {
                    return Ok(());
                }
                commit_is_out = cut == Some(Cut::AfterCommit);
                server.write_all(bytes).await?;
            }
            read = server.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() || commit_is_out {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
