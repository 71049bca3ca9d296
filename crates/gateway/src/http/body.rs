//! Reading the bodies of chat requests: each bounded in size and time, and all large ones together in memory.
//!
//! Looks at no header but the length and parses nothing.

use crate::refusal::{Kind, Refusal};
use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes of a request body.
pub const BODY_BYTES: usize = 32 * 1024 * 1024;
/// KiB of large bodies in memory at once: 256 MiB.
const ROOM_KIB: usize = 256 * 1024;
/// Bodies up to this size are not counted.
const SMALL: usize = 64 * 1024;
/// How long a client may take to send its body.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for large bodies, and how long one may take. Cheap to clone; all clones share the room.
#[derive(Debug, Clone)]
pub struct Bodies {
    room: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(ROOM_KIB)), patience: PATIENCE }
    }
}

impl Bodies {
    /// Reads a body for which there is room.
    pub async fn read(&self, request: &HttpRequest, payload: web::Payload) -> Result<Bytes, Refusal> {
        let declared = declared_length(request);
        // A body without a length may become a large one.
        let counted = declared.unwrap_or(BODY_BYTES).min(BODY_BYTES);
        let _room = if counted > SMALL {
            let kib = u32::try_from(counted / 1024).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.room).try_acquire_many_owned(kib);
            Some(room.map_err(|_full| {
                let message = "Too many large requests at once. Send this one again shortly.";
                Refusal::new(Kind::Unavailable, message).retry_after(1)
            })?)
        } else {
            None
        };
        tokio::time::timeout(self.patience, whole(declared, payload)).await.map_err(|_elapsed| {
            Refusal::invalid("The request body did not arrive within a minute. Send it again.")
        })?
    }
}

fn declared_length(request: &HttpRequest) -> Option<usize> {
    let header = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    header.and_then(|value| value.parse().ok())
}

/// Reads the body up to its bound; the typed refusal comes before the rest is read.
async fn whole(declared: Option<usize>, mut payload: web::Payload) -> Result<Bytes, Refusal> {
    let too_large = || {
        let message = "The request body is larger than 32 MiB. Send fewer or smaller images and files.";
        Refusal::new(Kind::PayloadTooLarge, message)
    };
    if declared.is_some_and(|length| length > BODY_BYTES) {
        return Err(too_large());
    }
    // Room for the whole of all but the largest bodies: growing by doubling would copy what has come.
    let mut body = BytesMut::with_capacity(declared.unwrap_or(1024).min(4 * SMALL));
    while let Some(piece) = payload.next().await {
        let piece =
            piece.map_err(|_broken| Refusal::invalid("The request body broke off. Send it again."))?;
        if body.len() + piece.len() > BODY_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::FromRequest as _;
    use actix_web::dev::Payload;
    use actix_web::test::TestRequest;
    use futures_util::future::{join, join_all};

    /// A request that declares a length, with a body of which only the first piece comes.
    async fn stuck(declared: Option<usize>) -> (HttpRequest, web::Payload) {
        let mut request = TestRequest::post();
        if let Some(length) = declared {
            request = request.insert_header((header::CONTENT_LENGTH, length));
        }
        let first = futures_util::stream::iter([Ok(Bytes::from_static(b"{"))]);
        let stream = first.chain(futures_util::stream::pending());
        let request = request.to_http_request();
        let payload =
            web::Payload::from_request(&request, &mut Payload::Stream { payload: Box::pin(stream) });
        (request, payload.await.unwrap())
    }

    fn patient(patience: Duration) -> Bodies {
        Bodies { patience, ..Bodies::default() }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_refused_after_its_time() {
        assert_eq!(Bodies::default().patience, Duration::from_secs(60));
        let (request, payload) = stuck(Some(10)).await;
        let refused = patient(Duration::from_millis(50)).read(&request, payload).await.unwrap_err();
        assert_eq!(refused.status(), 400);
        assert!(refused.message.contains("within a minute"), "{}", refused.message);
    }

    #[tokio::test]
    async fn large_bodies_share_a_room_and_one_too_many_is_told_to_come_back() {
        let bodies = patient(Duration::from_millis(300));
        let mut requests = Vec::new();
        for declared in [Some(BODY_BYTES), None].into_iter().cycle().take(8) {
            requests.push(stuck(declared).await);
        }
        let filling = join_all(requests.into_iter().map(|(request, payload)| {
            let bodies = bodies.clone();
            async move { bodies.read(&request, payload).await }
        }));
        let (large, small) = (stuck(Some(100 * 1024)).await, stuck(Some(SMALL)).await);
        let trying = async {
            tokio::task::yield_now().await;
            let refused = bodies.read(&large.0, large.1).await.unwrap_err();
            assert_eq!((refused.status(), refused.retry_after), (503, Some(1)));
            let small = bodies.read(&small.0, small.1).await.unwrap_err();
            assert_eq!(small.status(), 400, "small bodies need no room");
        };
        let (filled, ()) = join(filling, trying).await;
        assert!(filled.into_iter().all(|read| read.unwrap_err().status() == 400));
        let (request, payload) = stuck(Some(BODY_BYTES)).await;
        assert_eq!(bodies.read(&request, payload).await.unwrap_err().status(), 400, "the room is free again");
    }
}
