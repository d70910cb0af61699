//! The internet of everyday life: visitors, those who try every door, and those of ours who talk to anybody.

use std::net::{IpAddr, Ipv4Addr};

use super::background::hosts;
use super::calendar::{Busy, HOUR};
use super::company::{Company, Expect};
use super::traffic::Party::{self, Away, Host, Six};
use super::traffic::{Habit, Traffic, talk};
use crate::truth::conversations::{TCP, UDP};
use crate::truth::world::{LAB, NodeKind, Role, SHOP};

pub(super) fn away(net: [u8; 3], range: std::ops::RangeInclusive<u8>) -> Vec<Party> {
    let [a, b, c] = net;
    range
        .map(|host| Away(Ipv4Addr::new(a, b, c, host).into()))
        .collect()
}

/// Services are in one, those who come by in the other.
pub(super) const OF_SERVICES: [u8; 3] = [192, 0, 2];
pub(super) const OF_VISITORS: [u8; 3] = [203, 0, 113];

/// Those who visit; some of them try other doors as well.
pub(super) fn visitors() -> Vec<Party> {
    away(OF_VISITORS, 1..=150)
}

/// Visitors, load balancers in front of the apps, and their checks.
pub(super) fn visits(company: &Company, traffic: &mut Traffic, vpc: usize) {
    for zone in 0..2 {
        let public = company.hosts(vpc, Role::Public, zone);
        let apps = hosts(&company.hosts(vpc, Role::App, zone)[..2]);
        let balancer = [Host(public[0])];
        let mut habits = vec![
            Habit::new(&visitors(), &balancer, 443, 90).when(Busy::Visitors),
            // Balancers use nearly all ports.
            Habit::new(&balancer, &apps, 8080, 60)
                .when(Busy::Visitors)
                .like(|talk| talk.out_of_ports((1_024, 65_535))),
            Habit::new(&balancer, &apps, 8081, 24)
                .like(|talk| talk.sending(5, 400).out_of_ports((1_024, 65_535))),
        ];
        if company.world.nodes[public[0]].addr6.is_some() {
            let six: Vec<Party> = (1..=20u16)
                .map(|host| Away(IpAddr::from([0x2001, 0xdb8, 0xaaaa, 0, 0, 0, 0, host])))
                .collect();
            habits.push(Habit::new(&six, &[Six(public[0])], 443, 20).when(Busy::Visitors));
        }
        for habit in habits {
            habit.live(company, traffic);
        }
    }
}

/// The internet tries every door, and gateways take in what nobody asked for.
pub(super) fn noise(company: &Company, traffic: &mut Traffic, vpc: usize) {
    let strangers = away(OF_VISITORS, 100..=250);
    for zone in 0..2 {
        let doors = hosts(&company.hosts(vpc, Role::Public, zone));
        for port in [22, 3389, 445, 5900, 8080, 1433] {
            let per_day = traffic.random.between(5, 25);
            Habit::new(&strangers, &doors, port, per_day)
                .like(|talk| talk.refused())
                .live(company, traffic);
        }
        Habit::new(&strangers, &doors, 5060, 8)
            .like(|talk| talk.refused())
            .udp()
            .live(company, traffic);
        let gateways = company.world.nodes.iter().enumerate();
        let subnet = company.subnet(vpc, Role::Public, zone);
        let gateways: Vec<Party> = gateways
            .filter(|(_, node)| node.subnet == subnet && node.kind == NodeKind::Nat)
            .map(|(node, _)| Host(node))
            .collect();
        for port in [22, 443, 8443] {
            if !gateways.is_empty() {
                Habit::new(&strangers, &gateways, port, 10)
                    .like(|talk| talk.unanswered())
                    .live(company, traffic);
            }
        }
    }
    bursts(company, traffic, vpc, &strangers);
    let (zone, port, per_day, busy) = match vpc {
        SHOP => (0, 23, 1200, Busy::Always),
        LAB => (0, 445, 2700, Busy::Always),
        vpc if vpc == company.gateways_only => (1, 8443, 2000, Busy::Visitors),
        _ => return,
    };
    let doors = hosts(&company.hosts(vpc, Role::Public, zone));
    Habit::new(&strangers, &doors, port, per_day)
        .when(busy)
        .like(|talk| talk.refused())
        .live(company, traffic);
}

/// Now and then a stranger is busier than usual, or tries port after port.
fn bursts(company: &Company, traffic: &mut Traffic, vpc: usize, strangers: &[Party]) {
    for hour in traffic.calendar.hours() {
        if traffic.random.between(1, 100) > 3 {
            continue;
        }
        let zone = usize::from(traffic.random.between(0, 1) == 1);
        let doors = hosts(&company.hosts(vpc, Role::Public, zone));
        let (stranger, door) = (traffic.random.pick(strangers), traffic.random.pick(&doors));
        let is_scan = traffic.random.between(0, 1) == 1;
        let port = traffic.random.pick(&[22, 3389, 5900, 1433, 25, 7547]);
        for _ in 0..traffic.random.between(20, 70) {
            let any = u16::try_from(traffic.random.between(1, 20_000)).unwrap();
            let port = if is_scan && any != 443 { any } else { port };
            let at = hour + traffic.random.between(0, HOUR - 1);
            traffic.add(company, talk(stranger, door, port, at).refused());
        }
    }
}

/// Those who talk to anybody, on one port each.
pub(super) fn talkative(company: &mut Company, traffic: &mut Traffic) {
    let anywhere = |traffic: &mut Traffic, second: u8| -> Vec<Party> {
        let mut octet = || u8::try_from(traffic.random.between(1, 250)).unwrap();
        (0..300)
            .map(|_| Away(Ipv4Addr::new(185, second, octet(), octet()).into()))
            .collect()
    };
    let resolver = company.hosts(SHOP, Role::App, 0)[3];
    let mail = company.hosts(SHOP, Role::Public, 1)[2];
    let vpn = company.hosts(SHOP, Role::Public, 0)[3];
    let (names, mails, clocks) = (
        anywhere(traffic, 130),
        anywhere(traffic, 140),
        anywhere(traffic, 125),
    );
    let lab = hosts(&company.hosts(LAB, Role::App, 1));
    let habits = [
        Habit::new(&[Host(resolver)], &names, 53, 40).udp(),
        Habit::new(&[Host(mail)], &mails, 25, 20),
        Habit::new(&lab, &clocks, 123, 20).udp(),
        // Staff at home.
        Habit::new(&visitors()[..20], &[Host(vpn)], 51_820, 40)
            .udp()
            .when(Busy::Office)
            .like(|talk| talk.lasting(240).sending(40, 9_000).getting(60, 50_000)),
    ];
    for habit in habits {
        habit.live(company, traffic);
    }
    let id = |node: usize| vec![company.world.nodes[node].id.clone()];
    let (resolver, mail) = (id(resolver), id(mail));
    let lab = vec![company.subnet_id(LAB, Role::App, 1)];
    let by = |interfaces: Vec<String>, port: u16, protocol: u8, reason: &'static str| Expect {
        detection: "egress_unexpected",
        interfaces,
        port,
        protocol,
        reason,
        ..Expect::default()
    };
    let names = by(resolver, 53, UDP, "it asks for the names of others");
    company.expect(Expect {
        detection: "egress_dns_bypass",
        ..names.clone()
    });
    company.expect(names);
    let mail = by(mail, 25, TCP, "it sends our mail");
    company.expect(Expect {
        detection: "egress_smtp",
        ..mail.clone()
    });
    company.expect(mail);
    company.expect(Expect {
        subnets: lab,
        ..by(Vec::new(), 123, UDP, "clocks out of a pool")
    });
}
