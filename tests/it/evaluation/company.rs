//! The company of an evaluation: the worlds' six VPCs, a back door, more hosts, and who of them does what.

use ipnet::IpNet;

use crate::harness::Place;
use crate::truth::conversations::TCP;
use crate::truth::random::Random;
use crate::truth::records::{FULL, V2};
use crate::truth::world::{LAB, Node, NodeKind, PLANT, Role, SHOP, TOOLS, TWIN, Target, World};

/// Flags and packet addresses, but no direction.
const FLAGS: &str = "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status tcp-flags \
     account-id vpc-id subnet-id pkt-srcaddr pkt-dstaddr";

pub(super) struct Company {
    pub(super) world: World,
    /// The VPC whose private subnets alone are logged, and the one whose public ones are.
    pub(super) clients_only: usize,
    pub(super) gateways_only: usize,
    formats: Vec<&'static str>,
    pub(super) policy: Vec<Expect>,
}

/// An entry of `policy.toml`.
#[derive(Debug, Default, Clone)]
pub(super) struct Expect {
    pub(super) detection: &'static str,
    pub(super) subnets: Vec<String>,
    pub(super) interfaces: Vec<String>,
    pub(super) remote: Vec<String>,
    pub(super) port: u16,
    pub(super) protocol: u8,
    pub(super) until: Option<String>,
    pub(super) reason: &'static str,
}

impl Company {
    /// `more_hosts`: in each subnet beside the worlds' four.
    pub(super) fn new(random: &mut Random, more_hosts: u8) -> Self {
        let mut world = World::new(random);
        let gateways_only = world.flow_logs.iter().find(|log| {
            log.subnet
                .is_some_and(|subnet| world.subnets[subnet].role == Role::Public)
        });
        let gateways_only = gateways_only.map_or(TWIN, |log| log.vpc);
        let formats = world.flow_logs.iter();
        let formats = formats
            .map(|_| random.pick(&[V2, FULL, FULL, FLAGS]))
            .collect();
        // Somebody sent all of IPv6 to the internet gateway.
        let door = world
            .subnets
            .iter_mut()
            .find(|subnet| (subnet.vpc, subnet.role, subnet.zone) == (SHOP, Role::Data, 1));
        let all6: IpNet = "::/0".parse().unwrap();
        door.unwrap().routes.push((all6, Target::Igw));
        let mut company = Self {
            clients_only: if gateways_only == TWIN { TOOLS } else { TWIN },
            gateways_only,
            world,
            formats,
            policy: Vec::new(),
        };
        for subnet in 0..company.world.subnets.len() {
            for number in 0..more_hosts {
                company.add_host(subnet, 100 + number, random);
            }
        }
        company
    }

    /// One host more.
    pub(super) fn add_host(&mut self, subnet: usize, host: u8, random: &mut Random) -> usize {
        let of = &self.world.subnets[subnet];
        let [a, b, c, _] = of.cidr.network().octets();
        let number = self.world.nodes.len();
        self.world.nodes.push(Node {
            id: format!("eni-{number:017x}"),
            kind: NodeKind::Instance,
            subnet,
            addrs: vec![[a, b, c, host].into()],
            prefix: None,
            addr6: None,
            public: None,
            nitro: true,
            loose: random.between(0, 1) == 1,
        });
        number
    }

    pub(super) fn format(&self, log: usize) -> &'static str {
        self.formats[log]
    }

    pub(super) fn subnet(&self, vpc: usize, role: Role, zone: usize) -> usize {
        let subnets = self.world.subnets.iter();
        let mut at = subnets.enumerate().filter_map(|(number, subnet)| {
            ((subnet.vpc, subnet.role, subnet.zone) == (vpc, role, zone)).then_some(number)
        });
        at.next().expect("every VPC of the company has this subnet")
    }

    pub(super) fn subnet_id(&self, vpc: usize, role: Role, zone: usize) -> String {
        self.world.subnets[self.subnet(vpc, role, zone)].id.clone()
    }

    /// The hosts of a subnet.
    pub(super) fn hosts(&self, vpc: usize, role: Role, zone: usize) -> Vec<usize> {
        let subnet = self.subnet(vpc, role, zone);
        let nodes = self.world.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| node.subnet == subnet && node.kind == NodeKind::Instance)
            .map(|(number, _)| number)
            .collect()
    }

    /// The VPCs of which something is logged and that have public subnets.
    pub(super) fn with_public(&self) -> [usize; 4] {
        [SHOP, LAB, self.clients_only, self.gateways_only]
    }

    /// The VPCs whose private subnets are logged.
    pub(super) fn with_private(&self) -> [usize; 4] {
        [SHOP, PLANT, LAB, self.clients_only]
    }

    pub(super) fn expect(&mut self, entry: Expect) {
        self.policy.push(entry);
    }

    pub(super) fn put_policy(&self, place: &Place) {
        let mut text = String::new();
        for entry in &self.policy {
            text.push_str(&entry.text());
        }
        place.put("policy.toml", text);
    }
}

impl Expect {
    fn text(&self) -> String {
        let protocol = if self.protocol == TCP { "tcp" } else { "udp" };
        let mut text = format!(
            "[[expect]]\ndetection = \"{}\"\nports = [{}]\nprotocol = \"{protocol}\"\nreason = \"{}\"\n",
            self.detection, self.port, self.reason
        );
        let lists = [
            ("subnets", &self.subnets),
            ("interfaces", &self.interfaces),
            ("remote", &self.remote),
        ];
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            text.push_str(&format!("{key} = {list:?}\n"));
        }
        if let Some(until) = &self.until {
            text.push_str(&format!("until = {until}\n"));
        }
        text.push('\n');
        text
    }
}
