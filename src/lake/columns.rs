//! The columns of the table beside those of this program: what an older one left out is added, what a newer one added is respected.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use deltalake_core::kernel::StructField;
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::{DeltaResult, DeltaTable};
use futures::FutureExt;

use super::place::Place;
use super::{LakeError, land, table};
use crate::batch::flows_schema;

/// How the table's columns differ from ours.
#[derive(Debug, Default)]
struct Difference {
    /// Ours that the table lacks.
    missing: Vec<StructField>,
    /// The table's that we do not know.
    unknown: Vec<String>,
    /// Those of another type.
    other_type: Vec<(String, DataType, DataType)>,
}

fn difference(table: &DeltaTable) -> DeltaResult<Difference> {
    let (ours, schema) = (flows_schema(), table.snapshot()?.schema());
    let mut difference = Difference::default();
    for field in ours.fields() {
        match schema.field(field.name()) {
            None => difference.missing.push(field.as_ref().try_into_kernel()?),
            Some(theirs) => {
                let theirs: DataType = theirs.data_type().try_into_arrow()?;
                if theirs != *field.data_type() {
                    let name = field.name().clone();
                    difference
                        .other_type
                        .push((name, theirs, field.data_type().clone()));
                }
            }
        }
    }
    let unknown = schema
        .fields()
        .filter(|theirs| ours.field_with_name(theirs.name()).is_err());
    difference.unknown = unknown.map(|theirs| theirs.name().clone()).collect();
    Ok(difference)
}

/// Adds the columns that the table lacks, and brings its properties up to date. Files that were written without a column have NULL there.
pub(super) async fn add_missing(place: &Place, table: DeltaTable) -> Result<DeltaTable, LakeError> {
    if is_up_to_date(place, &table)? {
        return Ok(table);
    }
    // Whatever a try comes to, the next one looks at the table anew; somebody else may have done it.
    land::until_known(|| add_to_latest(place).boxed()).await
}

async fn add_to_latest(place: &Place) -> Result<DeltaTable, LakeError> {
    let failed = || table::failed(place, "commit to");
    let mut latest = Box::pin(table::open(place)).await?;
    let missing = difference(&latest).map_err(failed())?.missing;
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|field| field.name().clone()).collect();
        tracing::info!(columns = ?names, "adding columns to a lake of an older flowscout");
        latest = latest
            .add_columns()
            .with_fields(missing)
            .with_commit_properties(table::properties())
            .await
            .map_err(failed())?;
    }
    let properties = outdated_properties(&latest).map_err(failed())?;
    if !properties.is_empty() {
        latest = latest
            .set_tbl_properties()
            .with_properties(properties)
            .with_raise_if_not_exists(false)
            .with_commit_properties(table::properties())
            .await
            .map_err(failed())?;
    }
    Ok(latest)
}

fn is_up_to_date(place: &Place, table: &DeltaTable) -> Result<bool, LakeError> {
    let failed = || table::failed(place, "read");
    let difference = difference(table).map_err(failed())?;
    if let Some((column, theirs, ours)) = difference.other_type.into_iter().next() {
        return Err(LakeError::Column {
            doing: "write to",
            uri: place.uri.clone(),
            column,
            what: format!("has type {theirs}: expected {ours}"),
        });
    }
    let properties = outdated_properties(table).map_err(failed())?;
    Ok(difference.missing.is_empty() && properties.is_empty())
}

/// Properties that still have what an older flowscout gave them, with what they get today. What somebody chose stays.
fn outdated_properties(table: &DeltaTable) -> DeltaResult<HashMap<String, String>> {
    let theirs = table.snapshot()?.metadata().configuration();
    let outdated = table::FORMER_PROPERTIES
        .into_iter()
        .filter(|(key, former)| theirs.get(*key).map(String::as_str) == Some(*former));
    let today = |key: &str| table::PROPERTIES.into_iter().find(|(name, _)| *name == key);
    Ok(outdated
        .filter_map(|(key, _)| today(key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

/// Refuses to write files anew that have, or may get, columns which we do not know: they would be lost.
pub(super) fn refuse_unknown(place: &Place, table: &DeltaTable) -> Result<(), LakeError> {
    let unknown = difference(table)
        .map_err(table::failed(place, "read"))?
        .unknown;
    match unknown.into_iter().next() {
        Some(column) => Err(LakeError::Column {
            doing: "compact",
            uri: place.uri.clone(),
            column,
            what: "is not known to this version".to_owned(),
        }),
        None => Ok(()),
    }
}
