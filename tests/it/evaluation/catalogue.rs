//! Planted: what detections of other groups than the core are for.

use std::net::Ipv4Addr;

use serde_json::json;

use super::background::{monitor, runner};
use super::calendar::HOUR;
use super::internet::visitors;
use super::plan::{Plan, Planted, Spike};
use super::traffic::Party::{self, Away, Host};
use super::traffic::{Talk, talk};
use crate::truth::conversations::{TCP, UDP};
use crate::truth::world::{LAB, PLANT, Role, SHOP, TOOLS};

pub(super) fn plant(plan: &mut Plan) {
    egress(plan);
    reconnaissance(plan);
    rejects(plan);
    port_scan(plan);
}

/// Calls of one host to one stranger, some minutes apart.
fn calls(plan: &mut Plan, from: Party, port: u16, count: i64) -> Vec<Talk> {
    let to = Away(plan.stranger());
    let start = plan.at(2);
    (0..count)
        .map(|number| talk(from, to, port, start + number * 600))
        .collect()
}

fn egress(plan: &mut Plan) {
    let (app, public) = (Role::App, Role::Public);
    let (clients_only, host_and_port) =
        (plan.company.clients_only, &["/interface_id", "/dst_port"]);

    for (story, vpc, role) in [
        ("mail past our own server", SHOP, app),
        ("mail from the edge", LAB, public),
    ] {
        let from = plan.host(vpc, role, 1);
        let talks = calls(plan, from, 25, 4);
        plan.egress(story, TCP, &talks);
        plan.also("egress_smtp", host_and_port);
    }
    for (story, vpc, port) in [
        ("a file share on the internet", LAB, 445),
        ("a database on the internet", clients_only, 3306),
    ] {
        let from = plan.host(vpc, app, 0);
        let talks = calls(plan, from, port, 5);
        plan.egress(story, TCP, &talks);
        plan.also("egress_internal_protocols", host_and_port);
    }
    for (story, vpc, port) in [
        ("a port that its subnet never called", SHOP, 6881),
        ("another such port", LAB, 7443),
    ] {
        let from = plan.host(vpc, app, 1);
        let talks = calls(plan, from, port, 5);
        plan.egress(story, TCP, &talks);
        plan.also("egress_unusual_port", host_and_port);
    }
    for (story, vpc) in [
        ("a flood of small packets", SHOP),
        ("another flood", clients_only),
    ] {
        let from = plan.host(vpc, app, 0);
        let talks = calls(plan, from, 9987, 1);
        let talks = [talks[0]
            .lasting(600)
            .sending(1_200_000, 72_000_000)
            .getting(0, 0)];
        plan.egress(story, UDP, &talks);
        plan.also("flood_outbound", &["/interface_id", "/dst_addr"]);
    }
    for (story, vpc, port) in [
        ("a miner at its pool", SHOP, 3333),
        ("a miner of another region", LAB, 14_444),
    ] {
        let from = plan.host(vpc, app, 0);
        let talks = calls(plan, from, port, 1);
        let talks = [talks[0]
            .lasting(2 * HOUR)
            .sending(480, 60_000)
            .getting(480, 90_000)];
        plan.egress(story, TCP, &talks);
        plan.also("c2_mining_ports", &["/interface_id", "/dst_addr"]);
    }
    let from = plan.host(LAB, Role::Data, 1);
    let talks: Vec<Talk> = calls(plan, from, 443, 4)
        .into_iter()
        .map(Talk::unanswered)
        .collect();
    plan.egress("a database without a way out tries", TCP, &talks);
    plan.also("egress_isolated", &["/interface_id"]);
    let from = plan.host(LAB, app, 1);
    let talks = calls(plan, from, 9030, 5);
    plan.egress("a directory of Tor", TCP, &talks);
    plan.also("c2_tor", host_and_port);
    for (story, vpc) in [
        ("a connection a second", SHOP),
        ("a connection a second in another region", LAB),
    ] {
        let (from, to) = (plan.host(vpc, app, 1), Away(plan.stranger()));
        let hour = plan.traffic.calendar.window() + 16 * HOUR;
        let talks: Vec<Talk> = (0..3_700)
            .map(|number| talk(from, to, 8_088, hour + number * HOUR / 3_720))
            .map(|talk| talk.lasting(0).sending(2, 120).getting(1, 60))
            .collect();
        plan.egress(story, TCP, &talks);
        plan.also("c2_strobe", &["/interface_id", "/dst_addr"]);
    }
    for (story, vpc) in [
        ("a tunnel in pings", SHOP),
        ("a tunnel in pings of another region", LAB),
    ] {
        let from = plan.host(vpc, app, 1);
        let talk = calls(plan, from, 0, 1)[0]
            .over(1)
            .out_of_port(0)
            .lasting(1200)
            .sending(900, 1_200_000)
            .getting(900, 1_200_000);
        plan.traffic.add_seen(plan.company, talk);
        plan.incidents.push(Planted {
            detection: "c2_icmp_tunnel",
            story,
            wanted: vec![("/interface_id", json!(plan.id_of(from)))],
        });
    }
}

/// Who looks for a way in, and who looks around from inside.
fn reconnaissance(plan: &mut Plan) {
    for (story, vpc, port) in [
        ("passwords tried on a shell", SHOP, 22),
        ("passwords tried on a desktop", LAB, 3389),
    ] {
        let (stranger, door) = (Away(plan.stranger()), plan.host(vpc, Role::Public, 1));
        let start = plan.at(5) + 10;
        for number in 0..90 {
            let login = talk(stranger, door, port, start + number * 12);
            plan.traffic
                .add_seen(plan.company, login.sending(14, 2_400).getting(12, 3_000));
        }
        let Away(stranger) = stranger else { continue };
        let at = ("/interface_id", json!(plan.id_of(door)));
        plan.incidents.push(Planted {
            detection: "login_brute_force",
            story,
            wanted: vec![("/src_addr", json!(stranger)), ("/dst_port", json!(port))],
        });
        plan.incidents.push(Planted {
            detection: "inbound_admin_port",
            story,
            wanted: vec![at, ("/dst_port", json!(port))],
        });
    }

    // Refused at home, so that nothing of it is a connection.
    for (story, vpc, second) in [
        ("a sweep of the internet", SHOP, 151),
        ("a sweep from another region", LAB, 152),
    ] {
        let from = plan.host(vpc, Role::App, 0);
        let targets: Vec<Party> = (0..=250u8)
            .flat_map(|last| [last / 2, last].map(|third| [185, second, third, last]))
            .map(|octets| Away(Ipv4Addr::from(octets).into()))
            .collect();
        let hour = plan.traffic.calendar.window() + 14 * HOUR;
        let mut spike = Spike::new(&[from], &targets, 8545, 900, hour);
        spike.at_home = true;
        plan.rejects(story, &spike);
        plan.also("sweep_outbound", &["/subnet_id", "/dst_port"]);
        plan.refused_client(story, from);
    }
}

fn rejects(plan: &mut Plan) {
    let (company, window) = (plan.company, plan.traffic.calendar.window());
    let data = |vpc: usize| Host(company.hosts(vpc, Role::Data, 0)[2]);
    for (story, from, to, port) in [
        (
            "an app at a closed database",
            Host(company.hosts(PLANT, Role::App, 1)[1]),
            data(PLANT),
            1522,
        ),
        (
            "a tool at a closed database",
            Host(company.hosts(TOOLS, Role::App, 0)[2]),
            data(SHOP),
            5433,
        ),
    ] {
        let spike = Spike::new(&[from], &[to], port, 170, window + 7 * HOUR);
        plan.rejects(story, &spike);
        plan.refused_client(story, from);
    }
    // The core's own stories, and decoys, are of such clients too.
    for (story, client) in [
        ("the monitor's batch", monitor(company)),
        ("the runner at closed doors", runner(company)),
    ] {
        plan.acceptable.push(Planted {
            detection: "reject_outbound_spike",
            story,
            wanted: vec![("/interface_id", json!(plan.id_of(Host(client))))],
        });
    }
    for (story, vpc) in [
        ("let in after forty refusals", SHOP),
        ("let in after forty refusals in another region", LAB),
    ] {
        let visitor = plan.traffic.random.pick(&visitors());
        let door = plan.host(vpc, Role::Public, 0);
        let at = plan.at(9);
        for number in 0..40 {
            plan.add(talk(visitor, door, 4443, at + number * 60).refused());
        }
        plan.traffic
            .add_seen(company, talk(visitor, door, 4443, at + 2 * HOUR));
        let Away(visitor) = visitor else { continue };
        plan.incidents.push(Planted {
            detection: "reject_then_accept",
            story,
            wanted: vec![("/src_addr", json!(visitor)), ("/dst_port", json!(4443))],
        });
    }
}

/// Port after port of one host inside.
fn port_scan(plan: &mut Plan) {
    for (story, vpc) in [
        ("port after port of a database", PLANT),
        ("port after port in another region", LAB),
    ] {
        let (from, to) = (plan.host(vpc, Role::App, 0), plan.host(vpc, Role::Data, 1));
        let start = plan.traffic.calendar.window() + 18 * HOUR;
        for port in 1..=600u16 {
            let at = start + i64::from(port) * 5;
            plan.add(talk(from, to, port, at).refused());
        }
        plan.incidents.push(Planted {
            detection: "east_west_port_scan",
            story,
            wanted: vec![
                ("/interface_id", json!(plan.id_of(from))),
                ("/dst_subnet_id", json!(plan.subnet_of(to))),
            ],
        });
        plan.refused_client(story, from);
    }
}
