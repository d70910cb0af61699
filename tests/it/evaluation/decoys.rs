//! Decoys: what looks like an incident and is none.

use std::net::Ipv4Addr;

use super::background::{hosts, monitor, runner};
use super::calendar::{DAY, HOUR, weekday};
use super::company::{Company, Expect};
use super::internet::visitors;
use super::plan::{Plan, Spike};
use super::traffic::Party::{Away, Host};
use super::traffic::{Talk, talk};
use crate::harness::Place;
use crate::truth::conversations::TCP;
use crate::truth::records::FULL;
use crate::truth::world::{LAB, PLANT, Role, SHOP};

/// What the policy says of them.
pub(super) fn expect(company: &mut Company) {
    let subnets = vec![company.subnet_id(SHOP, Role::Public, 1)];
    company.expect(Expect {
        detection: "reject_spike",
        subnets,
        remote: vec!["203.0.113.251/32".to_owned()],
        port: 2222,
        protocol: TCP,
        reason: "our own scanner",
        ..Expect::default()
    });
}

pub(super) fn plant(plan: &mut Plan) {
    regular_rejects(plan);
    rejects(plan);
    late_packets(plan);
    egress(plan);
    east_west(plan);
}

/// High every day, every week, every working day at the same hours.
fn regular_rejects(plan: &mut Plan) {
    let company = plan.company;
    let calendar = plan.traffic.calendar;
    let apps = hosts(&company.hosts(SHOP, Role::App, 1)[..4]);
    let plant = hosts(&company.hosts(PLANT, Role::App, 0)[..2]);
    let lab = hosts(&company.hosts(LAB, Role::Public, 0)[..4]);
    let (monitor, runner) = ([Host(monitor(company))], [Host(runner(company))]);
    let scanner = [Away(Ipv4Addr::new(203, 0, 113, 252).into())];
    for day in 0..calendar.days {
        let midnight = calendar.first + day * DAY;
        let attempts = plan.between(160, 250);
        // A batch does not begin to the minute.
        let at = midnight + 4 * HOUR - plan.between(0, 20) * 60;
        plan.refuse(&Spike::new(&monitor, &apps, 10_050, attempts, at));
        if weekday(midnight) == weekday(calendar.window()) {
            let attempts = plan.between(200, 300);
            let at = midnight + 6 * HOUR;
            plan.refuse(&Spike::new(&scanner, &lab, 8000, attempts, at));
        }
        if weekday(midnight) < 5 {
            for hour in 9..12 {
                let attempts = plan.between(105, 150);
                let at = midnight + hour * HOUR;
                plan.refuse(&Spike::new(&runner, &plant, 8086, attempts, at));
            }
        }
    }
}

/// Below the floor, recorded twice, expected.
fn rejects(plan: &mut Plan) {
    let company = plan.company;
    let at = plan.at(12);
    let apps = hosts(&company.hosts(SHOP, Role::App, 0)[..1]);
    let data = hosts(&company.hosts(SHOP, Role::Data, 0)[..4]);
    plan.refuse(&Spike::new(&apps, &data, 7070, 60, at));
    let doors = hosts(&company.hosts(LAB, Role::Public, 1)[..4]);
    let visitors = visitors();
    let at = plan.at(15);
    plan.refuse(&Spike::new(&visitors, &doors, 9999, 80, at));
    let scanner = [Away(Ipv4Addr::new(203, 0, 113, 251).into())];
    let doors = hosts(&company.hosts(SHOP, Role::Public, 1)[..4]);
    let at = plan.at(20);
    plan.refuse(&Spike::new(&scanner, &doors, 2222, 220, at));
    // A deployment that points at a port before it is open.
    let runner = [Host(runner(company))];
    let apps = hosts(&company.hosts(SHOP, Role::App, 0)[..4]);
    let at = plan.at(11);
    plan.refuse(&Spike::new(&runner, &apps, 8888, 40, at));
}

/// Packets that come after their connection was closed.
fn late_packets(plan: &mut Plan) {
    let company = plan.company;
    let visitors = visitors();
    for (vpc, hour) in [(SHOP, 16), (LAB, 18), (company.gateways_only, 17)] {
        let balancer = Host(company.hosts(vpc, Role::Public, 0)[0]);
        for _ in 0..150 {
            let visitor = plan.traffic.random.pick(&visitors);
            let at = plan.traffic.calendar.at(hour, 0) + plan.between(0, 2400);
            let port = u16::try_from(plan.between(33_000, 60_000)).unwrap();
            let call = talk(visitor, balancer, 443, at).out_of_port(port);
            plan.add(call);
            plan.add(
                Talk {
                    at: at + 240,
                    ..call
                }
                .late(),
            );
        }
    }
    let database = Host(company.hosts(PLANT, Role::Data, 0)[0]);
    let apps = hosts(&company.hosts(PLANT, Role::App, 1)[..4]);
    let port_of_database = plan.life.ports[PLANT].database;
    for _ in 0..140 {
        let app = plan.traffic.random.pick(&apps);
        let at = plan.traffic.calendar.at(14, 0) + plan.between(0, 2400);
        let port = u16::try_from(plan.between(33_000, 60_000)).unwrap();
        let call = talk(app, database, port_of_database, at).out_of_port(port);
        plan.add(call);
        plan.add(
            Talk {
                at: at + 200,
                ..call
            }
            .late(),
        );
    }
}

fn egress(plan: &mut Plan) {
    let company = plan.company;
    let app = Host(company.hosts(SHOP, Role::App, 1)[3]);
    // Opened on the day before, to an address of its own, and still open in the window.
    let stranger = Away(plan.stranger());
    let start = plan.traffic.calendar.window() - 2 * HOUR;
    plan.add(
        talk(app, stranger, 8443, start)
            .lasting(6 * HOUR)
            .sending(900, 80_000),
    );
    plan.accept(
        "c2_long_connection",
        "it is long, though not new",
        app,
        8443,
    );
    // Refused on its way out.
    for _ in 0..5 {
        let (stranger, at) = (Away(plan.stranger()), plan.any_time());
        plan.add(talk(app, stranger, 25, at).refused_at_home());
    }
    // A long download by a visitor, and visitors whose ports are low.
    for vpc in company.with_public() {
        let balancer = Host(company.hosts(vpc, Role::Public, 1)[0]);
        let visitor = plan.traffic.random.pick(&visitors());
        let at = plan.at(13);
        plan.add(
            talk(visitor, balancer, 443, at)
                .lasting(2400)
                .getting(60_000, 84_000_000),
        );
        for _ in 0..10 {
            let (visitor, at) = (plan.traffic.random.pick(&visitors()), plan.any_time());
            let port = u16::try_from(plan.between(1_024, 32_000)).unwrap();
            plan.add(talk(visitor, balancer, 443, at).out_of_port(port));
        }
    }
    // Who began cannot be known.
    let at = plan.any_time();
    plan.add(talk(app, stranger, 0, at).over(1).out_of_port(0));
    // A service that is down: retries to a known address.
    let service = Away(plan.life.services[SHOP][1][0].into());
    for minute in 0..20 {
        let at = plan.traffic.calendar.at(10, minute);
        plan.add(talk(app, service, 443, at).unanswered());
    }
}

fn east_west(plan: &mut Plan) {
    let company = plan.company;
    let host = |vpc: usize, role: Role, zone: usize, slot: usize| {
        Host(company.hosts(vpc, role, zone)[slot])
    };
    let (app, data, public) = (Role::App, Role::Data, Role::Public);
    for _ in 0..6 {
        let at = plan.any_time();
        // The server's side refuses.
        let (from, to) = (host(PLANT, app, 1, 2), host(PLANT, data, 0, 2));
        plan.add(talk(from, to, 27_018, at).refused());
        let (from, to) = (host(LAB, app, 0, 1), host(LAB, data, 1, 2));
        plan.add(talk(from, to, 3307, at).refused());
        // In one subnet.
        let (from, to) = (host(SHOP, app, 0, 1), host(SHOP, app, 0, 2));
        plan.add(talk(from, to, 22, at));
        // One of both is public.
        let (from, to) = (host(SHOP, public, 0, 1), host(SHOP, app, 0, 2));
        plan.add(talk(from, to, 22, at));
        plan.accept("east_west_admin_ports", "a shell from the edge", from, 22);
        let (from, to) = (host(LAB, app, 0, 1), host(LAB, public, 1, 2));
        plan.add(talk(from, to, 8089, at));
        // Who began cannot be known.
        let (from, to) = (host(SHOP, app, 0, 1), host(SHOP, data, 0, 2));
        plan.add(talk(from, to, 0, at).over(1).out_of_port(0));
        let (from, to) = (host(LAB, app, 0, 1), host(LAB, data, 0, 2));
        plan.add(talk(from, to, 123, at).over(17).out_of_port(123));
    }
}

/// AWS left out records of a host, twice.
pub(super) fn skipdata(company: &Company, window: i64, place: &Place) {
    let world = &company.world;
    let logs = (0..world.flow_logs.len()).find(|&log| company.format(log) == FULL);
    let Some(log) = logs else { return };
    let flow_log = &world.flow_logs[log];
    let vpc = &world.vpcs[flow_log.vpc];
    let subnet = (0..world.subnets.len()).find(|&subnet| {
        world.subnets[subnet].vpc == flow_log.vpc && flow_log.subnet.is_none_or(|of| of == subnet)
    });
    let node = world
        .nodes
        .iter()
        .find(|node| Some(node.subnet) == subnet)
        .unwrap();
    let mut text = format!(
        "{}\n",
        FULL.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    for hour in [2, 9] {
        let start = window + hour * HOUR;
        let line = FULL.split_whitespace().map(|field| match field {
            "version" => "9".to_owned(),
            "account-id" => vpc.account.to_owned(),
            "interface-id" => node.id.clone(),
            "start" => start.to_string(),
            "end" => (start + 60).to_string(),
            "log-status" => "SKIPDATA".to_owned(),
            _ => "-".to_owned(),
        });
        text.push_str(&line.collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    place.put("logs/skipdata.log", text);
}
