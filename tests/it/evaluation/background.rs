//! What goes on every day: who calls whom for work, and the policy that the company wrote down of it.

use std::net::{IpAddr, Ipv4Addr};

use super::calendar::{Busy, DAY, HOUR, weekday};
use super::company::{Company, Expect};
use super::internet::{OF_SERVICES, away, noise, talkative, visits};
use super::traffic::Party::{self, Away, Container, Host, Six};
use super::traffic::{Habit, Traffic, talk};
use crate::harness::Place;
use crate::truth::conversations::{TCP, UDP};
use crate::truth::world::{LAB, PLANT, Role, SHOP, TOOLS, TWIN, s3};

pub(super) const MIRROR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 40);

/// What each VPC's apps ask their databases and caches on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) database: u16,
    pub(super) cache: u16,
}

/// What incidents and decoys have to know of everyday life.
pub(super) struct Life {
    /// By VPC.
    pub(super) ports: Vec<Ports>,
    /// The services that the apps of a zone use, by VPC and zone.
    pub(super) services: Vec<[Vec<Ipv4Addr>; 2]>,
    /// The host that came on the window's day.
    pub(super) newcomer: usize,
    /// One that came after the topology was asked for.
    pub(super) unknown: usize,
}

pub(super) fn hosts(nodes: &[usize]) -> Vec<Party> {
    nodes.iter().map(|&node| Host(node)).collect()
}

/// Everyday life; the topology is written before the last host comes.
pub(super) fn live(company: &mut Company, traffic: &mut Traffic, place: &Place) -> Life {
    let ports: Vec<Ports> = (0..company.world.vpcs.len())
        .map(|_| Ports {
            database: traffic.random.pick(&[5432, 3306, 1433, 1521]),
            cache: traffic.random.pick(&[6379, 9092, 27_017, 9200]),
        })
        .collect();
    let mut host = 50u8;
    let mut four = || -> Vec<Ipv4Addr> {
        host += 4;
        (0..4)
            .map(|number| Ipv4Addr::new(192, 0, 2, host + number))
            .collect()
    };
    let services: Vec<[Vec<Ipv4Addr>; 2]> =
        ports.iter().map(|_| [four(), four()]).take(5).collect();
    for vpc in company.with_public() {
        visits(company, traffic, vpc);
        noise(company, traffic, vpc);
    }
    for vpc in company.with_private() {
        databases(company, traffic, vpc, ports[vpc]);
    }
    for vpc in [SHOP, TWIN, TOOLS, LAB] {
        egress(company, traffic, vpc, &services[vpc]);
    }
    company_wide(company, traffic);
    talkative(company, traffic);
    let newcomer = autoscale(company, traffic, ports[SHOP], &services[SHOP][0]);
    company.world.put(place);
    let unknown = late_host(company, traffic, ports[SHOP], &services[SHOP][1]);
    Life {
        unknown,
        ports,
        services,
        newcomer,
    }
}

fn expect_pair(
    company: &mut Company,
    from: &[String],
    to: &[String],
    (port, protocol): (u16, u8),
    reason: &'static str,
) {
    company.expect(Expect {
        detection: "east_west_private",
        subnets: from.to_vec(),
        remote: to.to_vec(),
        port,
        protocol,
        reason,
        ..Expect::default()
    });
}

/// Apps and their databases, caches, resolvers.
fn databases(company: &mut Company, traffic: &mut Traffic, vpc: usize, ports: Ports) {
    let nodes = |role: Role, zone: usize| company.hosts(vpc, role, zone);
    let ids = |role: Role, zone: usize| company.subnet_id(vpc, role, zone);
    let (app, data) = (
        [nodes(Role::App, 0), nodes(Role::App, 1)],
        [nodes(Role::Data, 0), nodes(Role::Data, 1)],
    );
    let (app_ids, data_ids) = (
        [ids(Role::App, 0), ids(Role::App, 1)],
        [ids(Role::Data, 0), ids(Role::Data, 1)],
    );
    let apps = hosts(&app.concat());
    let everyone = hosts(&[app.concat(), data.concat()].concat());
    let resolver = [Host(app[0][3])];
    let database = [Host(data[0][0])];
    let habits = [
        Habit::new(&apps, &database, ports.database, 60),
        Habit::new(&hosts(&app[0]), &[Host(data[0][1])], ports.cache, 30),
        Habit::new(&hosts(&app[1]), &[Host(data[1][1])], ports.cache, 30),
        Habit::new(&[Host(data[1][0])], &database, ports.database, 12)
            .like(|talk| talk.lasting(900)),
        Habit::new(&hosts(&app[0]), &hosts(&app[1]), 8443, 20),
        Habit::new(&hosts(&app[1]), &hosts(&app[0]), 50_051, 20),
        Habit::new(
            &[Container(app[0][2], 3), Container(app[1][2], 9)],
            &database,
            ports.database,
            12,
        ),
        Habit::new(&everyone, &resolver, 53, 60).udp(),
        // Within a subnet.
        Habit::new(&hosts(&data[0][..2]), &hosts(&data[0][2..4]), 7946, 10),
    ];
    for habit in habits {
        habit.live(company, traffic);
    }
    // A connection that was open before the logs begin and stays so.
    let days = traffic.calendar.days;
    let mut pool = talk(
        apps[0],
        database[0],
        ports.database,
        traffic.calendar.first + 600,
    )
    .lasting(days * DAY - HOUR)
    .sending(days * 24, days * 24 * 300)
    .getting(days * 24, days * 24 * 900);
    pool.mid = true;
    traffic.add(company, pool);
    let (all_app, all_ids) = (
        app_ids.clone(),
        [app_ids.clone(), data_ids.clone()].concat(),
    );
    let database = (ports.database, TCP);
    let to_data = std::slice::from_ref(&data_ids[0]);
    expect_pair(company, &all_app, to_data, database, "apps keep orders");
    for zone in 0..2 {
        let from = std::slice::from_ref(&app_ids[zone]);
        let to = std::slice::from_ref(&data_ids[zone]);
        let reason = "a cache serves its own zone";
        expect_pair(company, from, to, (ports.cache, TCP), reason);
    }
    let standby = std::slice::from_ref(&data_ids[1]);
    expect_pair(company, standby, to_data, database, "the standby's copy");
    let (one, other) = app_ids.split_at(1);
    expect_pair(company, one, other, (8443, TCP), "apps call each other");
    expect_pair(company, other, one, (50_051, TCP), "and back");
    expect_pair(company, &all_ids, one, (53, UDP), "our own resolver");
}

/// Mirrors, services, AWS, clocks.
fn egress(company: &mut Company, traffic: &mut Traffic, vpc: usize, services: &[Vec<Ipv4Addr>; 2]) {
    let region = company.world.vpcs[vpc].region;
    let elsewhere = if region == "eu-west-1" {
        "us-east-1"
    } else {
        "eu-west-1"
    };
    let in_s3 = |region: &str, traffic: &mut Traffic| -> Vec<Party> {
        let [a, b, ..] = s3(region).network().octets();
        let mut octet = |most: i64| u8::try_from(traffic.random.between(1, most)).unwrap();
        (0..40)
            .map(|_| Away(Ipv4Addr::new(a, b, octet(100), octet(250)).into()))
            .collect()
    };
    let (near, far) = (in_s3(region, traffic), in_s3(elsewhere, traffic));
    let one = |addr: Ipv4Addr| [Away(addr.into())];
    let [.., host] = services[0][0].octets();
    let clock = one(Ipv4Addr::new(192, 0, 2, 123));
    for (zone, services) in services.iter().enumerate() {
        let apps = hosts(&company.hosts(vpc, Role::App, zone));
        let mut habits = vec![
            Habit::new(&apps, &one(MIRROR), 443, 0).when(Busy::Daily(3)),
            Habit::new(&apps, &near, 443, 20),
            Habit::new(&apps, &far, 443, 6),
            Habit::new(&apps, &clock, 123, 12)
                .udp()
                .like(|talk| talk.out_of_port(123)),
            // Another customer's machine, which the company has used for long.
            Habit::new(&apps, &one(Ipv4Addr::new(3, 248, 7, host)), 443, 8),
            Habit::new(
                &apps[..1],
                &one(Ipv4Addr::new(192, 0, 2, 30 + host % 8)),
                22,
                0,
            )
            .when(Busy::Daily(1)),
            Habit::new(
                &apps[1..2],
                &one(Ipv4Addr::new(192, 0, 2, 20 + host % 8)),
                9443,
                0,
            )
            .when(Busy::Weekly(10)),
        ];
        for &service in services {
            habits.push(Habit::new(&apps, &one(service), 443, 8));
        }
        if vpc == SHOP {
            // A network for content, of which each call gets another address.
            habits.push(Habit::new(&apps, &away(OF_SERVICES, 192..=223), 443, 20));
            let with_six = &company.hosts(vpc, Role::App, zone)[..4];
            let six: Vec<Party> = with_six.iter().map(|&node| Six(node)).collect();
            let mirror6 = [Away(IpAddr::from([0x2001, 0xdb8, 0x4d, 0, 0, 0, 0, 0x40]))];
            habits.push(Habit::new(&six, &mirror6, 443, 0).when(Busy::Daily(3)));
        }
        for habit in habits {
            habit.live(company, traffic);
        }
    }
    if vpc == SHOP {
        let apps = [0, 1].map(|zone| company.subnet_id(vpc, Role::App, zone));
        for (remote, reason) in [
            ("192.0.2.192/27", "pictures come from a content network"),
            ("192.0.2.40/32", "every host installs its updates"),
        ] {
            company.expect(Expect {
                detection: "egress_unexpected",
                subnets: apps.to_vec(),
                remote: vec![remote.to_owned()],
                port: 443,
                protocol: TCP,
                reason,
                ..Expect::default()
            });
        }
    }
}

/// The host that watches all others, and the one that deploys to them.
pub(super) fn monitor(company: &Company) -> usize {
    company.hosts(TOOLS, Role::App, 0)[0]
}

pub(super) fn runner(company: &Company) -> usize {
    company.hosts(TOOLS, Role::App, 1)[1]
}

/// What crosses VPCs.
fn company_wide(company: &mut Company, traffic: &mut Traffic) {
    let all = |vpc: usize, role: Role| -> Vec<Party> {
        hosts(&[company.hosts(vpc, role, 0), company.hosts(vpc, role, 1)].concat())
    };
    let watched = [
        all(SHOP, Role::App),
        all(PLANT, Role::App),
        all(PLANT, Role::Data),
    ]
    .concat();
    let (monitor, runner) = ([Host(monitor(company))], [Host(runner(company))]);
    let office: Vec<Party> = (1..=9)
        .map(|host| Away(Ipv4Addr::new(192, 168, 7, host).into()))
        .collect();
    let plant0 = hosts(&company.hosts(PLANT, Role::App, 0));
    let lab0 = hosts(&company.hosts(LAB, Role::App, 0));
    let habits = [
        Habit::new(&monitor, &watched, 9100, 200).like(|talk| talk.sending(5, 420)),
        Habit::new(&monitor, &watched, 0, 60).like(|talk| talk.over(1).out_of_port(0)),
        Habit::new(&runner, &all(SHOP, Role::App), 22, 30).when(Busy::Office),
        Habit::new(&runner, &all(PLANT, Role::App), 22, 20).when(Busy::Office),
        Habit::new(
            &runner,
            &hosts(&company.hosts(PLANT, Role::Data, 0)),
            8140,
            0,
        )
        .when(Busy::Daily(13)),
        Habit::new(&all(TWIN, Role::App), &plant0, 8443, 20),
        Habit::new(&plant0, &lab0, 443, 20),
        Habit::new(&office, &plant0, 443, 24).when(Busy::Office),
    ];
    for habit in habits {
        habit.live(company, traffic);
    }
    let id = |node: &[Party]| match node[0] {
        Host(node) => company.world.nodes[node].id.clone(),
        _ => unreachable!("a host of ours"),
    };
    let (monitor, runner) = (id(&monitor), id(&runner));
    let ids = |vpc: usize, role: Role| [0, 1].map(|zone| company.subnet_id(vpc, role, zone));
    let (shop, plant) = (ids(SHOP, Role::App), ids(PLANT, Role::App));
    let data = ids(PLANT, Role::Data);
    let twin = ids(TWIN, Role::App);
    let lab = company.subnet_id(LAB, Role::App, 0);
    let last_day = traffic.calendar.window() - DAY;
    let last_day = chrono::DateTime::from_timestamp(last_day, 0).unwrap();
    let by = |interface: &str, remote: &[&[String]], port: u16, reason: &'static str| Expect {
        detection: "east_west_private",
        interfaces: vec![interface.to_owned()],
        remote: remote.concat(),
        port,
        protocol: TCP,
        reason,
        ..Expect::default()
    };
    let entries = [
        by(
            &monitor,
            &[&shop, &plant, &data],
            9100,
            "the monitor watches all hosts",
        ),
        by(&runner, &[&shop, &plant], 22, "deployments"),
        Expect {
            detection: "east_west_admin_ports",
            ..by(&runner, &[&shop, &plant], 22, "deployments")
        },
        Expect {
            until: Some(last_day.format("%Y-%m-%d").to_string()),
            ..by(
                &runner,
                &[&data[..1]],
                8140,
                "the old jobs, moved by yesterday",
            )
        },
    ];
    for entry in entries {
        company.expect(entry);
    }
    let (plant, lab) = (&plant[..1], std::slice::from_ref(&lab));
    expect_pair(company, &twin, plant, (8443, TCP), "shops order parts");
    expect_pair(company, plant, lab, (443, TCP), "the plant orders tests");
}

/// A host of the window's day that does as its neighbours do, and that no topology knows.
fn late_host(
    company: &mut Company,
    traffic: &mut Traffic,
    ports: Ports,
    services: &[Ipv4Addr],
) -> usize {
    let subnet = company.subnet(SHOP, Role::App, 1);
    let database = Host(company.hosts(SHOP, Role::Data, 0)[0]);
    let node = company.add_host(subnet, 95, &mut traffic.random);
    for hour in 8..20 {
        let service = Away(traffic.random.pick(services).into());
        let at = traffic.calendar.at(hour, traffic.random.between(0, 25));
        traffic.add(company, talk(Host(node), service, 443, at));
        let at = traffic.calendar.at(hour, traffic.random.between(30, 55));
        traffic.add(company, talk(Host(node), database, ports.database, at));
    }
    node
}

/// A host more in the shop for each day's office hours; says which came on the window's day.
fn autoscale(
    company: &mut Company,
    traffic: &mut Traffic,
    ports: Ports,
    services: &[Ipv4Addr],
) -> usize {
    let subnet = company.subnet(SHOP, Role::App, 0);
    let database = Host(company.hosts(SHOP, Role::Data, 0)[0]);
    let balancer = Host(company.hosts(SHOP, Role::Public, 0)[0]);
    let mut last = 0;
    for day in 0..traffic.calendar.days {
        let host = 150 + u8::try_from(day % 60).unwrap();
        let node = company.add_host(subnet, host, &mut traffic.random);
        last = node;
        let midnight = traffic.calendar.first + day * DAY;
        let calls = if weekday(midnight) < 5 { 24 } else { 6 };
        for _ in 0..calls {
            let at = midnight + traffic.random.between(9 * HOUR, 17 * HOUR);
            let service = traffic.random.pick(services);
            let talk = match traffic.random.between(0, 2) {
                0 => talk(Host(node), Away(service.into()), 443, at),
                1 => talk(Host(node), database, ports.database, at),
                _ => talk(balancer, Host(node), 8080, at),
            };
            traffic.add(company, talk);
        }
    }
    last
}
