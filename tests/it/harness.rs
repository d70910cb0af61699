//! What the tests stand on: a folder of their own, the binary in a clean environment, a small language for logs and for what
//! `aws ec2 describe-*` prints, and sessions over both.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use flowscout::ingest::{Ingest, IngestSummary};
use flowscout::lake::{Lake, LakeUri};
use flowscout::policy::Policy;
use flowscout::session::{Knowledge, Session};
use flowscout::source::{Location, S3Settings, Selection, Source};
use flowscout::topology::{History, Settings, import};
use serde_json::{Map, Value, json};

/// As in the binary: planning recurses deeply.
const STACK_BYTES: usize = 32 << 20;

/// Runs a future on a thread with the stack that the binary has.
pub(crate) fn block_on<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(runtime.spawn(future)) {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What others gave away and is no part of this project, where it is at hand.
pub(crate) fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("FLOWSCOUT_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    folder.is_dir().then_some(folder)
}

/// A time of a test, such as `2026-03-10T08:00:00Z`.
pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse()
        .unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// The rows of NDJSON output.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{self:?}")))
            .collect()
    }
}

/// A folder with `logs`, `topology` and the place of a `lake`, gone when the test is.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("logs")).unwrap();
        place
    }

    /// Leaves the folder where it is.
    pub(crate) fn keep(self) -> PathBuf {
        self.0.keep()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders on its way.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The binary, in this folder, with nothing of the developer's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowscout"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .env_clear()
            .env("HOME", self.0.path())
            .env("TMPDIR", self.0.path())
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// As [`run`](Self::run), against an S3 of the test.
    pub(crate) fn run_with(&self, s3: &crate::s3_server::S3Server, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        Ended::of(s3.apply(&mut command).output().unwrap())
    }

    /// The answer of a statement over the folder's lake.
    pub(crate) fn sql(&self, statement: &str) -> Vec<Value> {
        self.run(&["sql", "--lake", "lake", statement]).ok().rows()
    }

    pub(crate) async fn lake(&self) -> Lake {
        let uri = LakeUri::parse(self.path("lake").to_str().unwrap()).unwrap();
        Lake::open_or_create(&uri).await.unwrap()
    }

    /// Reads `logs` into `lake`.
    pub(crate) async fn ingest(&self) -> IngestSummary {
        ingest(&self.path("logs"), self.lake().await).await
    }

    /// What is known beside the flows: `topology` as of long ago, `snapshots/TIME` as of those times, and a policy.
    pub(crate) fn knowledge(&self, policy: Policy) -> Knowledge {
        let settings = Settings::default();
        let folder = self.path("topology");
        let mut snapshots = if folder.exists() {
            vec![import(&[folder], DateTime::UNIX_EPOCH).unwrap().snapshot]
        } else {
            Vec::new()
        };
        for folder in fs::read_dir(self.path("snapshots")).into_iter().flatten() {
            let folder = folder.unwrap();
            let name = folder.file_name().into_string().unwrap();
            let at = NaiveDateTime::parse_from_str(&name, "%Y%m%dT%H%M%SZ")
                .unwrap_or_else(|error| panic!("`{name}`: {error}"))
                .and_utc();
            snapshots.push(import(&[folder.path()], at).unwrap().snapshot);
        }
        Knowledge {
            history: Arc::new(History::new(snapshots, settings.clone())),
            settings: Arc::new(settings),
            policy: Arc::new(policy),
        }
    }

    /// A session over the lake.
    pub(crate) async fn session(&self) -> Session {
        let knowledge = self.knowledge(Policy::default());
        Session::over_lake(&self.lake().await, &knowledge)
            .await
            .unwrap()
    }
}

/// Reads a folder into a lake.
pub(crate) async fn ingest(logs: &Path, lake: Lake) -> IngestSummary {
    let location = Location::parse(logs.to_str().unwrap()).unwrap();
    let source = Source::open(location, &S3Settings::default())
        .await
        .unwrap();
    Ingest::new(lake)
        .run(vec![(source, Selection::default())], &())
        .await
        .unwrap()
}

/// A query's rows as JSON.
pub(crate) async fn rows(session: &Session, sql: &str) -> Vec<Value> {
    let batches = session.query(sql, Vec::new()).await.unwrap();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(Vec::new());
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    serde_json::from_slice::<Vec<Value>>(&writer.into_inner()).unwrap_or_default()
}

/// The default format of version 2.
pub(crate) const V2: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";

/// A custom format with what version 2 lacks.
pub(crate) const FULL: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status \
     vpc-id subnet-id tcp-flags type pkt-srcaddr pkt-dstaddr region flow-direction traffic-path";

/// One record, as a test says it.
#[derive(Debug, Clone)]
pub(crate) struct Flow(Map<String, Value>);

/// What an interface saw go from `address port` to `address port`: TCP, accepted, 10 packets of 100 bytes, a minute from
/// 2026-03-10 08:00.
pub(crate) fn flow(interface: &str, src: (&str, u16), dst: (&str, u16)) -> Flow {
    Flow(Map::new())
        .with("version", "7")
        .with("account-id", "111111111111")
        .with("region", "eu-west-1")
        .with("log-status", "OK")
        .with("interface-id", interface)
        .with("srcaddr", src.0)
        .with("srcport", src.1)
        .with("dstaddr", dst.0)
        .with("dstport", dst.1)
        .with("pkt-srcaddr", src.0)
        .with("pkt-dstaddr", dst.0)
        .with("protocol", 6)
        .with("packets", 10)
        .with("bytes", 1000)
        .with("action", "ACCEPT")
        .at("2026-03-10T08:00:00Z")
}

impl Flow {
    /// Any field by AWS's name.
    pub(crate) fn with(mut self, field: &str, value: impl ToString) -> Self {
        self.0.insert(field.to_owned(), value.to_string().into());
        self
    }

    /// The minute from this time on.
    pub(crate) fn at(self, start: &str) -> Self {
        let start = time(start).timestamp();
        self.with("start", start).with("end", start + 59)
    }

    pub(crate) fn bytes(self, packets: u64, bytes: u64) -> Self {
        self.with("packets", packets).with("bytes", bytes)
    }

    pub(crate) fn egress(self) -> Self {
        self.with("flow-direction", "egress")
    }

    pub(crate) fn ingress(self) -> Self {
        self.with("flow-direction", "ingress")
    }

    pub(crate) fn reject(self) -> Self {
        self.with("action", "REJECT")
    }

    pub(crate) fn flags(self, flags: u8) -> Self {
        self.with("tcp-flags", flags)
    }

    /// The packet's own addresses, where the interface is not an end.
    pub(crate) fn packet(self, src: &str, dst: &str) -> Self {
        self.with("pkt-srcaddr", src).with("pkt-dstaddr", dst)
    }

    fn line(&self, format: &str) -> String {
        let value = |field: &str| match field {
            "version" if format == V2 => "2".to_owned(),
            _ => self
                .0
                .get(field)
                .map_or("-".to_owned(), |value| value.as_str().unwrap().to_owned()),
        };
        let values: Vec<String> = format.split_whitespace().map(value).collect();
        values.join(" ")
    }
}

/// A log with its header.
pub(crate) fn log(format: &str, flows: &[Flow]) -> String {
    let mut text = format!(
        "{}\n",
        format.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    for flow in flows {
        text.push_str(&flow.line(format));
        text.push('\n');
    }
    text
}

/// What EC2 prints about a made-up network.
#[derive(Debug, Default, Clone)]
pub(crate) struct World(Map<String, Value>);

impl World {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(mut self, kind: &str, record: Value) -> Self {
        let list = self.0.entry(kind).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(record);
        self
    }

    pub(crate) fn vpc(self, id: &str, cidr: &str) -> Self {
        let record = json!({"VpcId": id, "OwnerId": "111111111111", "CidrBlock": cidr,
            "CidrBlockAssociationSet": [{"CidrBlock": cidr, "CidrBlockState": {"State": "associated"}}]});
        self.add("Vpcs", record)
    }

    /// A VPC with an IPv6 block too.
    pub(crate) fn vpc6(self, id: &str, cidr: &str, cidr6: &str) -> Self {
        let record = json!({"VpcId": id, "OwnerId": "111111111111", "CidrBlock": cidr,
            "CidrBlockAssociationSet": [{"CidrBlock": cidr, "CidrBlockState": {"State": "associated"}}],
            "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": cidr6, "Ipv6CidrBlockState": {"State": "associated"}}]});
        self.add("Vpcs", record)
    }

    /// A subnet with a route table of its own: `(destination, target)`.
    pub(crate) fn subnet(
        self,
        id: &str,
        vpc: &str,
        cidrs: &[&str],
        routes: &[(&str, &str)],
    ) -> Self {
        let (v6, v4): (Vec<&str>, Vec<&str>) = cidrs.iter().partition(|cidr| cidr.contains(':'));
        let v6: Vec<Value> = v6
            .iter()
            .map(|cidr| json!({"Ipv6CidrBlock": cidr, "Ipv6CidrBlockState": {"State": "associated"}}))
            .collect();
        let routes: Vec<Value> = routes
            .iter()
            .map(|(to, target)| route(to, target))
            .collect();
        self.add(
            "Subnets",
            json!({"SubnetId": id, "VpcId": vpc, "OwnerId": "111111111111", "AvailabilityZone": "eu-west-1a",
                "CidrBlock": v4.first(), "Ipv6CidrBlockAssociationSet": v6}),
        )
        .add(
            "RouteTables",
            json!({"RouteTableId": format!("rtb-of-{id}"), "VpcId": vpc, "Routes": routes,
                "Associations": [{"Main": false, "SubnetId": id, "AssociationState": {"State": "associated"}}]}),
        )
    }

    pub(crate) fn interface(self, id: &str, vpc: &str, subnet: &str, addrs: &[&str]) -> Self {
        self.interface_of("interface", id, vpc, subnet, addrs)
    }

    pub(crate) fn interface_of(
        self,
        kind: &str,
        id: &str,
        vpc: &str,
        subnet: &str,
        addrs: &[&str],
    ) -> Self {
        let (v6, v4): (Vec<&str>, Vec<&str>) = addrs.iter().partition(|addr| addr.contains(':'));
        let private: Vec<Value> = v4
            .iter()
            .map(|addr| json!({"PrivateIpAddress": addr}))
            .collect();
        let v6: Vec<Value> = v6.iter().map(|addr| json!({"Ipv6Address": addr})).collect();
        self.add(
            "NetworkInterfaces",
            json!({"NetworkInterfaceId": id, "VpcId": vpc, "SubnetId": subnet, "OwnerId": "111111111111",
                "InterfaceType": kind, "PrivateIpAddress": v4.first(), "PrivateIpAddresses": private, "Ipv6Addresses": v6}),
        )
    }

    pub(crate) fn internet_gateway(self, id: &str, vpc: &str) -> Self {
        self.add(
            "InternetGateways",
            json!({"InternetGatewayId": id, "Attachments": [{"State": "available", "VpcId": vpc}]}),
        )
    }

    /// A NAT gateway `nat-NAME` with its interface `eni-NAME`.
    pub(crate) fn nat(self, name: &str, vpc: &str, subnet: &str, addr: &str, public: &str) -> Self {
        let interface = format!("eni-{name}");
        self.interface_of("nat_gateway", &interface, vpc, subnet, &[addr])
            .add(
                "NatGateways",
                json!({"NatGatewayId": format!("nat-{name}"), "VpcId": vpc, "SubnetId": subnet, "State": "available",
                    "ConnectivityType": "public", "NatGatewayAddresses":
                    [{"NetworkInterfaceId": interface, "PrivateIp": addr, "PublicIp": public, "Status": "succeeded"}]}),
            )
    }

    pub(crate) fn peering(self, id: &str, requester: (&str, &str), accepter: (&str, &str)) -> Self {
        let side = |(vpc, cidr): (&str, &str)| {
            json!({"VpcId": vpc, "CidrBlock": cidr, "OwnerId": "111111111111",
            "CidrBlockSet": [{"CidrBlock": cidr}]})
        };
        self.add(
            "VpcPeeringConnections",
            json!({"VpcPeeringConnectionId": id, "Status": {"Code": "active"},
                "RequesterVpcInfo": side(requester), "AccepterVpcInfo": side(accepter)}),
        )
    }

    /// The security groups of the last interface.
    pub(crate) fn carrying(mut self, groups: &[&str]) -> Self {
        let groups: Vec<Value> = groups.iter().map(|id| json!({"GroupId": id})).collect();
        let interfaces = self.0["NetworkInterfaces"].as_array_mut().unwrap();
        interfaces.last_mut().unwrap()["Groups"] = groups.into();
        self
    }

    /// The same world, and nobody asked for this kind.
    pub(crate) fn without(mut self, kind: &str) -> Self {
        self.0.remove(kind);
        self
    }

    /// Writes one file for each kind, as the AWS CLI would.
    pub(crate) fn put(&self, place: &Place) {
        self.put_in(place, "topology");
    }

    /// The same in another folder, such as that of a snapshot.
    pub(crate) fn put_in(&self, place: &Place, folder: &str) {
        for (kind, records) in &self.0 {
            let mut document = Map::new();
            document.insert(kind.clone(), records.clone());
            place.put(
                &format!("{folder}/{kind}.json"),
                Value::Object(document).to_string(),
            );
        }
    }
}

fn route(destination: &str, target: &str) -> Value {
    let to = if destination.contains(':') {
        "DestinationIpv6CidrBlock"
    } else {
        "DestinationCidrBlock"
    };
    let by = match target.split('-').next().unwrap() {
        "nat" => "NatGatewayId",
        "pcx" => "VpcPeeringConnectionId",
        "tgw" => "TransitGatewayId",
        "eigw" => "EgressOnlyInternetGatewayId",
        _ => "GatewayId",
    };
    json!({to: destination, by: target, "State": "active", "Origin": "CreateRoute"})
}
