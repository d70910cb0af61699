//! Planted: connections between private subnets that nobody expects.

use super::background::{monitor, runner};
use super::calendar::HOUR;
use super::plan::Plan;
use super::traffic::Party::{self, Container, Further, Host, Six};
use super::traffic::{Talk, talk};
use crate::truth::conversations::{TCP, UDP};
use crate::truth::world::{LAB, PLANT, Role, SHOP, TOOLS, TWIN};

/// Those that `east_west_admin_ports` asks for.
const ADMIN_PORTS: [u16; 6] = [22, 135, 445, 3389, 5985, 5986];

fn calls(plan: &mut Plan, from: Party, to: Party, port: u16, count: i64) -> Vec<Talk> {
    (0..count)
        .map(|_| talk(from, to, port, plan.any_time()))
        .collect()
}

fn short(plan: &mut Plan, story: &'static str, from: Party, to: Party, port: u16) {
    let count = plan.between(2, 6);
    let talks = calls(plan, from, to, port, count);
    plan.east_west(story, TCP, &talks);
    if ADMIN_PORTS.contains(&port) {
        plan.also("east_west_admin_ports", &["/dst_subnet_id", "/dst_port"]);
    }
}

pub(super) fn plant(plan: &mut Plan) {
    let company = plan.company;
    let (app, data) = (Role::App, Role::Data);
    let private = company.clients_only;

    let (from, to) = (plan.host(SHOP, app, 0), plan.host(SHOP, data, 0));
    short(plan, "a shell on the database", from, to, 22);

    let (from, to) = (plan.host(SHOP, data, 0), plan.host(SHOP, app, 1));
    short(plan, "the database calls an app", from, to, 8080);

    let (from, to) = (plan.host(PLANT, data, 0), plan.host(PLANT, data, 1));
    short(plan, "from data to data", from, to, 445);

    let (from, to) = (plan.host(TOOLS, app, 0), plan.host(SHOP, app, 1));
    short(plan, "over a peering", from, to, 3389);

    let (from, to) = (plan.host(SHOP, app, 0), plan.host(TOOLS, app, 1));
    short(plan, "over a peering, the other way", from, to, 5985);

    let (from, to) = (plan.host(TOOLS, app, 1), plan.host(PLANT, data, 1));
    short(plan, "over the transit gateway", from, to, 445);

    let (from, to) = (plan.host(TWIN, app, 0), plan.host(PLANT, app, 1));
    short(
        plan,
        "from the twin network over the transit gateway",
        from,
        to,
        22,
    );

    let (from, to) = (plan.host(PLANT, app, 1), plan.host(LAB, app, 1));
    short(plan, "to another region", from, to, 5432);

    let (from, to) = (plan.host(LAB, app, 0), plan.host(PLANT, app, 0));
    short(plan, "from another region", from, to, 8006);

    let (from, to) = (plan.host(private, app, 0), plan.host(private, data, 1));
    short(plan, "where gateways are not logged", from, to, 22);

    let (from, to) = (Host(plan.life.newcomer), plan.host(SHOP, app, 1));
    short(plan, "a host that came today", from, to, 22);

    let (from, to) = (Host(monitor(company)), plan.host(PLANT, data, 0));
    short(
        plan,
        "the monitor on a port that nobody expects",
        from,
        to,
        22,
    );

    let (from, to) = (
        Further(company.hosts(SHOP, app, 0)[1]),
        plan.host(SHOP, data, 1),
    );
    short(plan, "from a further address", from, to, 9200);

    // The cache serves its own zone.
    let cache = plan.life.ports[PLANT].cache;
    let (from, to) = (plan.host(PLANT, app, 0), plan.host(PLANT, data, 1));
    short(plan, "the wrong zone's cache", from, to, cache);

    let six = |role: Role, zone: usize, slot: usize| Six(company.hosts(SHOP, role, zone)[slot]);
    let (from, to) = (six(app, 1, 0), six(data, 0, 3));
    short(plan, "over IPv6", from, to, 8123);

    let (from, to) = (plan.host(LAB, app, 1), plan.host(LAB, data, 0));
    let talks = calls(plan, from, to, 5439, 1);
    let talks = [talks[0].lasting(1).sending(4, 300).getting(3, 220)];
    plan.east_west("one short connection", TCP, &talks);

    let (from, to) = (plan.host(LAB, data, 0), plan.host(LAB, data, 1));
    let at = plan.at(2);
    let talks = [talk(from, to, 9042, at)
        .lasting(8 * HOUR)
        .sending(160, 20_000)];
    plan.east_west("one connection of eight hours", TCP, &talks);

    let (from, to) = (plan.host(PLANT, app, 0), plan.host(PLANT, app, 1));
    let talks: Vec<Talk> = calls(plan, from, to, 2375, 3);
    let talks: Vec<Talk> = talks.into_iter().map(Talk::unanswered).collect();
    plan.east_west("nobody answers", TCP, &talks);

    let (from, to) = (plan.host(PLANT, app, 1), plan.host(PLANT, data, 0));
    let talks = calls(plan, from, to, 161, 6);
    plan.east_west("over UDP", UDP, &talks);

    let (from, to) = (plan.host(private, app, 1), plan.host(private, app, 0));
    let mut talks = calls(plan, from, to, 5986, 1);
    let at = plan.at(9);
    talks[0].at = at + HOUR;
    for minute in 0..3 {
        plan.add(talk(from, to, 5986, at + minute * 60).refused());
    }
    plan.east_west("let in after it was refused", TCP, &talks);

    // The background calls it every day: only the permission has ended.
    let (from, to) = (Host(runner(company)), plan.host(PLANT, data, 0));
    let talks = calls(plan, from, to, 8140, 1);
    plan.east_west("a permission that has ended", TCP, &talks);

    let (from, to) = (plan.host(PLANT, data, 1), plan.host(PLANT, app, 0));
    short(plan, "to a high port", from, to, 60_000);

    let container = Container(company.hosts(SHOP, app, 0)[2], 7);
    let to = plan.host(SHOP, data, 1);
    short(plan, "a container", container, to, 11_211);
}
