//! `coverage`, `objects`, `bad_lines` and `findings` over a lake: read when a statement asks for them, which most do not.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::{MemTable, TableType};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use tokio::sync::OnceCell;

use super::logs_table::{SideTable, as_views};
use super::runs;
use crate::lake::LakeSnapshot;

/// One of the tables beside `flows`, at one version of a lake.
#[derive(Debug)]
pub(super) struct LakeSide {
    snapshot: LakeSnapshot,
    table: SideTable,
    schema: SchemaRef,
    rows: OnceCell<MemTable>,
}

impl LakeSide {
    pub(super) fn new(snapshot: LakeSnapshot, table: SideTable) -> Self {
        Self {
            snapshot,
            table,
            schema: table.schema(),
            rows: OnceCell::new(),
        }
    }

    async fn read(&self) -> Result<MemTable> {
        let batches = match self.table {
            SideTable::Coverage => self.snapshot.coverage().await,
            SideTable::Objects => self.snapshot.objects().await,
            SideTable::BadLines => self.snapshot.bad_lines().await,
            SideTable::Findings => match self.snapshot.runs().await {
                Ok(runs) => Ok(vec![runs::batch(&runs)?]),
                Err(error) => Err(error),
            },
        };
        let batches = batches.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let batches = batches.iter().map(|batch| as_views(batch, &self.schema));
        MemTable::try_new(
            Arc::clone(&self.schema),
            vec![batches.collect::<Result<_>>()?],
        )
    }
}

#[async_trait]
impl TableProvider for LakeSide {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.rows.get_or_try_init(|| self.read()).await?;
        rows.scan(state, projection, filters, limit).await
    }
}
