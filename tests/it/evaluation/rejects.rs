//! Planted: refused attempts, many more than usual.

use std::net::{IpAddr, Ipv4Addr};

use super::background::{hosts, monitor, runner};
use super::calendar::{DAY, HOUR};
use super::plan::{Plan, Spike, on_premises};
use super::traffic::Party::{self, Away, Host, Six};
use crate::truth::conversations::UDP;
use crate::truth::world::{LAB, PLANT, Role, SHOP, TOOLS};

/// Strangers who flood: some, or all of a range.
fn strangers(count: u8) -> Vec<Party> {
    (0..count)
        .map(|host| Away(Ipv4Addr::new(192, 0, 2, 128 + host).into()))
        .collect()
}

pub(super) fn plant(plan: &mut Plan) {
    let company = plan.company;
    let doors = |vpc: usize, zone: usize| hosts(&company.hosts(vpc, Role::Public, zone)[..4]);
    let apps = |vpc: usize, zone: usize| hosts(&company.hosts(vpc, Role::App, zone)[..4]);
    let data = |vpc: usize, zone: usize| hosts(&company.hosts(vpc, Role::Data, zone)[..4]);
    let gateways_only = company.gateways_only;
    let window = plan.traffic.calendar.window();
    let hour = |plan: &mut Plan| window + plan.between(1, 21) * HOUR;

    let at = hour(plan);
    let spike = Spike::new(&strangers(60), &doors(SHOP, 1), 3389, 640, at);
    plan.rejects("a flood from many sources", &spike);

    let at = hour(plan);
    let spike = Spike::new(&strangers(40), &doors(LAB, 0), 22, 300, at);
    plan.rejects("a flood in another region", &spike);

    let at = hour(plan);
    let spike = Spike::new(&strangers(50), &doors(gateways_only, 0), 25, 260, at);
    plan.rejects("a flood beside a NAT gateway", &spike);

    let six: Vec<Party> = (1..=30u16)
        .map(|host| Away(IpAddr::from([0x2001, 0xdb8, 0xbbbb, host, 0, 0, 0, 1])))
        .collect();
    let at = hour(plan);
    let to = [Six(company.hosts(SHOP, Role::Public, 1)[0])];
    plan.rejects("a flood over IPv6", &Spike::new(&six, &to, 8022, 200, at));

    let at = hour(plan) - HOUR;
    let mut spike = Spike::new(&strangers(30), &doors(SHOP, 1), 2323, 900, at);
    spike.seconds = 3 * HOUR - 300;
    plan.rejects("a flood of three hours", &spike);

    let at = hour(plan);
    let spike = Spike::new(&strangers(1), &doors(SHOP, 1), 5985, 160, at);
    plan.rejects("one source tries every host", &spike);

    let at = hour(plan);
    let spike = Spike::new(&strangers(1), &doors(LAB, 1)[..1], 1433, 220, at);
    plan.rejects("one source tries one host again and again", &spike);

    let at = hour(plan);
    let mut spike = Spike::new(&strangers(20), &doors(SHOP, 0), 1900, 240, at);
    spike.protocol = UDP;
    plan.rejects("a flood over UDP", &spike);

    let at = hour(plan);
    let spike = Spike::new(&apps(SHOP, 1)[..1], &data(SHOP, 0)[1..2], 9999, 170, at);
    plan.rejects("one of ours at a closed door, recorded twice", &spike);
    plan.refused_client(
        "one of ours at a closed door, recorded twice",
        spike.from[0],
    );

    let at = hour(plan);
    let runner = [Host(runner(company))];
    let spike = Spike::new(&runner, &apps(SHOP, 0)[..2], 5601, 150, at);
    plan.rejects("one of ours over a peering", &spike);

    let at = hour(plan);
    let from = apps(TOOLS, 0);
    let spike = Spike::new(&from[1..2], &data(PLANT, 1)[..1], 1521, 150, at);
    plan.rejects("one of ours over the transit gateway", &spike);
    plan.refused_client("one of ours over the transit gateway", spike.from[0]);

    let at = hour(plan);
    let spike = Spike::new(&[on_premises(9)], &apps(PLANT, 1), 9000, 140, at);
    plan.rejects("one source on premises", &spike);

    let at = hour(plan);
    let from = [Host(company.hosts(SHOP, Role::App, 1)[2])];
    let mut spike = Spike::new(&from, &strangers(12), 25, 180, at);
    spike.at_home = true;
    plan.rejects("one of ours refused on its way out", &spike);
    plan.refused_client("one of ours refused on its way out", spike.from[0]);

    let at = hour(plan);
    let mut spike = Spike::new(&apps(PLANT, 0)[1..3], &data(PLANT, 0), 4369, 130, at);
    spike.at_home = true;
    plan.rejects("one of ours refused at home", &spike);

    // There the usual noise is fifty an hour.
    let at = hour(plan);
    let spike = Spike::new(&strangers(25), &doors(SHOP, 0), 23, 230, at);
    plan.rejects("small above much noise", &spike);

    // By night there are seven an hour, by day seventy.
    let at = window + plan.between(1, 4) * HOUR;
    let spike = Spike::new(&strangers(25), &doors(gateways_only, 1), 8443, 125, at);
    plan.rejects("at night, where the days are busy", &spike);

    let at = hour(plan);
    let spike = Spike::new(&strangers(8), &doors(LAB, 1), 6443, 112, at);
    plan.rejects("hardly above the floor where nothing ever was", &spike);

    let spike = Spike::new(&strangers(25), &doors(SHOP, 1), 5900, 260, window);
    plan.rejects("in the window's first hour", &spike);

    let at = window + DAY - HOUR;
    let spike = Spike::new(&strangers(25), &doors(LAB, 0), 5900, 260, at);
    plan.rejects("in the window's last hour", &spike);

    let mut spike = Spike::new(
        &strangers(25),
        &doors(SHOP, 0),
        3306,
        320,
        window - HOUR / 2,
    );
    spike.seconds = HOUR;
    plan.rejects("over the window's edge", &spike);

    // Every day at four there are two hundred.
    let at = window + plan.between(9, 21) * HOUR;
    let from = [Host(monitor(company))];
    let spike = Spike::new(&from, &apps(SHOP, 1), 10_050, 190, at);
    plan.rejects("the daily batch at another hour", &spike);

    let at = hour(plan) + HOUR / 2;
    let spike = Spike::new(&strangers(25), &doors(LAB, 1), 7001, 260, at);
    plan.rejects("over the edge of two buckets", &spike);

    // There the usual noise is above the floor.
    let at = hour(plan);
    let spike = Spike::new(&strangers(40), &doors(LAB, 0), 445, 520, at);
    plan.rejects("above noise that is always high", &spike);

    let at = hour(plan);
    let to = [Host(plan.life.newcomer)];
    let spike = Spike::new(&apps(TOOLS, 1)[2..3], &to, 8125, 130, at);
    plan.rejects("at a host that came today", &spike);
    plan.refused_client("at a host that came today", spike.from[0]);

    let at = window + plan.between(8, 12) * HOUR;
    let mut spike = Spike::new(&strangers(50), &doors(gateways_only, 0), 8081, 1000, at);
    spike.seconds = 6 * HOUR;
    plan.rejects("a slow one of six hours", &spike);
}
