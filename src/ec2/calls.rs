//! Every call whose answer a topology keeps, page by page, a few at a time.
//!
//! Not asked for, because nothing in a topology would change: instances (their interfaces say more), local gateways and route
//! servers (a route names them), zones (a subnet has name and id), and Block Public Access options (a subnet has their effect).

use std::collections::BTreeMap;
use std::error::Error;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use serde_json::Value;

use super::connect::Asker;
use super::shapes::Shape;
use super::{Failure, Gap};
use crate::topology::model::Kind;
use crate::topology::{Answer, Listing};

/// Calls to one region at the same time. EC2 gives each account and region a bucket for a hundred of these calls, refilled
/// with twenty a second. <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
const CALLS_AT_A_TIME: usize = 6;

type Records = Result<Vec<Value>, Failure>;

/// A list that one call gives, once it is awaited.
struct Call {
    name: &'static str,
    kind: Kind,
    records: BoxFuture<'static, Records>,
}

/// What became of a call.
struct Answered {
    name: &'static str,
    kind: Kind,
    records: Records,
}

impl Call {
    async fn send(self) -> Answered {
        Answered {
            name: self.name,
            kind: self.kind,
            records: self.records.await,
        }
    }
}

/// Asks for everything; no answer at all if the first call shows that no other would be answered.
pub(super) async fn ask(asker: Asker) -> (Option<Answer>, Vec<Gap>) {
    let client = &asker.client;
    let gap = |what: String, failure| Gap {
        whose: asker.name(),
        what,
        failure,
    };
    let failed =
        |name: &str, failure: Failure| gap(format!("`{name}` {}", failure.verb()), failure);
    let mut calls = calls(client);
    let first = calls.remove(0).send().await;
    if let Err(failure) = &first.records
        && failure.is_of_the_place()
    {
        let nothing = gap("no call is answered".to_owned(), failure.clone());
        return (None, vec![nothing]);
    }
    let rest = stream::iter(calls)
        .map(|call| call.send().boxed())
        .buffered(CALLS_AT_A_TIME)
        .collect::<Vec<_>>()
        .await;

    let mut gaps = Vec::new();
    let mut listings = Vec::new();
    for Answered {
        name,
        kind,
        records,
    } in std::iter::once(first).chain(rest)
    {
        match records {
            Ok(records) => listings.push(Listing {
                kind,
                records,
                complete: true,
            }),
            Err(failure) => gaps.push(failed(name, failure)),
        }
    }
    let (lists, refused) = prefix_lists(client).await;
    listings.extend(lists);
    gaps.extend(
        refused
            .into_iter()
            .map(|(name, failure)| failed(name, failure)),
    );
    if listings.is_empty() {
        let refused = gaps.swap_remove(0);
        return (None, vec![refused]);
    }
    let answer = Answer {
        account_id: asker.account_id.clone(),
        region: asker.region.clone(),
        listings,
    };
    (Some(answer), gaps)
}

/// All but those about prefix lists, which depend on each other; that of VPCs first. Page sizes are the largest that EC2
/// takes; without one it chooses.
fn calls(client: &Client) -> Vec<Call> {
    macro_rules! paged {
        ($name:literal $kind:ident $call:ident $($page_size:literal)?) => {{
            let pages = client.$call().into_paginator()$(.page_size($page_size))?;
            let found = async move { records(pages.items().send().try_collect().await) };
            Call { name: $name, kind: Kind::$kind, records: found.boxed() }
        }};
    }
    let vpn_gateways = client.describe_vpn_gateways();
    let addresses = client.describe_addresses();
    vec![
        paged!("DescribeVpcs" Vpcs describe_vpcs 1000),
        paged!("DescribeSubnets" Subnets describe_subnets 1000),
        paged!("DescribeRouteTables" RouteTables describe_route_tables 100),
        paged!("DescribeNetworkAcls" NetworkAcls describe_network_acls 1000),
        paged!("DescribeSecurityGroups" SecurityGroups describe_security_groups 1000),
        paged!("DescribeSecurityGroupRules" SecurityGroupRules describe_security_group_rules 1000),
        paged!("DescribeNetworkInterfaces" NetworkInterfaces describe_network_interfaces 1000),
        paged!("DescribeNatGateways" NatGateways describe_nat_gateways 1000),
        paged!("DescribeInternetGateways" InternetGateways describe_internet_gateways 1000),
        paged!("DescribeEgressOnlyInternetGateways" EgressOnlyInternetGateways describe_egress_only_internet_gateways 255),
        paged!("DescribeCarrierGateways" CarrierGateways describe_carrier_gateways 1000),
        paged!("DescribeTransitGateways" TransitGateways describe_transit_gateways 1000),
        paged!("DescribeTransitGatewayAttachments" TransitGatewayAttachments describe_transit_gateway_attachments 1000),
        paged!("DescribeTransitGatewayVpcAttachments" TransitGatewayVpcAttachments describe_transit_gateway_vpc_attachments 1000),
        paged!("DescribeTransitGatewayRouteTables" TransitGatewayRouteTables describe_transit_gateway_route_tables 1000),
        paged!("DescribeVpcEndpoints" VpcEndpoints describe_vpc_endpoints 1000),
        paged!("DescribeVpcPeeringConnections" VpcPeeringConnections describe_vpc_peering_connections 1000),
        paged!("DescribeFlowLogs" FlowLogs describe_flow_logs),
        Call {
            name: "DescribeVpnGateways",
            kind: Kind::VpnGateways,
            records: async move {
                let found = vpn_gateways.send().await;
                records(found.map(|found| found.vpn_gateways.unwrap_or_default()))
            }
            .boxed(),
        },
        Call {
            name: "DescribeAddresses",
            kind: Kind::Addresses,
            records: async move {
                let found = addresses.send().await;
                records(found.map(|found| found.addresses.unwrap_or_default()))
            }
            .boxed(),
        },
    ]
}

fn records<T: Shape, E>(found: Result<Vec<T>, SdkError<E>>) -> Records
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match found {
        Ok(found) => Ok(found.iter().map(Shape::to_json).collect()),
        Err(error) => Err(Failure::of(&error)),
    }
}

/// Prefix lists: what there are, AWS's CIDRs of gateway endpoints, and the entries of all others, list by list.
async fn prefix_lists(client: &Client) -> (Option<Listing>, Vec<(&'static str, Failure)>) {
    let managed = client
        .describe_managed_prefix_lists()
        .into_paginator()
        .page_size(100);
    let of_services = client.describe_prefix_lists().into_paginator();
    let (managed, of_services) = tokio::join!(
        async { records(managed.items().send().try_collect().await) }.boxed(),
        async { records(of_services.items().send().try_collect().await) }.boxed(),
    );
    let complete = managed.is_ok();
    let mut refused = Vec::new();
    let mut taken = |name, records: Records| {
        records.unwrap_or_else(|failure| {
            refused.push((name, failure));
            Vec::new()
        })
    };
    let managed = taken("DescribeManagedPrefixLists", managed);
    let of_services = taken("DescribePrefixLists", of_services);
    let id_of = |list: &Value| list["PrefixListId"].as_str().map(str::to_owned);
    // One record for each list, so that it has one owner: that of services is AWS, which their own call does not say.
    let mut lists: BTreeMap<Option<String>, Value> = BTreeMap::new();
    for mut list in of_services {
        list["OwnerId"] = "AWS".into();
        lists.insert(id_of(&list), list);
    }
    let mut without_entries = Vec::new();
    for mut list in managed {
        let id = id_of(&list);
        match lists.get(&id) {
            Some(known) => list["Cidrs"] = known["Cidrs"].clone(),
            None => without_entries.extend(id.clone()),
        }
        lists.insert(id, list);
    }
    let entries: Vec<(String, Records)> = stream::iter(without_entries)
        .map(|id| entries(client, id).boxed())
        .buffered(CALLS_AT_A_TIME)
        .collect()
        .await;
    let mut refused_entries = None;
    for (id, entries) in entries {
        match (entries, lists.get_mut(&Some(id))) {
            (Ok(entries), Some(list)) => list["Entries"] = entries.into(),
            (Ok(_), None) => {}
            (Err(failure), _) => refused_entries = Some(failure),
        }
    }
    refused.extend(refused_entries.map(|failure| ("GetManagedPrefixListEntries", failure)));
    let lists: Vec<Value> = lists.into_values().collect();
    let listing = (complete || !lists.is_empty()).then_some(Listing {
        kind: Kind::PrefixLists,
        records: lists,
        complete,
    });
    (listing, refused)
}

async fn entries(client: &Client, id: String) -> (String, Records) {
    let pages = client
        .get_managed_prefix_list_entries()
        .prefix_list_id(&id)
        .into_paginator()
        .page_size(100);
    let found = pages.items().send().try_collect().await;
    (id, records(found))
}
