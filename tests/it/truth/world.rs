//! A made-up company: six VPCs in two accounts and two regions, three of them with the same addresses.
//!
//! ```text
//! shop 10.0/16, 10.x/16, IPv6 ──pcx── tools 10.y/16, 10.z/16, IPv6 ─┐
//!   └─ vgw: 172.31/16                                              tgw ── plant 172.16/16 ── vgw: 192.168/16
//!                                     twin 10.0/16 ────────────────┘        │
//!                                     spare 10.0/16 ──pcx── lab 100.64/16, 11.x/16 ──pcx (regions) ─┘
//! ```
//!
//! A seed draws addresses, who has further ones, and which flow logs there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::random::Random;

pub(crate) const SHOP: usize = 0;
pub(crate) const TWIN: usize = 1;
pub(crate) const TOOLS: usize = 2;
pub(crate) const PLANT: usize = 3;
pub(crate) const LAB: usize = 4;
pub(crate) const SPARE: usize = 5;

/// Both ends of each peering.
pub(crate) const PEERINGS: [(usize, usize); 3] = [(SHOP, TOOLS), (PLANT, LAB), (LAB, SPARE)];

/// Who is on the transit gateway.
pub(crate) const TRANSIT: [usize; 3] = [TWIN, TOOLS, PLANT];

#[derive(Debug)]
pub(crate) struct Vpc {
    pub(crate) id: String,
    pub(crate) account: &'static str,
    pub(crate) region: &'static str,
    pub(crate) cidrs: Vec<Ipv4Net>,
    pub(crate) cidr6: Option<Ipv6Net>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Public,
    App,
    /// In the VPC's last block.
    Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Local,
    Igw,
    Eigw,
    /// The interface of the gateway.
    Nat(usize),
    RegionalNat,
    Pcx(usize),
    Tgw,
    Vgw,
    S3,
}

#[derive(Debug)]
pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) vpc: usize,
    pub(crate) role: Role,
    pub(crate) zone: usize,
    pub(crate) cidr: Ipv4Net,
    pub(crate) cidr6: Option<Ipv6Net>,
    pub(crate) routes: Vec<(IpNet, Target)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Instance,
    Nat,
    Tgw,
}

/// An interface.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) kind: NodeKind,
    pub(crate) subnet: usize,
    /// The primary address first.
    pub(crate) addrs: Vec<Ipv4Addr>,
    pub(crate) prefix: Option<Ipv4Net>,
    pub(crate) addr6: Option<Ipv6Addr>,
    pub(crate) public: Option<Ipv4Addr>,
    /// Nitro interfaces aggregate over a minute at most, and tell gateways apart.
    pub(crate) nitro: bool,
    /// Whether `start` and `end` are as far from the packets as AWS lets them.
    pub(crate) loose: bool,
}

#[derive(Debug)]
pub(crate) struct FlowLog {
    pub(crate) id: String,
    pub(crate) vpc: usize,
    /// All of the VPC, its regional NAT gateway too, or one subnet.
    pub(crate) subnet: Option<usize>,
    pub(crate) interval: i64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) vpcs: Vec<Vpc>,
    pub(crate) subnets: Vec<Subnet>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) flow_logs: Vec<FlowLog>,
}

/// The public addresses of the lab's regional NAT gateway.
pub(crate) const REGIONAL_NAT: [Ipv4Addr; 2] = [
    Ipv4Addr::new(198, 51, 100, 201),
    Ipv4Addr::new(198, 51, 100, 202),
];

pub(crate) fn s3(region: &str) -> Ipv4Net {
    match region {
        "eu-west-1" => "52.218.0.0/17",
        _ => "52.216.0.0/15",
    }
    .parse()
    .unwrap()
}

pub(crate) fn chance(random: &mut Random, percent: i64) -> bool {
    random.between(1, 100) <= percent
}

pub(crate) fn choose<T: Copy>(random: &mut Random, among: &[T]) -> T {
    random.pick(among)
}

fn octet(random: &mut Random, low: u8, high: u8) -> u8 {
    u8::try_from(random.between(low.into(), high.into())).unwrap()
}

fn block(a: u8, b: u8) -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::new(a, b, 0, 0), 16).unwrap()
}

impl World {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut world = Self {
            vpcs: vpcs(random),
            subnets: Vec::new(),
            nodes: Vec::new(),
            flow_logs: Vec::new(),
        };
        // The same in every VPC, so that overlapping VPCs have the same hosts.
        let third = octet(random, 1, 40);
        let hosts: Vec<u8> = (0..4)
            .map(|slot| 20 + slot * 20 + octet(random, 0, 9))
            .collect();
        for vpc in 0..world.vpcs.len() {
            world.add_subnets(vpc, third);
        }
        for subnet in 0..world.subnets.len() {
            world.add_nodes(subnet, &hosts, random);
        }
        for subnet in 0..world.subnets.len() {
            world.subnets[subnet].routes = world.routes_of(subnet);
        }
        world.add_flow_logs(random);
        world
    }

    fn add_subnets(&mut self, vpc: usize, third: u8) {
        let of = &self.vpcs[vpc];
        let roles = [Role::Public, Role::App, Role::Data];
        let first_role = usize::from(matches!(vpc, PLANT | SPARE));
        for (number, &role) in (0u8..).zip(&roles).skip(first_role) {
            let block = if role == Role::Data {
                of.cidrs.last()
            } else {
                of.cidrs.first()
            };
            let [a, b, ..] = block.unwrap().network().octets();
            for zone in 0..2u8 {
                let cidr = Ipv4Addr::new(a, b, third + number * 60 + zone, 0);
                let cidr6 = of.cidr6.map(|net| {
                    let mut segments = net.network().segments();
                    segments[3] |= u16::from(number * 2 + zone);
                    Ipv6Net::new(segments.into(), 64).unwrap()
                });
                self.subnets.push(Subnet {
                    id: format!("subnet-0{vpc}{number}{zone}00000000000a"),
                    vpc,
                    role,
                    zone: zone.into(),
                    cidr: Ipv4Net::new(cidr, 24).unwrap(),
                    cidr6,
                    routes: Vec::new(),
                });
            }
        }
    }

    fn add_nodes(&mut self, subnet: usize, hosts: &[u8], random: &mut Random) {
        let of = &self.subnets[subnet];
        let (vpc, role) = (of.vpc, of.role);
        let [a, b, c, _] = of.cidr.network().octets();
        let addr6 = |host: u8| {
            let mut segments = of.cidr6?.network().segments();
            segments[7] = host.into();
            Some(Ipv6Addr::from(segments))
        };
        let mut added = Vec::new();
        for (slot, &host) in (0..).zip(hosts) {
            let secondary = slot == 1 && role != Role::Public;
            let prefix = slot == 2 && role == Role::App;
            let mut addrs = vec![Ipv4Addr::new(a, b, c, host)];
            if secondary {
                addrs.push(Ipv4Addr::new(a, b, c, host + 100));
            }
            added.push(Node {
                id: String::new(),
                kind: NodeKind::Instance,
                subnet,
                addrs,
                prefix: prefix.then(|| Ipv4Net::new(Ipv4Addr::new(a, b, c, 224), 28).unwrap()),
                addr6: addr6(host),
                public: None,
                nitro: chance(random, 60),
                loose: chance(random, 50),
            });
        }
        let gateways = [
            (role == Role::Public && vpc != LAB, NodeKind::Nat, 5),
            (
                role == Role::App && TRANSIT.contains(&vpc),
                NodeKind::Tgw,
                6,
            ),
        ];
        for (_, kind, host) in gateways.into_iter().filter(|(is_there, ..)| *is_there) {
            added.push(Node {
                id: String::new(),
                kind,
                subnet,
                addrs: vec![Ipv4Addr::new(a, b, c, host)],
                prefix: None,
                addr6: None,
                public: None,
                nitro: true,
                loose: chance(random, 50),
            });
        }
        for mut node in added {
            let number = self.nodes.len();
            node.id = format!("eni-{number:017x}");
            node.public = (role == Role::Public)
                .then(|| Ipv4Addr::new(198, 51, 100, u8::try_from(number).unwrap()));
            self.nodes.push(node);
        }
    }

    fn routes_of(&self, subnet: usize) -> Vec<(IpNet, Target)> {
        let of = &self.subnets[subnet];
        let own = &self.vpcs[of.vpc];
        let cidr = |vpc: usize| self.vpcs[vpc].cidrs.iter().map(|&net| IpNet::V4(net));
        let first = |vpc: usize| cidr(vpc).take(1);
        let net = |text: &str| -> IpNet { text.parse().unwrap() };
        let (all, all6) = (net("0.0.0.0/0"), net("::/0"));
        let mut routes: Vec<(IpNet, Target)> =
            cidr(of.vpc).map(|net| (net, Target::Local)).collect();
        routes.extend(own.cidr6.map(|net| (IpNet::V6(net), Target::Local)));
        let has6 = own.cidr6.is_some();
        match of.role {
            Role::Public => {
                routes.push((all, Target::Igw));
                routes.extend(has6.then_some((all6, Target::Igw)));
                return routes;
            }
            Role::App => {
                routes.extend(has6.then_some((all6, Target::Eigw)));
                routes.push((IpNet::V4(s3(own.region)), Target::S3));
                if of.vpc == LAB {
                    routes.push((all, Target::RegionalNat));
                }
                let nat = self.gateway(of.vpc, NodeKind::Nat, of.zone);
                routes.extend(nat.map(|nat| (all, Target::Nat(nat))));
            }
            Role::Data => routes.push((IpNet::V4(s3(own.region)), Target::S3)),
        }
        let mut to = |nets: &mut dyn Iterator<Item = IpNet>, target| {
            routes.extend(nets.map(|net| (net, target)));
        };
        match of.vpc {
            SHOP => {
                // The peer's second block is left out on this side, and ours on the other.
                to(&mut first(TOOLS), Target::Pcx(0));
                to(&mut std::iter::once(net("172.31.0.0/16")), Target::Vgw);
            }
            TWIN => to(&mut cidr(PLANT), Target::Tgw),
            TOOLS => {
                to(&mut first(SHOP), Target::Pcx(0));
                to(&mut cidr(PLANT), Target::Tgw);
            }
            PLANT => {
                to(&mut cidr(TOOLS), Target::Tgw);
                to(&mut cidr(TWIN), Target::Tgw);
                to(&mut first(LAB), Target::Pcx(1));
                to(&mut std::iter::once(net("192.168.0.0/16")), Target::Vgw);
            }
            LAB => {
                to(&mut cidr(PLANT), Target::Pcx(1));
                to(&mut cidr(SPARE), Target::Pcx(2));
            }
            _ => to(&mut cidr(LAB), Target::Pcx(2)),
        }
        routes
    }

    /// One VPC whole, with a second flow log on a subnet; one whose gateways alone are logged, one whose clients are; one dark.
    fn add_flow_logs(&mut self, random: &mut Random) {
        let (clients_only, gateways_only) = if chance(random, 50) {
            (TOOLS, TWIN)
        } else {
            (TWIN, TOOLS)
        };
        let mut wanted = vec![(SHOP, None), (PLANT, None), (LAB, None)];
        for (number, subnet) in self.subnets.iter().enumerate() {
            let is_public = subnet.role == Role::Public;
            let twice = subnet.vpc == SHOP && subnet.role == Role::Data && subnet.zone == 0;
            let alone = subnet.vpc == clients_only && !is_public
                || subnet.vpc == gateways_only && is_public;
            if twice || alone {
                wanted.push((subnet.vpc, Some(number)));
            }
        }
        for (vpc, subnet) in wanted {
            let number = self.flow_logs.len();
            self.flow_logs.push(FlowLog {
                id: format!("fl-{number:017x}"),
                vpc,
                subnet,
                interval: choose(random, &[60, 600]),
            });
        }
    }

    /// The interface of a NAT gateway or of a transit gateway in a VPC and zone.
    pub(crate) fn gateway(&self, vpc: usize, kind: NodeKind, zone: usize) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let subnet = &self.subnets[node.subnet];
            node.kind == kind && subnet.vpc == vpc && subnet.zone == zone
        })
    }

    pub(crate) fn subnet_of(&self, node: usize) -> &Subnet {
        &self.subnets[self.nodes[node].subnet]
    }

    pub(crate) fn vpc_of(&self, node: usize) -> usize {
        self.subnet_of(node).vpc
    }

    /// Where the route in force leads.
    pub(crate) fn route(&self, subnet: &Subnet, to: IpAddr) -> Option<Target> {
        let fits = subnet.routes.iter().filter(|(net, _)| net.contains(&to));
        fits.max_by_key(|(net, _)| net.prefix_len())
            .map(|&(_, target)| target)
    }

    /// The flow logs that record an interface.
    pub(crate) fn logs_of(&self, node: usize) -> impl Iterator<Item = usize> {
        let (vpc, subnet) = (self.vpc_of(node), self.nodes[node].subnet);
        let logs = self.flow_logs.iter().enumerate();
        logs.filter(move |(_, log)| log.vpc == vpc && log.subnet.is_none_or(|of| of == subnet))
            .map(|(number, _)| number)
    }

    pub(crate) fn is_logged(&self, node: usize) -> bool {
        self.logs_of(node).next().is_some()
    }
}

fn vpcs(random: &mut Random) -> Vec<Vpc> {
    const A: &str = "111122223333";
    const B: &str = "444455556666";
    const EU: &str = "eu-west-1";
    const US: &str = "us-east-1";
    let same = block(10, 0);
    let own = octet(random, 20, 59);
    let blocks: [(&str, &str, Vec<Ipv4Net>, Option<u16>); 6] = [
        (A, EU, vec![same, block(10, own)], Some(1)),
        (B, EU, vec![same], None),
        (
            B,
            EU,
            vec![block(10, own + 50), block(10, own + 100)],
            Some(2),
        ),
        (A, EU, vec![block(172, 16)], None),
        (B, US, vec![block(100, 64 + own), block(11, own)], None),
        (A, US, vec![same], None),
    ];
    let vpcs = blocks.into_iter().enumerate();
    vpcs.map(|(number, (account, region, cidrs, six))| Vpc {
        id: format!("vpc-0{number}00000000000000a"),
        account,
        region,
        cidrs,
        cidr6: six.map(|six| {
            Ipv6Net::new(Ipv6Addr::new(0x2001, 0xdb8, six, 0x100, 0, 0, 0, 0), 56).unwrap()
        }),
    })
    .collect()
}
