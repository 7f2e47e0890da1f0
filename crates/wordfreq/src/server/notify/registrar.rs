//! Taking subscriptions and confirming them. Not here: who may (`access`), where they are kept
//! (`wordfreq_pipeline::embedded`), and what is sent to their targets.

use wordfreq_pipeline::embedded::{NewSubscription, Secret, Subscription, Subscriptions};
use wordfreq_pipeline::{BackendError, DocumentId, ErrorKind, Timestamp};

use super::confirmation::{self, Confirmations, NotConfirmed};
use super::target::{Allowed, Target};
use super::webhook;
use crate::config::NotifyConfig;

/// Takes subscriptions, and knows what a subscription must look like.
#[derive(Clone, Debug)]
pub struct Registrar {
    pub(super) allowed: Allowed,
    has_mail: bool,
    pub(super) confirmations: Confirmations,
    public_url: Option<String>,
}

/// Why nobody can follow a link.
pub(super) const NO_LINK: &str = "a mail is confirmed by a link, and the server listens on every address and knows none that \
                                  others reach it by: set server.public_url";

impl Registrar {
    /// One by these settings; `public_url` is how others reach this server, where that is known.
    ///
    /// # Errors
    /// Those of the data directory.
    pub fn new(
        config: &NotifyConfig,
        subscriptions: &Subscriptions,
        public_url: Option<String>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            allowed: config.allow.value.clone(),
            has_mail: config.smtp.host.value.is_some(),
            confirmations: Confirmations::of(subscriptions)?,
            public_url,
        })
    }

    /// Makes a subscription, and tells its secret, which signs what a webhook gets.
    ///
    /// # Errors
    /// `Invalid` for a target, an event or a bucket that cannot be; those of the data directory.
    pub fn subscribe(
        &self,
        subscriptions: &Subscriptions,
        target: &str,
        events: &[String],
        bucket: Option<&str>,
    ) -> anyhow::Result<(Subscription, Option<String>)> {
        let invalid = |why: String| BackendError::new(ErrorKind::Invalid, why);
        let parsed = Target::parse(target, &self.allowed).map_err(invalid)?;
        let is_webhook = matches!(parsed, Target::Webhook(_));
        if !is_webhook && !self.has_mail {
            return Err(
                invalid("there is no mail server to send by: set smtp.host and smtp.from".into()).into()
            );
        }
        // A webhook can answer.
        if !is_webhook && self.public_url.is_none() {
            return Err(invalid(NO_LINK.into()).into());
        }
        if let Some(bucket) = bucket {
            DocumentId::new(bucket, "any")?;
        }
        let now = Timestamp::now();
        let new = NewSubscription {
            id: confirmation::new_id(now)?,
            target: target.to_owned(),
            events: events.iter().map(|event| event.parse()).collect::<Result<_, _>>()?,
            bucket: bucket.map(str::to_owned),
            secret: Secret(confirmation::random()?),
        };
        let made = subscriptions.create(&new, now)?;
        Ok((made, is_webhook.then(|| webhook::shown_secret(&new.secret))))
    }

    /// Confirms the subscription of a token.
    ///
    /// # Errors
    /// [`NotConfirmed`]
    pub fn confirm(&self, subscriptions: &Subscriptions, token: &str) -> Result<Subscription, NotConfirmed> {
        let id = self.confirmations.subscription(token).ok_or(NotConfirmed::Unknown)?;
        subscriptions.confirm(id, Timestamp::now()).map_err(|error| match error.kind() {
            ErrorKind::NotFound => NotConfirmed::Unknown,
            _ => error.into(),
        })
    }

    /// The subscription that a token would confirm.
    ///
    /// # Errors
    /// [`NotConfirmed`]
    pub fn confirms(&self, subscriptions: &Subscriptions, token: &str) -> Result<Subscription, NotConfirmed> {
        let id = self.confirmations.subscription(token).ok_or(NotConfirmed::Unknown)?;
        subscriptions.get(id).map_err(|error| match error.kind() {
            ErrorKind::NotFound => NotConfirmed::Unknown,
            _ => error.into(),
        })
    }

    /// The address that confirms, for whoever has this token, if there is one that others reach.
    pub(super) fn url(&self, token: &str) -> Option<String> {
        let public_url = self.public_url.as_ref()?;
        Some(format!("{public_url}/api/v1/subscriptions/confirm?token={token}"))
    }
}
