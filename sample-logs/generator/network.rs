//! The network as `topology/` describes it, and the addresses of the outside world.

use std::net::IpAddr;
use std::sync::LazyLock;

use serde_json::Value;

const ACCOUNTS: [&str; 2] = ["111122223333", "444455556666"];

/// The records that `aws ec2 describe-…` printed for each account.
macro_rules! described {
    ($file:literal, $key:literal) => {{
        let files = [
            include_str!(concat!("../topology/111122223333/", $file)),
            include_str!(concat!("../topology/444455556666/", $file)),
        ];
        ACCOUNTS.into_iter().zip(files).flat_map(|(account, text)| {
            let document: Value = serde_json::from_str(text).expect("the topology is JSON");
            let records = document[$key].as_array().expect("a list, as AWS prints it");
            records
                .iter()
                .map(move |record| (account, record.clone()))
                .collect::<Vec<_>>()
        })
    }};
}

/// A network interface, with what its records say of where it is.
#[derive(PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) id: String,
    /// None if AWS manages it: a NAT gateway's, a load balancer's.
    pub(crate) instance_id: Option<String>,
    pub(crate) is_nat: bool,
    pub(crate) account: &'static str,
    pub(crate) vpc_id: String,
    pub(crate) subnet_id: String,
    /// The subnet's tag: public, app, data or build.
    pub(crate) tier: String,
    pub(crate) zone_id: String,
    pub(crate) addr: IpAddr,
    pub(crate) addr_v6: Option<IpAddr>,
}

static INTERFACES: LazyLock<Vec<Interface>> = LazyLock::new(|| {
    let subnets: Vec<_> = described!("describe-subnets.json", "Subnets").collect();
    let interface = |(account, record): (&'static str, Value)| {
        let id = &record["SubnetId"];
        let (_, subnet) = subnets
            .iter()
            .find(|(_, subnet)| subnet["SubnetId"] == *id)
            .expect("its subnet");
        Interface {
            name: tag(&record["TagSet"], "Name"),
            id: text(&record["NetworkInterfaceId"]),
            instance_id: record["Attachment"]["InstanceId"]
                .as_str()
                .map(str::to_owned),
            is_nat: record["InterfaceType"] == "nat_gateway",
            account,
            vpc_id: text(&record["VpcId"]),
            subnet_id: text(id),
            tier: tag(&subnet["Tags"], "Tier"),
            zone_id: text(&subnet["AvailabilityZoneId"]),
            addr: text(&record["PrivateIpAddress"])
                .parse()
                .expect("an address"),
            addr_v6: record["Ipv6Addresses"][0]["Ipv6Address"]
                .as_str()
                .and_then(|addr| addr.parse().ok()),
        }
    };
    described!("describe-network-interfaces.json", "NetworkInterfaces")
        .map(interface)
        .collect()
});

/// The interface whose `Name` tag that is.
pub(crate) fn named(name: &str) -> &'static Interface {
    INTERFACES
        .iter()
        .find(|interface| interface.name == name)
        .expect("a name in the topology")
}

impl Interface {
    /// The NAT gateway through which it leaves over IPv4: its zone's, else the VPC's only one.
    pub(crate) fn nat(&self) -> Option<&'static Interface> {
        let is_behind = matches!(self.tier.as_str(), "app" | "build");
        let nats = || {
            INTERFACES
                .iter()
                .filter(|other| other.is_nat && other.vpc_id == self.vpc_id)
        };
        let near = nats()
            .find(|nat| nat.zone_id == self.zone_id)
            .or_else(|| nats().next());
        near.filter(|_| is_behind)
    }

    /// S3 from production's app subnets goes through the gateway endpoint.
    pub(crate) fn has_endpoint_for(&self, addr: IpAddr) -> bool {
        self.vpc_id == named("app-a").vpc_id
            && self.tier == "app"
            && aws_service(addr) == Some("S3")
    }
}

/// A flow log: what `create-flow-logs` was asked for.
pub(crate) struct FlowLog {
    pub(crate) id: String,
    pub(crate) account: &'static str,
    /// The VPC or subnet whose interfaces it records, from this time on.
    pub(crate) resource_id: String,
    pub(crate) created: String,
    pub(crate) fields: Vec<String>,
    pub(crate) is_parquet: bool,
    pub(crate) is_hive_hourly: bool,
}

pub(crate) fn flow_logs() -> Vec<FlowLog> {
    let flow_log = |(account, record): (&'static str, Value)| FlowLog {
        id: text(&record["FlowLogId"]),
        account,
        resource_id: text(&record["ResourceId"]),
        created: text(&record["CreationTime"]),
        fields: text(&record["LogFormat"])
            .replace(['$', '{', '}'], "")
            .split(' ')
            .map(str::to_owned)
            .collect(),
        is_parquet: record["DestinationOptions"]["FileFormat"] == "parquet",
        is_hive_hourly: record["DestinationOptions"]["PerHourPartition"] == true,
    };
    described!("describe-flow-logs.json", "FlowLogs")
        .map(flow_log)
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text, as AWS prints it").to_owned()
}

fn tag(tags: &Value, key: &str) -> String {
    let found = tags
        .as_array()
        .and_then(|tags| tags.iter().find(|tag| tag["Key"] == key));
    text(&found.expect("every resource has its tags")["Value"])
}

// Strangers live in the ranges that are reserved for documentation (RFC 5737, RFC 3849).
pub(crate) const MIRROR: &str = "203.0.113.40";
pub(crate) const MIRROR_V6: &str = "2001:db8:4d::40";
pub(crate) const CODE_HOST: &str = "203.0.113.60";
pub(crate) const OWN_SCANNER: &str = "203.0.113.200";
pub(crate) const PAYMENTS: &str = "198.51.100.140";
pub(crate) const TIME: &str = "198.51.100.123";
pub(crate) const FORMER_VISITOR: &str = "198.51.100.222";
pub(crate) const CONTROL: &str = "192.0.2.201";
pub(crate) const COLLECTOR_V6: &str = "2001:db8:bad:f00d::53";

// AWS services have addresses of their real ranges in us-east-1, because those are looked up.
/// 52.216.0.0/15 and 54.231.0.0/16.
pub(crate) const S3: [&str; 3] = ["52.216.10.20", "52.217.88.6", "54.231.130.5"];
/// 52.94.0.0/22 and 52.119.224.0/21.
pub(crate) const DYNAMODB: [&str; 2] = ["52.94.0.40", "52.119.228.10"];
/// In 52.46.128.0/19, which is listed as `AMAZON` only.
pub(crate) const SESSION_MANAGER: &str = "52.46.130.10";

/// The service that a record names for an address, as `pkt-dst-aws-service` does.
pub(crate) fn aws_service(addr: IpAddr) -> Option<&'static str> {
    let addr = addr.to_string();
    let of = |list: &[&str]| list.contains(&addr.as_str());
    match () {
        () if of(&S3) => Some("S3"),
        () if of(&DYNAMODB) => Some("DYNAMODB"),
        () => of(&[SESSION_MANAGER]).then_some("AMAZON"),
    }
}
