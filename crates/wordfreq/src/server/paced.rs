//! How slowly a body may come. One that comes a byte now and then would hold its connection, and the memory that is set aside
//! for it, for days. Not here: what who sends it is answered.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Buf as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// How fast a body must come: so many bytes, or its end, within so much time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) within: Duration,
    pub(super) bytes: u64,
}

impl Pace {
    /// So many bytes a second, on an average over `within`.
    pub(super) fn new(bytes_per_second: u64, within: Duration) -> Self {
        Self { within, bytes: bytes_per_second.saturating_mul(within.as_secs().max(1)) }
    }
}

/// What a body ends with that came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("{TOO_SLOWLY}: less than {bytes} bytes of it within {within:?}")]
pub(super) struct TooSlow {
    within: Duration,
    bytes: u64,
}

/// What its text begins with, for where an error is within one that tells no source.
pub(super) const TOO_SLOWLY: &str = "the body came too slowly";

impl TooSlow {
    /// That of an error, or of what caused it.
    pub(super) fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
    }
}

/// A body that ends with [`TooSlow`] if it does not keep its pace. Only the time that somebody waits for it counts: who sends it
/// is not to blame for a disk that is slow.
pub(super) struct Paced<B> {
    body: B,
    pace: Pace,
    /// How much has come since as much as must had come, and for how long that was waited for.
    came: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    too_late: Pin<Box<Sleep>>,
}

impl<B> Paced<B> {
    pub(super) fn new(pace: Pace, body: B) -> Self {
        let too_late = Box::pin(sleep(pace.within));
        Self { body, pace, came: 0, waited: Duration::ZERO, waiting_since: None, too_late }
    }
}

impl<B: Body<Error: Into<axum::BoxError>> + Unpin> Body for Paced<B> {
    type Data = B::Data;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            if this.waiting_since.is_none() {
                let now = Instant::now();
                this.waiting_since = Some(now);
                this.too_late.as_mut().reset(now + this.pace.within.saturating_sub(this.waited));
            }
            ready!(this.too_late.as_mut().poll(context));
            let Pace { within, bytes } = this.pace;
            return Poll::Ready(Some(Err(Box::new(TooSlow { within, bytes }))));
        };
        this.waited += this.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        if let Some(Ok(frame)) = &frame {
            this.came += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        }
        if this.came >= this.pace.bytes {
            (this.came, this.waited) = (0, Duration::ZERO);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use futures_util::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    const PACE: Pace = Pace { within: Duration::from_secs(30), bytes: 100 };

    /// A body that brings pieces of these sizes, each after so many seconds.
    fn body(pieces: &'static [(u64, usize)]) -> impl Body<Data = Bytes, Error = axum::BoxError> + Unpin {
        let pieces = stream::iter(pieces).then(|&(seconds, bytes)| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok::<_, axum::BoxError>(Frame::data(Bytes::from(vec![0; bytes])))
        });
        Paced::new(PACE, StreamBody::new(Box::pin(pieces)))
    }

    async fn bytes_of(pieces: &'static [(u64, usize)]) -> Result<usize, axum::BoxError> {
        body(pieces).collect().await.map(|whole| whole.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_pace_may_go_on_for_ever() {
        assert_eq!(bytes_of(&[(29, 100), (29, 100), (29, 100)]).await.unwrap(), 300);
        assert_eq!(bytes_of(&[(10, 50), (10, 50), (10, 50), (10, 50), (29, 1)]).await.unwrap(), 201);
        // All of it may be less than that.
        assert_eq!(bytes_of(&[(14, 1), (15, 1)]).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_keep_it() {
        let began = Instant::now();
        let error = bytes_of(&[(0, 100), (10, 1), (10, 1), (9, 1), (10, 1)]).await.unwrap_err();
        assert!(TooSlow::of(&*error).is_some(), "{error}");
        assert_eq!(began.elapsed().as_secs(), 30);
        let around = axum::Error::new(error);
        assert!(TooSlow::of(&around).is_some() && around.to_string().starts_with(TOO_SLOWLY));
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_nobody_waits_does_not_count() {
        let mut slow_to_take = body(&[(20, 1), (5, 1), (4, 100)]);
        for _ in 0..3 {
            slow_to_take.frame().await.unwrap().unwrap();
            sleep(Duration::from_secs(100)).await;
        }
        assert!(slow_to_take.frame().await.is_none());
    }
}
