//! The table of a stack. DynamoDB encrypts every table at rest, with a key of its own unless it is given another, so
//! there is nothing to turn on. Not here: what is in the table (`dynamo_results`).

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    PointInTimeRecoveryStatus, ScalarAttributeType, TableDescription, TableStatus, Tag,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use wordfreq_pipeline::{BackendError, ErrorKind};

use super::{Look, Site, invalid};
use crate::error::{Refusal, failed};

const KEY: &str = "Filename";
const EXPIRES_AT: &str = "ExpiresAt";

/// Whether a table that is there can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    Off,
    On,
}

async fn describe(site: &Site<'_>, name: &str) -> Result<Option<TableDescription>, BackendError> {
    match site.connection.dynamo.describe_table().table_name(name).send().await {
        Ok(found) => Ok(found.table),
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(&format!("look for the table {name}"), error)),
    }
}

/// A table that is being deleted counts as none; one that is being made is waited for, as its tags are not there before
/// it is.
pub(super) async fn look(site: &Site<'_>, name: &str) -> Result<Look<Protection>, BackendError> {
    let mut pauses = site.pauses();
    let table = loop {
        let Some(table) = describe(site, name).await? else { return Ok(Look::Nothing) };
        match table.table_status() {
            Some(TableStatus::Deleting) => return Ok(Look::Nothing),
            Some(TableStatus::Creating) if pauses.another().await => {}
            Some(TableStatus::Creating) => return Err(too_long(name, &table)),
            _ => break table,
        }
    };
    let mut tags = Vec::new();
    let mut next = None;
    loop {
        let list = site.connection.dynamo.list_tags_of_resource().set_next_token(next);
        let page = match list.resource_arn(table.table_arn().unwrap_or_default()).send().await {
            Ok(page) => page,
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                return Ok(Look::Nothing);
            }
            Err(error) => return Err(failed(&format!("read the tags of the table {name}"), error)),
        };
        tags.extend(page.tags.unwrap_or_default());
        next = page.next_token;
        if next.is_none() {
            break;
        }
    }
    let mismatch = site.mismatch(tags.iter().map(|tag| (tag.key(), tag.value()))).or_else(|| {
        let keys = table.key_schema();
        let is_ours =
            matches!(keys, [key] if key.attribute_name() == KEY && *key.key_type() == KeyType::Hash);
        (!is_ours).then(|| format!("its key is not {KEY} alone"))
    });
    let protection =
        if table.deletion_protection_enabled() == Some(true) { Protection::On } else { Protection::Off };
    Ok(mismatch.map_or(Look::Ours(protection), Look::Foreign))
}

/// Makes the table and waits for it, and turns on what is off. What is paid for it and its protection from deletion are
/// set when it is made only.
pub(super) async fn ensure(
    site: &Site<'_>,
    name: &str,
    present: Option<Protection>,
) -> Result<(), BackendError> {
    if present.is_none() {
        create(site, name).await?;
        wait_until_active(site, name).await?;
    }
    recover(site, name).await?;
    expire(site, name).await
}

async fn create(site: &Site<'_>, name: &str) -> Result<(), BackendError> {
    let complete = |error: aws_sdk_dynamodb::error::BuildError| invalid(error.to_string());
    let key =
        KeySchemaElement::builder().attribute_name(KEY).key_type(KeyType::Hash).build().map_err(complete)?;
    let attribute = AttributeDefinition::builder().attribute_name(KEY).attribute_type(ScalarAttributeType::S);
    let attribute = attribute.build().map_err(complete)?;
    let tags =
        site.tags().map(|(name, value)| Tag::builder().key(name).value(value).build().map_err(complete));
    let tags = tags.into_iter().collect::<Result<Vec<_>, _>>()?;
    let create = site
        .connection
        .dynamo
        .create_table()
        .table_name(name)
        .key_schema(key)
        .attribute_definitions(attribute);
    let create = create
        .billing_mode(BillingMode::PayPerRequest)
        .deletion_protection_enabled(false)
        .set_tags(Some(tags));
    let mut pauses = site.pauses();
    loop {
        let error = match create.clone().send().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let in_use = error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception());
        if !in_use {
            return Err(failed(&format!("make the table {name}"), error));
        }
        match look(site, name).await? {
            // Another run made it at the same time.
            Look::Ours(_) => return Ok(()),
            Look::Foreign(why) => {
                return Err(invalid(format!(
                    "the table {name} was made by another meanwhile ({why}): take another name"
                )));
            }
            // The one of before is still being deleted.
            Look::Nothing if pauses.another().await => {}
            Look::Nothing => return Err(failed(&format!("make the table {name}"), error)),
        }
    }
}

async fn wait_until_active(site: &Site<'_>, name: &str) -> Result<(), BackendError> {
    let mut pauses = site.pauses();
    loop {
        // It may not be known everywhere at once.
        let table = describe(site, name).await?.unwrap_or_else(|| TableDescription::builder().build());
        if matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating)) {
            return Ok(());
        }
        if !pauses.another().await {
            return Err(too_long(name, &table));
        }
    }
}

fn too_long(name: &str, table: &TableDescription) -> BackendError {
    let status = table.table_status().map_or("UNKNOWN", TableStatus::as_str);
    let text = format!("the table {name} is still {status}: wait until it is ACTIVE, and run this again");
    BackendError::new(ErrorKind::Busy, text)
}

/// Turns on point-in-time recovery; for how many days it reaches back stays as it is where it is on.
async fn recover(site: &Site<'_>, name: &str) -> Result<(), BackendError> {
    let dynamo = &site.connection.dynamo;
    let context = format!("turn on the recovery of the table {name}");
    let found = dynamo.describe_continuous_backups().table_name(name).send().await;
    let found = found.map_err(|error| failed(&context, error))?.continuous_backups_description;
    let recovery = found.and_then(|found| found.point_in_time_recovery_description);
    if recovery.and_then(|recovery| recovery.point_in_time_recovery_status)
        == Some(PointInTimeRecoveryStatus::Enabled)
    {
        return Ok(());
    }
    let on = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
    let on = on.map_err(|error| invalid(error.to_string()))?;
    // A new table's backups begin a little after it.
    let may_pass = |refusal: &Refusal| refusal.code == "ContinuousBackupsUnavailableException";
    let update = site.patiently(&context, may_pass, async || {
        let update = dynamo.update_continuous_backups().table_name(name);
        update.point_in_time_recovery_specification(on.clone()).send().await
    });
    update.await.map(drop)
}

/// Has the table forget what has expired.
async fn expire(site: &Site<'_>, name: &str) -> Result<(), BackendError> {
    let dynamo = &site.connection.dynamo;
    let context = format!("have the table {name} forget what has expired");
    let found = dynamo.describe_time_to_live().table_name(name).send().await;
    let found = found.map_err(|error| failed(&context, error))?.time_to_live_description;
    if let Some(found) = found
        && let Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) = found.time_to_live_status
    {
        return match found.attribute_name.as_deref() {
            Some(EXPIRES_AT) => Ok(()),
            other => Err(invalid(format!(
                "the table {name} forgets by the attribute {}, not {EXPIRES_AT}: turn its time to live off, and run this \
                 again an hour later",
                other.unwrap_or("unknown")
            ))),
        };
    }
    let by = TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRES_AT).build();
    let by = by.map_err(|error| invalid(error.to_string()))?;
    match dynamo.update_time_to_live().table_name(name).time_to_live_specification(by).send().await {
        Ok(_) => Ok(()),
        // Another run was faster.
        Err(error)
            if Refusal::of(&error).is_some_and(|refusal| refusal.message.contains("already enabled")) =>
        {
            Ok(())
        }
        Err(error) => Err(failed(&context, error)),
    }
}

/// Has the table deleted, which DynamoDB then does by itself.
pub(super) async fn delete(site: &Site<'_>, name: &str) -> Result<(), BackendError> {
    match site.connection.dynamo.delete_table().table_name(name).send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
        {
            Ok(())
        }
        Err(error) => Err(failed(&format!("delete the table {name}"), error)),
    }
}
