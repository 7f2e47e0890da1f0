//! Connections: as many as are allowed, each with its time to send a request, and an orderly end of all. Not here: what a
//! request gets for an answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::limits::{Place, Places};
use super::paced::{Pace, Paced};
use super::s3::S3;
use super::{App, Peer, answer, api};

/// For the head of a request, from the end of the one before it: an idle connection is closed after this.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// For the client to take some of an answer.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// For the handshake of TLS.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// The longest head of a request. S3 allows 8 KB; a key of 1,024 bytes is up to 3 KB when it is percent-encoded.
const HEAD_BYTES: usize = 64 * 1024;

/// For the other side to take notice that an answer was the last.
const LINGER: Duration = Duration::from_secs(2);

/// For what is being answered, when the server is to end.
const END_WITHIN: Duration = Duration::from_secs(5);

/// After the system refused a connection, for want of files or memory.
const REST: Duration = Duration::from_millis(100);

const REQUEST_TIMEOUT: &str =
    "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What one connection too many is answered: S3's words, which for others are as good as any.
const TOO_MANY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
    <Error><Code>SlowDown</Code><Message>There are too many connections. Please try again.</Message></Error>";

/// Takes connections until the server is to end, and then waits for those that are being answered.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    max_connections: usize,
    of_one_address: usize,
    app: Arc<App>,
) {
    let places = Places::new(max_connections, of_one_address);
    let s3 = S3::new(app.clone());
    let router = api::router(app.clone(), s3.clone());
    let mut ending = app.ending.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ending.wait_for(|is_ending| *is_ending) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let place = places.take(address.ip());
        let connection = Connection {
            app: app.clone(),
            s3: s3.clone(),
            router: router.clone(),
            tls: tls.clone(),
            address,
        };
        tokio::spawn(async move {
            match place {
                Some(place) => connection.serve(stream, place).await,
                None => connection.turn_away(stream).await,
            }
        });
    }
    drop(listener);
    if timeout(END_WITHIN, places.none_held(max_connections)).await.is_err() {
        tracing::warn!("some requests were not answered in time; their connections are closed");
    }
}

struct Connection {
    app: Arc<App>,
    s3: S3,
    router: axum::Router,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
}

impl Connection {
    /// More than that would be kind, and cost what there is not.
    async fn turn_away(&self, mut stream: TcpStream) {
        if self.tls.is_none() {
            let answer = format!(
                "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nretry-after: 1\r\n\
                 connection: close\r\n\r\n{TOO_MANY}",
                TOO_MANY.len()
            );
            // Who does not read it is not told.
            drop(timeout(REST, stream.write_all(answer.as_bytes())).await);
        }
    }

    async fn serve(self, stream: TcpStream, place: Place) {
        // An answer is written as a whole: there is nothing to wait for.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        // Nor does it wait for ever for one who does not read it: this covers a window that stays closed too.
        if let Err(error) = set_tcp_user_timeout(&stream, READ_WITHIN.as_millis() as u32) {
            tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
        }
        let Self { app, s3, router, tls, address } = self;
        let peer = Peer { address, is_tls: tls.is_some() };
        let (ending, pace) = (app.ending.clone(), app.pace);
        let respond = move |mut request: Request| {
            request.extensions_mut().insert(peer);
            answer(app.clone(), s3.clone(), router.clone(), request)
        };
        match tls {
            None => answer_all(stream, pace, ending, respond).await,
            Some(tls) => match timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                Ok(Ok(stream)) => answer_all(stream, pace, ending, respond).await,
                Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS handshake"),
                Err(_late) => tracing::debug!(%address, "no TLS handshake in time"),
            },
        }
        drop(place);
    }
}

/// Answers requests one after the other, until the client has had enough, takes too long, or the server is to end.
async fn answer_all<F: Future<Output = Response> + Send + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pace: Pace,
    mut ending: watch::Receiver<bool>,
    respond: impl Fn(Request) -> F,
) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        // A body that is not there stays so for those who ask.
        let response = respond(request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(Paced::new(pace, body)),
        }));
        Box::pin(async move { Ok::<_, std::convert::Infallible>(response.await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let answered = {
        let answered = poll_fn(|context| connection.poll_without_shutdown(context));
        tokio::select! {
            answered = answered => Some(answered),
            () = ended(&mut ending) => None,
        }
    };
    let answered = match answered {
        Some(answered) => answered,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    match answered {
        // Who began a request is told; who only held the connection is not.
        Err(error) if error.is_timeout() && !parts.read_buf.is_empty() => {
            drop(timeout(REST, stream.write_all(REQUEST_TIMEOUT.as_bytes())).await);
        }
        Err(error) => tracing::debug!(%error, "a connection ended early"),
        Ok(()) => {}
    }
    // The other side may be gone.
    drop(timeout(HANDSHAKE_WITHIN, stream.shutdown()).await);
    // It may also still send a body that nobody wants, and the system would throw away an answer that meets such bytes.
    let mut unwanted = [0; 8 * 1024];
    let linger = async { while stream.read(&mut unwanted).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        _ = timeout(LINGER, linger) => {}
        () = ended(&mut ending) => {}
    }
}

/// Waits until the server is to end.
pub(super) async fn ended(ending: &mut watch::Receiver<bool>) {
    // Who can tell it is gone: that is an end too.
    drop(ending.wait_for(|is_ending| *is_ending).await);
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use tokio::io::DuplexStream;

    use super::*;

    /// A client's end of a connection that is served.
    fn connect() -> (DuplexStream, watch::Sender<bool>) {
        let (end, ending) = watch::channel(false);
        let (client, server) = tokio::io::duplex(1024);
        let pace = Pace::new(1024, HEAD_WITHIN);
        tokio::spawn(answer_all(server, pace, ending, |_request| async { "ok\n".into_response() }));
        (client, end)
    }

    async fn all(mut client: DuplexStream) -> String {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_a_request_and_does_not_go_on_is_told_so() {
        let (mut client, _end) = connect();
        client.write_all(b"GET /healthz HT").await.unwrap();
        assert!(all(client).await.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_without_a_word() {
        let (client, _end) = connect();
        assert_eq!(all(client).await, "");
        let (mut client, _end) = connect();
        client.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let answer = all(client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_an_idle_connection_is_closed_at_once() {
        let (client, end) = connect();
        let began = tokio::time::Instant::now();
        end.send_replace(true);
        assert_eq!(all(client).await, "");
        assert!(began.elapsed() < HEAD_WITHIN);
    }
}
