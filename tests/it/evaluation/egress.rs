//! Planted: connections to the internet that somebody should look at.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use super::background::MIRROR;
use super::calendar::{DAY, HOUR};
use super::internet::visitors;
use super::plan::{Plan, Planted};
use super::traffic::Party::{self, Away, Container, Further, Host, Six};
use super::traffic::{Talk, talk};
use crate::truth::conversations::{TCP, UDP};
use crate::truth::world::{LAB, PLANT, Role, SHOP};

/// Calls from `from` to one stranger, so many, so far apart.
fn calls(plan: &mut Plan, from: Party, port: u16, count: i64, apart: i64) -> Vec<Talk> {
    let to = Away(plan.stranger());
    let start = plan.at(0) + plan.between(0, (DAY - 2 * HOUR - count * apart).max(0));
    (0..count)
        .map(|number| {
            let at = start + number * apart + plan.between(0, apart / 8);
            talk(from, to, port, at)
        })
        .collect()
}

pub(super) fn plant(plan: &mut Plan) {
    let company = plan.company;
    let (app, data, public) = (Role::App, Role::Data, Role::Public);
    let (clients_only, gateways_only) = (company.clients_only, company.gateways_only);

    let from = plan.host(SHOP, app, 0);
    let talks = calls(plan, from, 8443, 3, 400);
    let talks = talks.map_each(|talk| talk.lasting(1500).sending(150_000, 210_000_000));
    plan.egress("upload behind a NAT gateway, both logged", TCP, &talks);
    plan.also("exfiltration_large_upload", &["/interface_id", "/dst_addr"]);
    plan.also("exfiltration_upload_ratio", &["/interface_id", "/dst_addr"]);
    plan.also("exfiltration_volume_spike", &["/interface_id"]);

    let from = plan.host(clients_only, app, 1);
    let talks = calls(plan, from, 443, 5, 1800);
    plan.egress("behind a NAT gateway that is not logged", TCP, &talks);

    let from = plan.host(gateways_only, app, 0);
    let talks = calls(plan, from, 443, 5, 1800);
    plan.egress("behind a NAT gateway that alone is logged", TCP, &talks);

    let from = plan.host(LAB, app, 1);
    let talks = calls(plan, from, 8080, 4, 900);
    plan.egress("behind a regional NAT gateway", TCP, &talks);

    let from = plan.host(SHOP, app, 1);
    let talks = calls(plan, from, 443, 30, 1700);
    let talks = talks.map_each(|talk| talk.sending(6, 700).getting(5, 640));
    plan.egress("a slow beacon", TCP, &talks);
    plan.also("c2_beacon", &["/interface_id", "/dst_addr"]);

    let from = plan.host(LAB, app, 0);
    let talks = calls(plan, from, 4444, 1, 60);
    let talks = talks.map_each(|talk| talk.lasting(1).sending(4, 320).getting(3, 200));
    plan.egress("one short connection", TCP, &talks);

    let from = plan.host(SHOP, app, 1);
    let talks = calls(plan, from, 993, 1, 0);
    let at = plan.at(1);
    let talks = talks.map_each(|talk| Talk { at, ..talk }.lasting(6 * HOUR).sending(200, 20_000));
    plan.egress("one connection of six hours", TCP, &talks);
    plan.also("c2_long_connection", &["/interface_id", "/dst_addr"]);

    let from = plan.host(clients_only, app, 0);
    let talks = calls(plan, from, 1337, 12, 900);
    let talks = talks.map_each(Talk::unanswered);
    plan.egress("nobody answers", TCP, &talks);

    let visitor = plan.traffic.random.pick(&visitors());
    let from = plan.host(SHOP, public, 0);
    let talks = calls(plan, from, 22, 4, 600);
    let talks = talks.map_each(|talk| Talk {
        to: visitor,
        ..talk
    });
    plan.egress("a server calls a former visitor", TCP, &talks);
    plan.also("egress_public_direct", &["/interface_id"]);

    let from = plan.host(LAB, public, 1);
    let talks = calls(plan, from, 443, 3, 600);
    plan.egress("straight from a public host", TCP, &talks);
    plan.also("egress_public_direct", &["/interface_id"]);

    let from = plan.host(gateways_only, public, 0);
    let talks = calls(plan, from, 6667, 3, 600);
    plan.egress("straight from another public host", TCP, &talks);
    plan.also("egress_public_direct", &["/interface_id"]);

    let six = |host: u16| Away(IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, host]));
    let door = company.hosts(SHOP, data, 1)[2];
    let talks = calls(plan, Six(door), 443, 4, 1200).map_each(|talk| Talk { to: six(7), ..talk });
    plan.egress("the back door in IPv6", TCP, &talks);
    plan.also("egress_ipv6_back_door", &["/interface_id"]);

    let node = company.hosts(SHOP, app, 0)[2];
    let talks = calls(plan, Six(node), 8443, 4, 1200).map_each(|talk| Talk { to: six(8), ..talk });
    plan.egress("IPv6 by an egress-only gateway", TCP, &talks);

    let from = plan.host(PLANT, data, 0);
    let talks = calls(plan, from, 443, 6, 300).map_each(Talk::unanswered);
    plan.egress("a subnet without a way out tries", TCP, &talks);

    let machine = Away(Ipv4Addr::new(3, 248, 99, 7).into());
    let from = plan.host(SHOP, app, 0);
    let talks = calls(plan, from, 443, 3, 500);
    let talks = talks.map_each(|talk| Talk {
        to: machine,
        ..talk
    });
    plan.egress("another customer's machine in EC2", TCP, &talks);

    let from = plan.host(SHOP, app, 1);
    let talks = calls(plan, from, 53, 60, 200);
    let talks = talks.map_each(|talk| talk.lasting(0).sending(1, 180).getting(1, 420));
    plan.egress("names tunnelled past the resolver", UDP, &talks);
    plan.also("egress_dns_bypass", &["/interface_id"]);

    let from = plan.host(clients_only, app, 1);
    let talks = calls(plan, from, 2222, 3, 500);
    let talks = talks.map_each(|talk| Talk {
        to: Away(MIRROR.into()),
        ..talk
    });
    plan.egress("a known address on another port", TCP, &talks);

    let service = Away(plan.life.services[LAB][0][1].into());
    let from = plan.host(LAB, app, 1);
    let talks = calls(plan, from, 443, 3, 500);
    let talks = talks.map_each(|talk| Talk {
        to: service,
        ..talk
    });
    plan.egress("another subnet's service", TCP, &talks);

    let newcomer = Host(plan.life.newcomer);
    let talks = calls(plan, newcomer, 8443, 3, 500);
    plan.egress("a host that came today", TCP, &talks);

    let talks = calls(plan, Further(company.hosts(SHOP, app, 1)[1]), 443, 3, 500);
    plan.egress("from a further address", TCP, &talks);

    let from = plan.host(SHOP, public, 1);
    let talks = calls(plan, from, 443, 2, 0);
    let at = plan.traffic.calendar.window();
    let talks = talks.map_each(|talk| Talk { at: at + 5, ..talk });
    plan.egress("in the window's first minute", TCP, &talks[..1]);

    let from = plan.host(SHOP, app, 0);
    let talks = calls(plan, from, 443, 2, 0);
    let talks = talks.map_each(|talk| Talk {
        at: at + DAY - 50,
        ..talk
    });
    plan.egress("in the window's last minute", TCP, &talks[..1]);

    let container = Container(company.hosts(LAB, app, 0)[2], 5);
    let talks = calls(plan, container, 9001, 4, 700);
    plan.egress("a container", TCP, &talks);
    plan.also("c2_tor", &["/interface_id", "/dst_port"]);

    let unknown = Host(plan.life.unknown);
    let talks = calls(plan, unknown, 8443, 4, 700);
    plan.egress("an interface that the topology does not know", TCP, &talks);
    // In version 2 its records tell no VPC, so that what the gateway records of it cannot be known to be the same.
    plan.acceptable.push(Planted {
        detection: "egress_unexpected",
        story: "the same at the gateway",
        wanted: vec![
            ("/interface_id", json!(null)),
            ("/dst_addr", json!(address_of(talks[0].to))),
        ],
    });

    let from = plan.host(LAB, app, 1);
    let talks = calls(plan, from, 61_234, 6, 700);
    let talks = talks.map_each(|talk| talk.out_of_ports((1_024, 32_767)));
    plan.egress("to a high port from a low one", TCP, &talks);

    let from = plan.host(SHOP, app, 0);
    let talks = calls(plan, from, 51_820, 4, 1500);
    let talks = talks.map_each(|talk| talk.lasting(600).sending(300, 90_000).getting(280, 70_000));
    plan.egress("a tunnel to a high port", UDP, &talks);
}

fn address_of(party: Party) -> Option<IpAddr> {
    match party {
        Away(addr) => Some(addr),
        _ => None,
    }
}

/// So that a story reads as one sentence.
trait MapEach {
    fn map_each(self, change: impl Fn(Talk) -> Talk) -> Self;
}

impl MapEach for Vec<Talk> {
    fn map_each(self, change: impl Fn(Talk) -> Talk) -> Self {
        self.into_iter().map(change).collect()
    }
}
