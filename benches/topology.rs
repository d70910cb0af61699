//! What an address means in a very large organization: a thousand VPCs that reuse the same CIDRs, 100,000 subnets, a million interfaces.
//!
//! Fixture: what EC2 would print of them, 200 MB of JSON, imported once. Command: `cargo bench --bench topology`. Prints the memory that
//! the process has then. Interfaces are taken in an order that finds little in a cache: of a thousand, as the records of one object name,
//! or of all.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::DateTime;
use divan::{Bencher, black_box};
use flowscout::topology::{History, IpRanges, Network, Scope, Settings, Vantage, import};

const VPCS: usize = 1000;
const SUBNETS: usize = 100;
const INTERFACES: usize = 10;
const ALL: usize = VPCS * SUBNETS * INTERFACES;

/// An odd step that visits every interface, far from the one before.
const STEP: usize = 7_368_787;

static HISTORY: LazyLock<History> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    write(folder.path());
    let imported = import(&[folder.path().to_owned()], DateTime::UNIX_EPOCH);
    let snapshot = imported.expect("the topology is EC2's").snapshot;
    let settings = Settings {
        ip_ranges: IpRanges::built_in(),
        ..Settings::default()
    };
    let history = History::new(vec![snapshot], settings);
    assert_eq!(history.latest().subnets().len(), VPCS * SUBNETS);
    assert_eq!(history.latest().interfaces().len(), ALL);
    if let Some(resident) = resident() {
        writeln!(io::stderr(), "the process has {} MiB", resident >> 10).ok();
    }
    history
});

/// The memory of this process in KiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn write(folder: &Path) {
    let (mut vpcs, mut subnets, mut interfaces, mut tables, mut gateways) = (
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    );
    for vpc in 0..VPCS {
        let net = vpc % 200;
        record(
            &mut vpcs,
            &format!(
                r#"{{"VpcId":"vpc-{vpc:08x}","OwnerId":"{:012}","CidrBlock":"10.{net}.0.0/16"}}"#,
                vpc / 10
            ),
        );
        record(
            &mut gateways,
            &format!(
                r#"{{"InternetGatewayId":"igw-{vpc:08x}","Attachments":[{{"State":"available","VpcId":"vpc-{vpc:08x}"}}]}}"#
            ),
        );
        let associations: Vec<String> = (0..SUBNETS)
            .filter(|subnet| subnet % 2 == 0)
            .map(|subnet| {
                format!(
                    r#"{{"Main":false,"SubnetId":"subnet-{:08x}"}}"#,
                    vpc * SUBNETS + subnet
                )
            })
            .collect();
        let local = format!(
            r#"{{"DestinationCidrBlock":"10.{net}.0.0/16","GatewayId":"local","State":"active"}}"#
        );
        record(
            &mut tables,
            &format!(
                r#"{{"RouteTableId":"rtb-{vpc:08x}","VpcId":"vpc-{vpc:08x}","Associations":[{}],"Routes":[{local},{{"DestinationCidrBlock":"0.0.0.0/0","GatewayId":"igw-{vpc:08x}","State":"active"}}]}}"#,
                associations.join(",")
            ),
        );
        record(
            &mut tables,
            &format!(
                r#"{{"RouteTableId":"rtb-{:08x}","VpcId":"vpc-{vpc:08x}","Associations":[{{"Main":true}}],"Routes":[{local}]}}"#,
                VPCS + vpc
            ),
        );
        for subnet in 0..SUBNETS {
            let id = vpc * SUBNETS + subnet;
            record(
                &mut subnets,
                &format!(
                    r#"{{"SubnetId":"subnet-{id:08x}","VpcId":"vpc-{vpc:08x}","CidrBlock":"10.{net}.{subnet}.0/24"}}"#
                ),
            );
            for host in 0..INTERFACES {
                let number = id * INTERFACES + host;
                record(
                    &mut interfaces,
                    &format!(
                        r#"{{"NetworkInterfaceId":"eni-{number:08x}","VpcId":"vpc-{vpc:08x}","SubnetId":"subnet-{id:08x}","InterfaceType":"interface","PrivateIpAddress":"10.{net}.{subnet}.{}"}}"#,
                        host + 10
                    ),
                );
            }
        }
    }
    for (kind, records) in [
        ("Vpcs", vpcs),
        ("Subnets", subnets),
        ("NetworkInterfaces", interfaces),
        ("RouteTables", tables),
        ("InternetGateways", gateways),
    ] {
        let text = format!(r#"{{"{kind}":[{records}]}}"#);
        std::fs::write(folder.join(format!("{kind}.json")), text).expect("the folder takes files");
    }
}

fn record(list: &mut String, record: &str) {
    let comma = if list.is_empty() { "" } else { "," };
    // Writing into a String cannot fail.
    write!(list, "{comma}{record}").ok();
}

fn main() {
    LazyLock::force(&HISTORY);
    divan::main();
}

/// Finds who recorded a flow, from one interface after the other.
#[divan::bench(args = [1000, ALL], sample_size = 10_000, sample_count = 50)]
fn the_recorder(bencher: Bencher<'_, '_>, interfaces: usize) {
    let network: &Network = HISTORY.latest();
    let ids: Vec<String> = (0..interfaces)
        .map(|number| format!("eni-{number:08x}"))
        .collect();
    let next = AtomicUsize::new(0);
    bencher.bench(|| {
        let number = next.fetch_add(STEP, Ordering::Relaxed) % ids.len();
        let vantage = network.vantage(Some(black_box(&ids[number])), None, None, None, None);
        assert!(vantage.subnet.is_some());
    });
}

/// Resolves an address, from one interface's place after the other.
fn resolve(
    bencher: Bencher<'_, '_>,
    interfaces: usize,
    far: impl Fn(usize) -> IpAddr + Sync,
    scope: Scope,
) {
    let network: &Network = HISTORY.latest();
    let vantages: Vec<Vantage<'_>> = (0..interfaces)
        .map(|number| {
            let id = format!("eni-{number:08x}");
            network.vantage(Some(&id), None, None, None, None)
        })
        .collect();
    let next = AtomicUsize::new(0);
    bencher.bench(|| {
        let number = next.fetch_add(STEP, Ordering::Relaxed) % vantages.len();
        let endpoint = network.resolve(&vantages[number], black_box(far(number)));
        assert_eq!(endpoint.scope, scope);
        endpoint.subnet.is_some()
    });
}

/// The `10.x` of an interface's VPC.
fn net_of(number: usize) -> u8 {
    u8::try_from(number / INTERFACES / SUBNETS % 200).unwrap_or_default()
}

#[divan::bench(args = [1000, ALL], sample_size = 10_000, sample_count = 50)]
fn a_neighbour(bencher: Bencher<'_, '_>, interfaces: usize) {
    let far = |number| IpAddr::from([10, net_of(number), 57, 14]);
    resolve(bencher, interfaces, far, Scope::Vpc);
}

#[divan::bench(args = [1000, ALL], sample_size = 10_000, sample_count = 50)]
fn an_address_without_an_interface(bencher: Bencher<'_, '_>, interfaces: usize) {
    let far = |number| IpAddr::from([10, net_of(number), 99, 200]);
    resolve(bencher, interfaces, far, Scope::Vpc);
}

#[divan::bench(args = [1000, ALL], sample_size = 10_000, sample_count = 50)]
fn the_internet(bencher: Bencher<'_, '_>, interfaces: usize) {
    let far = |_| IpAddr::from([192, 0, 2, 9]);
    resolve(bencher, interfaces, far, Scope::Internet);
}
