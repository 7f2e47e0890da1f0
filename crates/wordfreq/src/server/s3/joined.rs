//! Pieces of a body, joined to some size. Each piece that the connection reads holds on to the buffer it was read into, so
//! one who sends a byte at a time would have thousands of times as much memory held as arrives. Here every byte is copied once.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

/// A piece that is handed on has this much, unless it is the last.
const JOINED_BYTES: usize = 64 * 1024;

/// What comes of a body, in few pieces.
pub(super) struct Joined<S> {
    inner: S,
    came: Vec<u8>,
    has_ended: bool,
}

impl<S> Joined<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, came: Vec::new(), has_ended: false }
    }
}

impl<S: Stream<Item = Result<Bytes, E>> + Unpin, E> Stream for Joined<S> {
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.has_ended && this.came.len() < JOINED_BYTES {
            match Pin::new(&mut this.inner).poll_next(context) {
                Poll::Ready(Some(Ok(bytes))) => this.came.extend_from_slice(&bytes),
                Poll::Ready(None) => this.has_ended = true,
                // What came before it is of no use to anyone.
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        let came = std::mem::take(&mut this.came);
        Poll::Ready((!came.is_empty()).then(|| Ok(Bytes::from(came))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;

    async fn sizes(
        pieces: impl IntoIterator<Item = Result<usize, &'static str>>,
    ) -> Vec<Result<usize, &'static str>> {
        let pieces = pieces.into_iter().map(|piece| piece.map(|bytes| Bytes::from(vec![b'a'; bytes])));
        let joined = Joined::new(stream::iter(pieces.collect::<Vec<_>>()));
        joined.map(|piece| piece.map(|bytes| bytes.len())).collect().await
    }

    #[tokio::test]
    async fn a_byte_at_a_time_becomes_few_pieces() {
        let bytes = std::iter::repeat_n(Ok(1), 2 * JOINED_BYTES + 3);
        assert_eq!(sizes(bytes).await, [Ok(JOINED_BYTES), Ok(JOINED_BYTES), Ok(3)]);
        assert_eq!(sizes([Ok(JOINED_BYTES - 1), Ok(JOINED_BYTES)]).await, [Ok(2 * JOINED_BYTES - 1)]);
        assert_eq!(sizes([]).await, []);
    }

    #[tokio::test]
    async fn what_breaks_off_is_told_as_it_is() {
        assert_eq!(sizes([Ok(3), Err("broken")]).await[0], Err("broken"));
    }
}
