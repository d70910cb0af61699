//! The session: the only place that builds a query context.
//!
//! Tables: `flows coverage objects bad_lines findings`, the topology's, `traffic`, `connections` and `interface_coverage`. Functions:
//! `cidr_contains ip_scope aws_service aws_region country autonomous_system ip_prefix protocol_name port_name tcp_flags_text number_in expected_by
//! snapshot_of nacl_rule`. Statements only read.

mod coverage;
mod flows_table;
mod functions;
mod lake_side;
mod logs_table;
mod row;
mod runs;
mod traffic;
mod views;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::common::{ParamValues, ScalarValue, TableReference};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::parser::DFParser;
use datafusion::sql::resolve::resolve_table_references;
use thiserror::Error;

use self::coverage::InterfaceCoverage;
use self::flows_table::{FlowsTable, viewed};
use self::lake_side::LakeSide;
use self::logs_table::{RawFlows, RawSide, SideTable};
use self::traffic::TrafficTable;
use crate::lake::{Lake, LakeError, LakeSnapshot, StatValue};
use crate::policy::Policy;
use crate::topology::{self, History, Settings};

pub use self::coverage::Gaps;
pub use self::logs_table::RawLogs;
pub(crate) use self::row::Row;

/// What went wrong with a query.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The statement is not SQL, names what isn't there, or writes.
    #[error("the statement cannot be run")]
    Plan(#[source] DataFusionError),
    /// The statement failed while it ran.
    #[error("the query failed")]
    Run(#[source] DataFusionError),
    /// Arrow refused a batch.
    #[error("the answer cannot be written")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A parameter that the statement names has no value.
    #[error("the statement names `${name}`, which has no value")]
    MissingParameter {
        /// The parameter.
        name: String,
    },
    /// The lake can't be read.
    #[error("cannot read the lake")]
    Lake(#[from] LakeError),
}

/// What a session knows beside the flows.
#[derive(Debug, Clone)]
pub struct Knowledge {
    /// The network over time.
    pub history: Arc<History>,
    /// AWS's ranges, and what is named as on premises.
    pub settings: Arc<Settings>,
    /// What the owner expects.
    pub policy: Arc<Policy>,
}

/// A query context over one version of a lake, or over raw logs.
pub struct Session {
    context: SessionContext,
    /// The version that it reads, unless it reads raw logs.
    snapshot: Option<LakeSnapshot>,
    history: Arc<History>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.context.session_id())
            .finish()
    }
}

impl Session {
    /// A session over the newest version of a lake, pinned for the session's life.
    ///
    /// # Errors
    /// When the lake can't be read.
    pub async fn over_lake(lake: &Lake, knowledge: &Knowledge) -> Result<Self, SessionError> {
        Self::over_snapshot(lake, lake.snapshot().await?, knowledge)
    }

    /// A session over one version of a lake.
    ///
    /// # Errors
    /// When a table can't be built.
    pub fn over_snapshot(
        lake: &Lake,
        snapshot: LakeSnapshot,
        knowledge: &Knowledge,
    ) -> Result<Self, SessionError> {
        let context = context();
        let url = lake.store_url();
        context.register_object_store(&url, lake.store());
        let store =
            ObjectStoreUrl::parse(&url[..url::Position::BeforePath]).map_err(SessionError::Plan)?;
        let flows: Arc<dyn TableProvider> =
            Arc::new(FlowsTable::new(store, snapshot.shared_files()));
        let session = Self {
            context,
            snapshot: Some(snapshot.clone()),
            history: Arc::clone(&knowledge.history),
        };
        let side =
            |table| -> Arc<dyn TableProvider> { Arc::new(LakeSide::new(snapshot.clone(), table)) };
        session.complete(flows, side, knowledge)?;
        Ok(session)
    }

    /// A session straight over raw logs. `traffic` is there only where the topology is known.
    ///
    /// # Errors
    /// When a table can't be built.
    pub fn over_logs(logs: &Arc<RawLogs>, knowledge: &Knowledge) -> Result<Self, SessionError> {
        let session = Self {
            context: context(),
            snapshot: None,
            history: Arc::clone(&knowledge.history),
        };
        let side =
            |table| -> Arc<dyn TableProvider> { Arc::new(RawSide::new(Arc::clone(logs), table)) };
        let flows = Arc::new(RawFlows::new(Arc::clone(logs)));
        session.complete(flows, side, knowledge)?;
        Ok(session)
    }

    /// Registers `flows` and the tables beside it, what is made of them, the topology's tables and the functions.
    fn complete(
        &self,
        flows: Arc<dyn TableProvider>,
        side: impl Fn(SideTable) -> Arc<dyn TableProvider>,
        knowledge: &Knowledge,
    ) -> Result<(), SessionError> {
        self.register("flows", Arc::clone(&flows))?;
        for (name, table) in SideTable::ALL {
            let table_beside = side(table);
            if matches!(table, SideTable::Coverage) {
                let (flows, history) = (Arc::clone(&flows), Arc::clone(&knowledge.history));
                let coverage = Arc::clone(&table_beside);
                let by_interface = InterfaceCoverage::new(flows, coverage, history);
                self.register("interface_coverage", Arc::new(by_interface))?;
            }
            self.register(name, table_beside)?;
        }
        let traffic: Arc<dyn TableProvider> =
            Arc::new(TrafficTable::new(flows, Arc::clone(&knowledge.history)));
        for (name, view) in views::all(&self.context, &traffic).map_err(SessionError::Plan)? {
            self.register(name, view)?;
        }
        self.register("traffic", traffic)?;
        for (name, table) in topology::tables(&knowledge.history) {
            self.register(name, in_memory(table.schema(), vec![table])?)?;
        }
        functions::register(&self.context, knowledge);
        Ok(())
    }

    fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<(), SessionError> {
        self.context
            .register_table(name, table)
            .map_err(SessionError::Plan)?;
        Ok(())
    }

    /// The network over time.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Plans a statement that only reads. Of the values, those that it names are used.
    ///
    /// # Errors
    /// When it is no SQL, names an unknown table, column, function or parameter, or would write.
    pub async fn plan(
        &self,
        sql: &str,
        values: Vec<(String, ScalarValue)>,
    ) -> Result<DataFrame, SessionError> {
        with_values(self.read_only(sql).await?, values)
    }

    /// Plans a statement as [`Session::plan`], with values as they are typed: a value that is compared with text stays text, every
    /// other becomes what `guess` makes of it.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub async fn plan_typed(
        &self,
        sql: &str,
        values: &[(String, String)],
        guess: impl Fn(&str) -> ScalarValue,
    ) -> Result<DataFrame, SessionError> {
        let frame = self.read_only(sql).await?;
        let types = frame
            .logical_plan()
            .get_parameter_types()
            .map_err(SessionError::Plan)?;
        let typed = values.iter().map(|(name, text)| {
            let data_type = types.get(&format!("${name}")).and_then(Option::as_ref);
            let value = match data_type {
                Some(data_type) if data_type.is_string() => {
                    ScalarValue::Utf8View(Some(text.clone()))
                }
                _ => guess(text),
            };
            (name.clone(), value)
        });
        with_values(frame, typed.collect())
    }

    async fn read_only(&self, sql: &str) -> Result<DataFrame, SessionError> {
        let options = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        self.context
            .sql_with_options(sql, options)
            .await
            .map_err(SessionError::Plan)
    }

    /// Runs a statement that only reads, to its end.
    ///
    /// # Errors
    /// As [`Session::plan`], and when it fails while it runs.
    pub async fn query(
        &self,
        sql: &str,
        values: Vec<(String, ScalarValue)>,
    ) -> Result<Vec<RecordBatch>, SessionError> {
        let frame = self.plan(sql, values).await?;
        frame.collect().await.map_err(SessionError::Run)
    }

    /// The first start and the last end of all flows; `None` without any.
    ///
    /// # Errors
    /// When the flows can't be read.
    pub async fn span(&self) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, SessionError> {
        let time = DateTime::from_timestamp_micros;
        if let Some((first, last)) = self.snapshot.as_ref().and_then(span_of) {
            return Ok(time(first).zip(time(last)));
        }
        self.times("SELECT MIN(start), MAX(\"end\") FROM flows")
            .await
    }

    /// The first start and the last end of the flows that came with some batches; `None` without any.
    ///
    /// # Errors
    /// When the flows can't be read.
    pub async fn span_of_batches(
        &self,
        batches: &[i64],
    ) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, SessionError> {
        let numbers = batches
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        self.times(&format!(
            "SELECT MIN(start), MAX(\"end\") FROM flows \
             WHERE source IN (SELECT key FROM objects WHERE CAST(split_part(batch, '-', 1) AS BIGINT) IN ({numbers}))"
        ))
        .await
    }

    /// The interfaces of the topology that the logs do not have in full between two times, as of the later one: by their flow logs, and
    /// because nothing was heard of them.
    ///
    /// # Errors
    /// When the flows can't be read.
    pub async fn gaps(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Gaps, SessionError> {
        let network = self.history.at(to);
        if network.interfaces().is_empty() {
            return Ok(Gaps::default());
        }
        let sql = "SELECT DISTINCT interface_id FROM flows WHERE start < $to AND \"end\" >= $from AND interface_id IS NOT NULL \
            UNION SELECT interface_id FROM coverage WHERE start < $to AND \"end\" >= $from AND interface_id IS NOT NULL";
        let values = vec![
            ("from".to_owned(), timestamp_scalar(from)),
            ("to".to_owned(), timestamp_scalar(to)),
        ];
        let batches = self.query(sql, values).await?;
        let heard = batches
            .iter()
            .flat_map(|batch| batch.column(0).as_string_view().iter().flatten())
            .map(str::to_owned)
            .collect();
        Ok(coverage::gaps(network, &heard))
    }

    async fn times(
        &self,
        sql: &str,
    ) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, SessionError> {
        let batches = self.query(sql, Vec::new()).await?;
        let at = |batch: &RecordBatch, column: usize| {
            let times = batch
                .column(column)
                .as_primitive::<TimestampMicrosecondType>();
            times
                .iter()
                .next()
                .flatten()
                .and_then(DateTime::from_timestamp_micros)
        };
        Ok(batches
            .iter()
            .find(|batch| batch.num_rows() > 0)
            .and_then(|batch| at(batch, 0).zip(at(batch, 1))))
    }
}

/// The first start and the last end by the statistics of the files; `None` where those of one don't tell exactly.
fn span_of(snapshot: &LakeSnapshot) -> Option<(i64, i64)> {
    let files = snapshot.files().iter().filter(|file| file.rows > 0);
    let spans: Option<Vec<(i64, i64)>> = files
        .map(|file| {
            let (start, end) = (file.columns.get("start")?, file.columns.get("end")?);
            match (&start.min, &end.max) {
                (Some(StatValue::Micros(first)), Some(StatValue::Micros(last)))
                    if start.exact && end.exact =>
                {
                    Some((*first, *last))
                }
                _ => None,
            }
        })
        .collect();
    spans?
        .into_iter()
        .reduce(|(first, last), (start, end)| (first.min(start), last.max(end)))
}

/// Of the values, those that a plan names, in their places.
fn with_values(
    frame: DataFrame,
    values: Vec<(String, ScalarValue)>,
) -> Result<DataFrame, SessionError> {
    let named: HashSet<String> = frame
        .logical_plan()
        .get_parameter_names()
        .map_err(SessionError::Plan)?
        .into_iter()
        .collect();
    if named.is_empty() {
        return Ok(frame);
    }
    let values: Vec<(String, ScalarValue)> = values
        .into_iter()
        .filter(|(name, _)| named.contains(&format!("${name}")))
        .collect();
    if let Some(name) = named
        .iter()
        .find(|named| !values.iter().any(|(name, _)| format!("${name}") == **named))
    {
        return Err(SessionError::MissingParameter {
            name: name.trim_start_matches('$').to_owned(),
        });
    }
    frame
        .with_param_values(ParamValues::from(values))
        .map_err(SessionError::Plan)
}

/// Whether a statement may need the topology: it names a table of it or `traffic`, or a function that knows the network. Only then need it
/// be read.
pub fn may_ask_for_topology(sql: &str) -> bool {
    let knows_no_network = |table: &TableReference| {
        let name = table.table();
        table.schema() == Some("information_schema")
            || name == "flows"
            || SideTable::ALL.iter().any(|(side, _)| *side == name)
    };
    let functions = ["ip_scope", "expected_by", "snapshot_of", "nacl_rule"];
    let lower = sql.to_ascii_lowercase();
    let Ok(statements) = DFParser::parse_sql(sql) else {
        return true;
    };
    functions.iter().any(|function| lower.contains(function))
        || statements.iter().any(
            |statement| match resolve_table_references(statement, true) {
                Ok((tables, _)) => !tables.iter().all(knows_no_network),
                Err(_) => true,
            },
        )
}

/// A time as queries take it.
pub fn timestamp_scalar(at: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into()))
}

fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_information_schema(true);
    config.options_mut().execution.time_zone = Some("UTC".into());
    config.options_mut().execution.parquet.pushdown_filters = true;
    SessionContext::new_with_config(config)
}

/// A table of batches that are small enough to hold.
fn in_memory(
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<Arc<dyn TableProvider>, SessionError> {
    let schema = viewed(&schema);
    let batches = batches
        .iter()
        .map(|batch| logs_table::as_views(batch, &schema))
        .collect::<Result<Vec<_>, _>>()
        .map_err(SessionError::Plan)?;
    Ok(Arc::new(
        MemTable::try_new(schema, vec![batches]).map_err(SessionError::Plan)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::may_ask_for_topology;

    #[test]
    fn the_topology_is_read_for_who_names_it() {
        for sql in [
            "SELECT 1",
            "SELECT COUNT(*) FROM flows",
            "WITH busy AS (SELECT srcaddr FROM flows) SELECT * FROM busy JOIN objects ON true, coverage, bad_lines",
            "EXPLAIN SELECT aws_service(srcaddr) FROM flows",
            "SELECT * FROM information_schema.tables",
        ] {
            assert!(!may_ask_for_topology(sql), "{sql}");
        }
        for sql in [
            "SELECT * FROM traffic",
            "SELECT * FROM public.subnets",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM vpcs)",
            "SELECT IP_SCOPE(srcaddr) FROM flows",
            "SELECT * FROM flows WHERE",
        ] {
            assert!(may_ask_for_topology(sql), "{sql}");
        }
    }
}
