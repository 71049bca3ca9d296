//! Each fault of the proxy, against a server that echoes.

use super::*;

/// An echo server, a proxy in front of it, and a client that is connected through it.
async fn echo() -> (Proxy, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let target = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ended = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let proxy = Proxy::start(target).await.unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, client)
}

async fn ask(client: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
    client.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn without_a_fault_everything_passes_unchanged() {
    let (proxy, mut client) = echo().await;
    let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for part in text.chunks(50_000) {
        assert_eq!(ask(&mut client, part).await.unwrap(), part);
    }
    assert_eq!(proxy.counts(), Counts { connections: 1, ..Counts::default() });
}

#[tokio::test]
async fn latency_is_added_once_in_its_direction() {
    let (proxy, mut client) = echo().await;
    let latency = Duration::from_millis(80);
    proxy.set(Direction::ToServer, Fault { latency, ..Fault::default() });
    let begun = Instant::now();
    assert_eq!(ask(&mut client, b"late").await.unwrap(), b"late");
    assert!(begun.elapsed() >= latency);
    proxy.heal();
    assert_eq!(ask(&mut client, b"now").await.unwrap(), b"now");
    assert_eq!(proxy.counts().delayed, 1, "{:?}", proxy.counts());
}

#[tokio::test]
async fn a_black_hole_keeps_what_was_sent_and_gives_it_back() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (proxy, mut client) = echo().await;
        proxy.set(direction, Fault { blackhole: true, ..Fault::default() });
        client.write_all(b"lost?").await.unwrap();
        while proxy.counts().held == 0 {
            tokio::task::yield_now().await;
        }
        let mut answer = [0; 5];
        assert!(client.try_read(&mut answer).is_err(), "nothing arrives");
        proxy.heal();
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"lost?");
    }
}

#[tokio::test]
async fn a_cut_ends_the_connection_within_a_message() {
    let (proxy, mut client) = echo().await;
    assert_eq!(ask(&mut client, b"before").await.unwrap(), b"before");
    proxy.set(Direction::ToClient, Fault { cut_after: Some(4), ..Fault::default() });
    client.write_all(b"0123456789").await.unwrap();
    let mut answer = Vec::new();
    let ended = client.read_to_end(&mut answer).await;
    assert!(ended.is_err() || answer.len() <= 4, "{ended:?} {answer:?}");
    assert!(b"0123".starts_with(&answer), "{answer:?}");
    assert_eq!(proxy.counts().cut, 1);
    proxy.heal();
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut next, b"next").await.unwrap(), b"next");
}

#[tokio::test]
async fn a_reset_ends_open_connections_and_a_refusal_new_ones() {
    let (proxy, mut client) = echo().await;
    assert_eq!(ask(&mut client, b"here").await.unwrap(), b"here");
    proxy.reset();
    let mut byte = [0];
    assert!(!matches!(client.read(&mut byte).await, Ok(1..)), "the connection is over");
    proxy.refuse(true);
    if let Ok(mut refused) = TcpStream::connect(proxy.address()).await {
        assert!(ask(&mut refused, b"x").await.is_err());
    }
    proxy.heal();
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut next, b"next").await.unwrap(), b"next");
    let counts = proxy.counts();
    assert_eq!((counts.reset, counts.refused), (1, 1));
}

#[tokio::test]
async fn new_connections_go_to_the_new_target_and_the_end_of_the_proxy_ends_all() {
    let (proxy, mut client) = echo().await;
    let (other, _unused) = echo().await;
    proxy.retarget(other.address());
    assert_eq!(ask(&mut client, b"old").await.unwrap(), b"old");
    let mut moved = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut moved, b"new").await.unwrap(), b"new");
    assert_eq!(other.counts().connections, 2);
    drop(proxy);
    let mut byte = [0];
    assert!(!matches!(moved.read(&mut byte).await, Ok(1..)));
}
