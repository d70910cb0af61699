//! Questions to a lake: one address, a sum over raw logs, and each detection.
//!
//! Fixture: 12 objects of 25,000 seeded records of two days, a VPC with a private subnet. Command: `cargo bench --bench query`.

mod logs;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use divan::Bencher;
use flowscout::detect::{Catalog, Window, run};
use flowscout::ingest::Ingest;
use flowscout::lake::{Lake, LakeUri};
use flowscout::policy::Policy;
use flowscout::session::{Knowledge, Session};
use flowscout::source::{Location, S3Settings, Selection, Source};
use flowscout::topology::{History, Settings, import};
use serde_json::json;
use tokio::runtime::Runtime;

const OBJECTS_A_DAY: u64 = 6;
const ROWS: usize = 25_000;
const DAY: u64 = 86_400;

fn main() {
    divan::main();
}

/// A lake and what is known of its network.
struct Fixture {
    runtime: Runtime,
    lake: Lake,
    knowledge: Knowledge,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is a place for temporary files");
        let logs = folder.path().join("logs");
        std::fs::create_dir(&logs).expect("the folder takes folders");
        for object in 0..2 * OBJECTS_A_DAY {
            let start = logs::START + object / OBJECTS_A_DAY * DAY + object % OBJECTS_A_DAY * 600;
            let text = logs::text(logs::V2, ROWS, start, object);
            std::fs::write(logs.join(format!("{object:02}.log.gz")), logs::gzip(&text))
                .expect("the folder takes files");
        }
        let builder = tokio::runtime::Builder::new_multi_thread()
            .thread_stack_size(32 << 20)
            .enable_all()
            .build();
        let runtime = builder.expect("threads can be started");
        let knowledge = knowledge(folder.path());
        let lake = folder.path().join("lake");
        let lake = runtime.block_on(async move {
            let source = Location::parse(&logs.display().to_string())?;
            let source = Source::open(source, &S3Settings::default()).await?;
            let lake = Lake::open_or_create(&LakeUri::parse(&lake.display().to_string())?).await?;
            let sources = vec![(source, Selection::default())];
            let summary = Ingest::new(lake.clone()).run(sources, &()).await?;
            assert_eq!(summary.rows, 2 * OBJECTS_A_DAY * ROWS as u64);
            Ok::<_, Box<dyn std::error::Error>>(lake)
        });
        Self {
            runtime,
            lake: lake.expect("the fixture can be ingested"),
            knowledge,
            _folder: folder,
        }
    }

    /// Answers on a worker, whose stack is large enough to plan on.
    fn answer<T: Send + 'static>(&self, question: impl Future<Output = T> + Send + 'static) -> T {
        let answer = self.runtime.block_on(self.runtime.spawn(question));
        answer.expect("the question is answered")
    }

    /// How many rows a statement gives, session and all.
    fn rows(&self, sql: String) -> usize {
        let (lake, knowledge) = (self.lake.clone(), self.knowledge.clone());
        self.answer(async move {
            let session = Session::over_lake(&lake, &knowledge).await?;
            let batches = session.query(&sql, Vec::new()).await?;
            Ok::<_, flowscout::session::SessionError>(
                batches.iter().map(|batch| batch.num_rows()).sum(),
            )
        })
        .expect("the statement can be run")
    }
}

/// One VPC with one subnet that a NAT gateway leads out of.
fn knowledge(folder: &Path) -> Knowledge {
    let topology = folder.join("topology");
    std::fs::create_dir(&topology).expect("the folder takes folders");
    let world = json!({
        "Vpcs": [{"VpcId": "vpc-1", "OwnerId": "123456789012", "CidrBlock": "10.20.0.0/16"}],
        "Subnets": [{"SubnetId": "subnet-1", "VpcId": "vpc-1", "OwnerId": "123456789012", "CidrBlock": "10.20.0.0/20"}],
        "RouteTables": [{"RouteTableId": "rtb-1", "VpcId": "vpc-1", "Associations": [{"Main": true}], "Routes": [
            {"DestinationCidrBlock": "10.20.0.0/16", "GatewayId": "local", "State": "active"},
            {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "active"},
        ]}],
    });
    for (kind, records) in world.as_object().expect("it is one") {
        let file = topology.join(format!("{kind}.json"));
        let text = json!({ kind.as_str(): records }).to_string();
        std::fs::write(file, text).expect("the folder takes files");
    }
    let imported = import(&[topology], DateTime::UNIX_EPOCH).expect("the topology can be read");
    let settings = Settings::default();
    Knowledge {
        history: Arc::new(History::new(vec![imported.snapshot], settings.clone())),
        settings: Arc::new(settings),
        policy: Arc::new(Policy::default()),
    }
}

#[divan::bench]
fn one_address(bencher: Bencher<'_, '_>) {
    let fixture = Fixture::new();
    let statement = |address: &str| {
        format!(
            "SELECT start, srcaddr, dstaddr FROM flows WHERE srcaddr = '{address}' OR dstaddr = '{address}'"
        )
    };
    assert_eq!(fixture.rows(statement("203.0.113.1")), 0, "nobody has it");
    bencher.bench(|| assert!(fixture.rows(statement(logs::RARE)) > 0));
}

#[divan::bench]
fn count(bencher: Bencher<'_, '_>) {
    let fixture = Fixture::new();
    bencher.bench(|| assert_eq!(fixture.rows("SELECT count(*) FROM flows".to_owned()), 1));
}

#[divan::bench(sample_count = 10, sample_size = 1, args = ["egress_unexpected", "east_west_private", "reject_spike"])]
fn detection(bencher: Bencher<'_, '_>, id: &str) {
    let fixture = Fixture::new();
    let at =
        |seconds: u64| DateTime::from_timestamp(seconds.cast_signed(), 0).expect("it is a time");
    let window = Window {
        from: at(logs::START + DAY),
        to: at(logs::START + 2 * DAY),
    };
    let findings = || {
        let (lake, knowledge, name) = (
            fixture.lake.clone(),
            fixture.knowledge.clone(),
            id.to_owned(),
        );
        fixture.answer(async move {
            let session = Session::over_lake(&lake, &knowledge)
                .await
                .expect("the lake can be read");
            let catalog = Catalog::load(None).expect("the detections are ours");
            let detection = catalog.select(&[name]).expect("it is one of them")[0];
            let detected = run(&session, detection, window, &BTreeMap::new()).await;
            let findings = detected.expect("the detection can be run").findings;
            findings
                .into_iter()
                .map(|finding| finding.fingerprint)
                .collect::<Vec<_>>()
        })
    };
    let expected = findings();
    bencher.bench(|| assert_eq!(findings(), expected));
}
