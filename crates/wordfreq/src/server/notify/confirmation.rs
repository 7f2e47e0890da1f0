//! The proof that whoever is at a target has agreed: a token that only a message to the target carries. It is made from
//! the subscription's name with a key of the data directory, so that it stands nowhere, is the same at every try, and
//! survives a kill between the making of a subscription and its first message. Not here: when it has run out.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use wordfreq_pipeline::BackendError;
use wordfreq_pipeline::embedded::Subscriptions;

/// Longer than any token of ours.
const MAX_BYTES: usize = 200;

/// Makes and checks the tokens of one data directory.
#[derive(Clone)]
pub struct Confirmations {
    key: [u8; 32],
}

impl std::fmt::Debug for Confirmations {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Confirmations(..)")
    }
}

impl Confirmations {
    /// Those of this data directory.
    ///
    /// # Errors
    /// Those of the data directory, and when the system has no randomness.
    pub fn of(subscriptions: &Subscriptions) -> anyhow::Result<Self> {
        Ok(Self { key: subscriptions.confirmation_key(random()?)? })
    }

    /// The token of a subscription.
    pub fn token(&self, subscription: &str) -> String {
        #[expect(clippy::unwrap_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap();
        mac.update(b"confirm\0");
        mac.update(subscription.as_bytes());
        format!("{subscription}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// The subscription that a token confirms, if it is one of ours.
    pub fn subscription<'a>(&self, token: &'a str) -> Option<&'a str> {
        let (subscription, _) = token.rsplit_once('.').filter(|_| token.len() <= MAX_BYTES)?;
        let is_ours: bool = self.token(subscription).as_bytes().ct_eq(token.as_bytes()).into();
        is_ours.then_some(subscription)
    }
}

/// Random bytes nobody can guess.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(bytes)
}

/// A name for a new subscription, which sorts by the time of its making and cannot be guessed.
///
/// # Errors
/// When the system has no randomness.
pub fn new_id(now: wordfreq_pipeline::Timestamp) -> anyhow::Result<String> {
    Ok(format!("{:012x}{:032x}", now.0.max(0), u128::from_ne_bytes(random()?)))
}

/// What a confirmation came to nothing for, told to whoever holds the token.
#[derive(Debug, thiserror::Error)]
pub enum NotConfirmed {
    /// The token is none of ours, or of a subscription that is no more.
    #[error(
        "this link confirms nothing: it is mistyped, or its three days are over, or the subscription was removed"
    )]
    Unknown,
    /// The data directory failed.
    #[error(transparent)]
    Failed(#[from] BackendError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_confirms_its_subscription() {
        let ours = Confirmations { key: [1; 32] };
        let token = ours.token("abc");
        assert_eq!(ours.subscription(&token), Some("abc"));
        assert_eq!(Confirmations { key: [2; 32] }.subscription(&token), None);
        for bad in [
            "",
            ".",
            "abc",
            "abc.",
            &token[..token.len() - 1],
            &format!("{token}x"),
            &token.replacen('a', "b", 1),
        ] {
            assert_eq!(ours.subscription(bad), None, "{bad}");
        }
        assert_eq!(ours.subscription(&format!("{}.x", "a".repeat(1 << 20))), None);
    }

    #[test]
    fn names_sort_by_time() {
        let at = |ms| new_id(wordfreq_pipeline::Timestamp(ms)).unwrap();
        let ids = [at(1), at(1_800_000_000_000), at(1_800_000_000_001)];
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.iter().all(|id| id.len() == 44));
    }
}
