//! stub while it is written
use wordfreq_pipeline::document::Record;
use wordfreq_pipeline::Timestamp;
/// x
pub fn parse(_: &str, _: Timestamp) -> Vec<Record> { unimplemented!() }
