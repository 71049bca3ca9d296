//! A provider that costs next to nothing: it reads a request and writes prebuilt bytes.

use crate::http::Connection;
use crate::time::stamp;
use crate::workload::{FRAMES, STREAM_HEAD, Workload, burst, done, frame, whole_answer};
use memchr::memmem;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Before the first frame of a paced stream, and between two frames.
pub const THINKING: Duration = Duration::from_millis(20);
pub const PAUSE: Duration = Duration::from_millis(10);

/// Bytes of a body that are looked at.
const START: usize = 256;

struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
    burst: Vec<u8>,
}

/// Serves for ever. Must run inside a `LocalSet`.
///
/// # Errors
/// When the listener dies.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let answers = Rc::new(Answers {
        small: whole_answer(Workload::Small.model()),
        large: whole_answer(Workload::Large.model()),
        burst: burst(Workload::Stream.model()),
    });
    loop {
        let (stream, _peer) = listener.accept().await?;
        let answers = Rc::clone(&answers);
        tokio::task::spawn_local(async move {
            if let Ok(connection) = Connection::over(stream) {
                // A peer that leaves is no matter.
                let _ended = converse(connection, &answers).await;
            }
        });
    }
}

async fn converse(mut connection: Connection, answers: &Answers) -> anyhow::Result<()> {
    loop {
        let mut start = Vec::with_capacity(START);
        let head =
            connection.read(|piece| start.extend(piece.iter().take(START - start.len().min(START)))).await?;
        if head.is_none() {
            return Ok(());
        }
        match workload(&start) {
            Some(Workload::Small) => connection.write(&answers.small).await?,
            Some(Workload::Large) => connection.write(&answers.large).await?,
            Some(Workload::Stream) => connection.write(&answers.burst).await?,
            Some(Workload::Paced) => paced(&mut connection).await?,
            None => connection.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await?,
        }
    }
}

/// Which model a body names. The name stands in its first bytes, whoever wrote them.
fn workload(start: &[u8]) -> Option<Workload> {
    let after = start.get(memmem::find(start, b"\"model\":\"")? + 9..)?;
    let after = after.strip_prefix(b"bench/").unwrap_or(after);
    Workload::ALL.into_iter().find(|workload| after.starts_with(workload.model().as_bytes()))
}

async fn paced(connection: &mut Connection) -> anyhow::Result<()> {
    let model = Workload::Paced.model();
    tokio::time::sleep(THINKING).await;
    connection.write(STREAM_HEAD).await?;
    for index in 0..FRAMES {
        let text = format!("@{}@", stamp());
        connection.write(&frame(model, index, &text)).await?;
        // The role comes together with the first token, as providers send it.
        if index > 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    connection.write(&done()).await?;
    Ok(())
}
