//! The table `gateways`: five kinds of them, and who is attached.

use std::collections::HashSet;

use arrow::record_batch::RecordBatch;

use super::columns::{Columns, Row, tags};
use super::tables::name;
use crate::topology::model::{Resources, Tag};
use crate::topology::network::Network;

/// A gateway of any kind, or a VPC's attachment to one.
struct Gateway<'r> {
    account_id: &'r Option<String>,
    region: &'r Option<String>,
    vpc_id: Option<&'r str>,
    id: &'r str,
    kind: &'static str,
    attachment_id: Option<&'r str>,
    state: Option<&'r str>,
    tags: &'r [Tag],
}

/// One row for each gateway and VPC: `kind` is `igw`, `eigw`, `vgw`, `carrier` or `tgw`; detached ones have no `vpc_id`.
pub(super) fn gateways(snapshots: &[(&Network, &Resources)]) -> RecordBatch {
    let mut rows = Vec::new();
    for &(network, resources) in snapshots {
        rows.extend(
            gateways_of(resources)
                .into_iter()
                .map(|gateway| Row::new(network, gateway)),
        );
    }
    Columns::of(&rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| row.record.vpc_id)
        .text("gateway_id", |row| Some(row.record.id))
        .text("kind", |row| Some(row.record.kind))
        .text("name", |row| name(row.record.tags))
        .text("attachment_id", |row| row.record.attachment_id)
        .text("state", |row| row.record.state)
        .text("tags", |row| tags(row.record.tags))
        .finish()
}

fn gateways_of(resources: &Resources) -> Vec<Gateway<'_>> {
    let mut gateways = Vec::new();
    macro_rules! attached {
        ($field:ident, $id:ident, $kind:literal, $attachments:ident) => {
            for gateway in &resources.$field {
                let detached = gateway.$attachments.is_empty().then_some((None, None));
                let attached = gateway
                    .$attachments
                    .iter()
                    .map(|attachment| (attachment.vpc_id.as_deref(), attachment.state.as_deref()));
                gateways.extend(attached.chain(detached).map(|(vpc_id, state)| Gateway {
                    account_id: &gateway.account_id,
                    region: &gateway.region,
                    vpc_id,
                    id: &gateway.$id,
                    kind: $kind,
                    attachment_id: None,
                    state,
                    tags: &gateway.tags,
                }));
            }
        };
    }
    attached!(internet_gateways, internet_gateway_id, "igw", attachments);
    attached!(
        egress_only_internet_gateways,
        egress_only_internet_gateway_id,
        "eigw",
        attachments
    );
    attached!(vpn_gateways, vpn_gateway_id, "vgw", vpc_attachments);
    gateways.extend(resources.carrier_gateways.iter().map(|gateway| Gateway {
        account_id: &gateway.account_id,
        region: &gateway.region,
        vpc_id: gateway.vpc_id.as_deref(),
        id: &gateway.carrier_gateway_id,
        kind: "carrier",
        attachment_id: None,
        state: gateway.state.as_deref(),
        tags: &gateway.tags,
    }));
    gateways.extend(resources.transit_gateways.iter().map(|gateway| Gateway {
        account_id: &gateway.account_id,
        region: &gateway.region,
        vpc_id: None,
        id: &gateway.transit_gateway_id,
        kind: "tgw",
        attachment_id: None,
        state: gateway.state.as_deref(),
        tags: &gateway.tags,
    }));
    let mut attachments = HashSet::new();
    for attachment in &resources.transit_gateway_vpc_attachments {
        attachments.insert(attachment.transit_gateway_attachment_id.as_str());
        gateways.push(Gateway {
            account_id: &attachment.account_id,
            region: &attachment.region,
            vpc_id: attachment.vpc_id.as_deref(),
            id: attachment.transit_gateway_id.as_deref().unwrap_or_default(),
            kind: "tgw",
            attachment_id: Some(&attachment.transit_gateway_attachment_id),
            state: attachment.state.as_deref(),
            tags: &attachment.tags,
        });
    }
    let others = resources.transit_gateway_attachments.iter();
    let others =
        others.filter(|other| !attachments.contains(other.transit_gateway_attachment_id.as_str()));
    gateways.extend(others.map(|attachment| {
        Gateway {
            account_id: &attachment.account_id,
            region: &attachment.region,
            vpc_id: attachment
                .resource_id
                .as_deref()
                .filter(|id| id.starts_with("vpc-")),
            id: attachment.transit_gateway_id.as_deref().unwrap_or_default(),
            kind: "tgw",
            attachment_id: Some(&attachment.transit_gateway_attachment_id),
            state: attachment.state.as_deref(),
            tags: &attachment.tags,
        }
    }));
    gateways
}
