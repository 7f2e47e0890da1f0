//! Notices that this instance will go: a Spot interruption, and the end of its time in an Auto Scaling group, both of
//! which instance metadata (IMDSv2) tells beforehand. Each starts a drain. Not here: what a drain does.

use std::sync::Arc;
use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use tokio::sync::Notify;
use wordfreq_pipeline::Drain;

use crate::connection::Connection;

/// AWS recommends to look every five seconds; a Spot notice leaves two minutes.
const EVERY: Duration = Duration::from_secs(5);

/// Looks that may fail at first before the machine counts as none of EC2's.
const MAX_FAILURES: u32 = 3;

const SPOT: &str = "/latest/meta-data/spot/instance-action";
const LIFECYCLE: &str = "/latest/meta-data/autoscaling/target-lifecycle-state";

/// Looks at instance metadata until `drain` is requested, and requests it when a notice comes. Ends by itself where
/// there is no metadata: on other machines than EC2's.
pub fn watch_for_notices(connection: &Arc<Connection>, drain: &Drain) {
    let client =
        Client::builder()
            .configure(&aws_config::provider_config::ProviderConfig::without_region().with_http_client(
                connection.config().http_client().expect("the connection was made with one"),
            ))
            .max_attempts(1)
            .connect_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(1))
            .build();
    let drained = Arc::new(Notify::new());
    let _wakes_on_drain = drain.on_request({
        let drained = drained.clone();
        move || drained.notify_one()
    });
    connection.wait(async {
        let (mut failures, mut has_answered) = (0, false);
        while !drain.requested() {
            match notice(&client).await {
                Ok(Some(notice)) => {
                    tracing::warn!(notice, "this instance will go: draining");
                    drain.request();
                    return;
                }
                Ok(None) => (failures, has_answered) = (0, true),
                Err(error) => {
                    failures += 1;
                    if failures == MAX_FAILURES && has_answered {
                        tracing::warn!(
                            reason = crate::error::causes(&error),
                            "instance metadata does not answer at the moment: a notice may be missed"
                        );
                    } else if failures == MAX_FAILURES {
                        tracing::info!(
                            reason = crate::error::causes(&error),
                            "no instance metadata: only signals start a drain"
                        );
                        return;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = drained.notified() => {}
            }
        }
    });
}

async fn notice(client: &Client) -> Result<Option<String>, ImdsError> {
    if let Some(action) = look(client, SPOT).await? {
        return Ok(Some(format!("Spot interruption: {action}")));
    }
    let state = look(client, LIFECYCLE).await?;
    // `Terminated` also stands for `Warmed:...` targets, which begin otherwise.
    Ok(state.filter(|state| state == "Terminated").map(|state| format!("target lifecycle state: {state}")))
}

/// What is told there; `None` if nothing is (404).
async fn look(client: &Client, path: &str) -> Result<Option<String>, ImdsError> {
    match client.get(path).await {
        Ok(text) => Ok(Some(text.as_ref().to_owned())),
        Err(ImdsError::ErrorResponse(response)) if response.response().status().as_u16() == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
