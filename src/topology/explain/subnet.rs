//! A subnet explained: the route table in force and why, its routes, its class and why it is not a better one.

use serde::Serialize;

use super::routes::{RouteExplained, Routes};
use super::{VpcNamed, owned};
use crate::topology::class::{Judged, SetOn, Verdict, block_mode, judge};
use crate::topology::network::{Network, Subnet};
use crate::topology::route::{Line, RouteTarget};
use crate::topology::words::{listed, nacl_rule};
use crate::topology::{Class, Family, model};

/// A subnet, explained.
#[derive(Debug, Serialize)]
pub(crate) struct SubnetExplained {
    pub(crate) subnet_id: String,
    pub(crate) name: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) availability_zone: Option<String>,
    pub(crate) availability_zone_id: Option<String>,
    pub(crate) cidrs: Vec<String>,
    pub(crate) map_public_ip_on_launch: bool,
    pub(crate) vpc: Option<VpcNamed>,
    pub(crate) block_public_access: Option<Block>,
    pub(crate) route_table: Table,
    pub(crate) nacl: Option<Rules>,
    /// IPv4, IPv6, or both, each on its own.
    pub(crate) families: Vec<FamilyExplained>,
}

/// What Block Public Access does.
#[derive(Debug, Serialize)]
pub(crate) struct Block {
    pub(crate) mode: String,
    /// `subnet` or `vpc`.
    pub(crate) set_on: &'static str,
    pub(crate) means: &'static str,
}

/// The route table in force.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) route_table_id: Option<String>,
    pub(crate) name: Option<String>,
    /// `explicit`, `main` or `none`.
    pub(crate) association: &'static str,
    pub(crate) why: String,
}

/// The network ACL in force: its rules in the order in which they are tried.
#[derive(Debug, Serialize)]
pub(crate) struct Rules {
    pub(crate) nacl_id: String,
    pub(crate) name: Option<String>,
    pub(crate) is_default: bool,
    pub(crate) ingress: Vec<String>,
    pub(crate) egress: Vec<String>,
}

/// What holds for one family.
#[derive(Debug, Serialize)]
pub(crate) struct FamilyExplained {
    #[serde(serialize_with = "as_text")]
    pub(crate) family: Family,
    pub(crate) class: Class,
    pub(crate) reason: String,
    /// The longest prefix first; the first that holds an address is in force for it.
    pub(crate) routes: Vec<RouteExplained>,
    pub(crate) not_better: Vec<NotBetter>,
}

/// Why the class is not a better one.
#[derive(Debug, Serialize)]
pub(crate) struct NotBetter {
    pub(crate) class: Class,
    pub(crate) because: String,
    /// True where a route is there that would make it so, and something stands in its way.
    pub(crate) nearly: bool,
}

fn as_text<S: serde::Serializer>(family: &Family, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(family)
}

impl Network {
    pub(super) fn explain_subnet(&self, subnet: &Subnet) -> SubnetExplained {
        let vpc = subnet.vpc.map(|vpc| &self.vpcs[vpc]);
        let families = [Family::V4, Family::V6]
            .into_iter()
            .filter(|&family| subnet.has(family))
            .map(|family| self.explain_family(subnet, family))
            .collect();
        let cidrs = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
        SubnetExplained {
            subnet_id: subnet.id.to_string(),
            name: owned(subnet.name.as_deref()),
            account_id: owned(subnet.account_id.as_deref()),
            region: owned(subnet.region.as_deref()),
            availability_zone: subnet.record.availability_zone.clone(),
            availability_zone_id: subnet.record.availability_zone_id.clone(),
            cidrs: cidrs.map(ToString::to_string).collect(),
            map_public_ip_on_launch: subnet.record.map_public_ip_on_launch,
            vpc: vpc.map(VpcNamed::of),
            block_public_access: block_mode(self, subnet).map(|(mode, set_on)| Block {
                mode: mode.to_owned(),
                set_on: match set_on {
                    SetOn::Subnet => "subnet",
                    SetOn::Vpc => "vpc",
                },
                means: match mode {
                    "block-ingress" => {
                        "internet gateways pass only what NAT gateways open, and nothing of hosts; egress-only internet gateways still work"
                    }
                    _ => "internet gateways and egress-only internet gateways pass nothing, either way",
                },
            }),
            route_table: self.explain_table(subnet),
            nacl: subnet
                .nacl_id
                .as_deref()
                .and_then(|id| self.nacl(id))
                .map(|nacl| rules(nacl)),
            families,
        }
    }

    fn explain_table(&self, subnet: &Subnet) -> Table {
        let vpc_id = subnet.vpc_id.as_deref().unwrap_or("its VPC");
        let Some(table) = subnet.table.map(|table| &self.tables[table]) else {
            return Table {
                route_table_id: None,
                name: None,
                association: "none",
                why: format!(
                    "the topology has neither a route table that is associated with the subnet nor the main one of {vpc_id}"
                ),
            };
        };
        let (association, why) = if subnet.is_explicit {
            let id = table
                .record
                .associations
                .iter()
                .find(|association| association.subnet_id.as_deref() == Some(&subnet.id))
                .and_then(|association| association.route_table_association_id.as_deref());
            let id = id.map(|id| format!(" ({id})")).unwrap_or_default();
            let also = if table.is_main {
                "; it is the VPC's main one too"
            } else {
                ""
            };
            (
                "explicit",
                format!("it is associated with the subnet{id}{also}"),
            )
        } else {
            (
                "main",
                format!(
                    "no table is associated with the subnet, so the main one of {vpc_id} applies"
                ),
            )
        };
        Table {
            route_table_id: Some(table.id.to_string()),
            name: owned(model::tag(&table.record.tags, "Name")),
            association,
            why,
        }
    }

    fn explain_family(&self, subnet: &Subnet, family: Family) -> FamilyExplained {
        let judged = judge(self, subnet, family);
        let explain = Routes {
            network: self,
            subnet,
            vpc: subnet.vpc.map(|vpc| &self.vpcs[vpc]),
            family,
        };
        let routes = subnet
            .table
            .map(|table| explain.explain(&self.tables[table], &judged))
            .unwrap_or_default();
        FamilyExplained {
            family,
            class: judged.classified.class,
            not_better: self.not_better(subnet, family, &judged),
            reason: judged.classified.reason,
            routes,
        }
    }

    /// Why a subnet is of none of the classes that come before its own.
    fn not_better(&self, subnet: &Subnet, family: Family, judged: &Judged<'_>) -> Vec<NotBetter> {
        let class = judged.classified.class;
        let other_family = |target: RouteTarget| {
            let table = &self.tables[subnet.table?];
            table
                .lines
                .iter()
                .find(|line| line.family != family && line.target == target && !line.blackhole)
        };
        Class::BY_PRECEDENCE
            .into_iter()
            .take_while(|better| match class {
                // What cannot be followed hides all but the best.
                Class::Unknown => *better == Class::Public && !judged.verdicts.is_empty(),
                class => *better != class,
            })
            .filter(|better| *better != Class::PrivateEigw || family == Family::V6)
            .map(|better| {
                let in_the_way: Vec<String> = judged
                    .verdicts
                    .iter()
                    .filter(|(line, _)| would_be(line) == Some(better))
                    .filter_map(|(line, verdict)| obstacle(line, verdict))
                    .collect();
                let nearly = !in_the_way.is_empty();
                let because = if nearly {
                    listed(in_the_way)
                } else {
                    let mut because = lacking(better, family);
                    if better == Class::Public
                        && let Some(line) = other_family(RouteTarget::InternetGateway)
                    {
                        because.push_str(&format!(
                            " ({} → {} is of the other family, and one never covers the other)",
                            line.destination, line.target_id
                        ));
                    }
                    because
                };
                NotBetter {
                    class: better,
                    because,
                    nearly,
                }
            })
            .collect()
    }
}

/// The class that a line gives if nothing stands in its way.
fn would_be(line: &Line) -> Option<Class> {
    Some(match line.target {
        RouteTarget::InternetGateway | RouteTarget::CarrierGateway => Class::Public,
        RouteTarget::InspectionEndpoint => Class::PublicViaInspection,
        RouteTarget::NatGateway | RouteTarget::NatInstance => Class::PrivateNat,
        RouteTarget::EgressOnlyInternetGateway => Class::PrivateEigw,
        RouteTarget::TransitGateway | RouteTarget::CoreNetwork => Class::PrivateTgw,
        RouteTarget::VpnGateway | RouteTarget::LocalGateway => Class::VpnOnly,
        RouteTarget::Peering | RouteTarget::OdbNetwork => Class::PeeredOnly,
        RouteTarget::GatewayEndpoint => Class::EndpointOnly,
        RouteTarget::Interface | RouteTarget::Local | RouteTarget::None => return None,
    })
}

/// What stands in a line's way to the class it would give.
fn obstacle(line: &Line, verdict: &Verdict) -> Option<String> {
    let route = format!("{} → {}", line.destination, line.target_id);
    match verdict {
        Verdict::Ignored(remark) => Some(format!("{route} {remark}")),
        Verdict::Leads(opinion) if Some(opinion.class) != would_be(line) => {
            Some(format!("{route}: {}", opinion.about))
        }
        Verdict::Inside | Verdict::Leads(_) => None,
    }
}

/// What a table lacks for a class.
fn lacking(class: Class, family: Family) -> String {
    let what = match class {
        Class::Public => "an internet gateway",
        Class::PublicViaInspection => "a firewall or appliance whose subnet is public",
        Class::PrivateNat => "a public NAT gateway or a NAT instance",
        Class::PrivateNatPrivate => "a private NAT gateway",
        Class::PrivateEigw => "an egress-only internet gateway",
        Class::PrivateTgw => "a transit gateway or core network",
        Class::VpnOnly => "a virtual private gateway",
        Class::PeeredOnly => "a peering",
        Class::EndpointOnly => "a gateway endpoint",
        Class::Isolated | Class::Unknown => "anything",
    };
    format!("no {family} route leads to {what}")
}

fn rules(nacl: &model::NetworkAcl) -> Rules {
    let of = |egress: bool| {
        let mut entries: Vec<_> = nacl
            .entries
            .iter()
            .filter(|entry| entry.egress == egress)
            .collect();
        entries.sort_by_key(|entry| entry.rule_number);
        entries.into_iter().map(nacl_rule).collect()
    };
    Rules {
        nacl_id: nacl.network_acl_id.clone(),
        name: owned(model::tag(&nacl.tags, "Name")),
        is_default: nacl.is_default,
        ingress: of(false),
        egress: of(true),
    }
}
