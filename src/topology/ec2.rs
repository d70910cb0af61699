//! Reads what `aws ec2 describe-* > FILE.json` prints: finds the records in a document, whatever it is wrapped in.

use serde_json::{Map, Value};

use super::model::Kind;

/// Kinds of EC2 answers that a topology has no use for: known, noted, left out.
const UNUSED: &[&str] = &[
    "AccountAttributes",
    "AvailabilityZones",
    "ClientVpnEndpoints",
    "CoipPools",
    "CustomerGateways",
    "DhcpOptions",
    "DryRun",
    "Hosts",
    "Images",
    "InstanceStatuses",
    "InstanceTypes",
    "IpamPools",
    "Ipams",
    "KeyPairs",
    "LaunchTemplateVersions",
    "LaunchTemplates",
    "LocalGatewayRouteTables",
    "LocalGateways",
    "MovingAddressStatuses",
    "NetworkInsightsPaths",
    "NetworkInterfacePermissions",
    "PlacementGroups",
    "PublicIpv4Pools",
    "Regions",
    "RouteServers",
    "Routes",
    "SecurityGroupVpcAssociations",
    "ServiceConfigurations",
    "ServiceDetails",
    "Snapshots",
    "StaleSecurityGroupSet",
    "Tags",
    "TrafficMirrorFilters",
    "TrafficMirrorSessions",
    "TrafficMirrorTargets",
    "TransitGatewayConnects",
    "TransitGatewayPeeringAttachments",
    "TransitGatewayRouteTableAssociations",
    "TransitGatewayRouteTablePropagations",
    "Volumes",
    "VpcBlockPublicAccessExclusions",
    "VpcBlockPublicAccessOptions",
    "VpcEncryptionControls",
    "VpcEndpointConnections",
    "VpnConnections",
];

/// Wrappers within wrappers are followed this deep; real ones nest twice.
const DEEPEST_WRAPPER: usize = 4;

/// A list of records of one kind, as one document or call has it.
#[derive(Debug)]
pub struct Listing {
    /// What kind.
    pub kind: Kind,
    /// Each as the AWS CLI prints it, without nulls.
    pub records: Vec<Value>,
    /// False where more pages follow that are not here, so that what is missing may still exist.
    pub complete: bool,
}

/// What a document holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) listings: Vec<Listing>,
    /// Interfaces that instances mention.
    pub(super) instance_interfaces: Vec<Value>,
    /// Prefix list entries, whose list only the file name tells.
    pub(super) entries: Option<Vec<Value>>,
    pub(super) notes: Vec<String>,
    /// True if this is EC2's, even where nothing in it is used.
    pub(super) is_ec2: bool,
}

impl Contents {
    /// Finds the records in one JSON document.
    pub(super) fn of(document: Value) -> Self {
        let mut contents = Self::default();
        contents.look_into(without_nulls(document), 0);
        contents
    }

    fn look_into(&mut self, value: Value, depth: usize) {
        match value {
            Value::Object(object) => self.look_into_object(object, depth),
            Value::Array(items) => self.look_into_array(items, depth),
            _ => {}
        }
    }

    fn look_into_object(&mut self, object: Map<String, Value>, depth: usize) {
        if kind_by_fields(&object).is_some() || is_instance(&object) {
            return self.look_into_array(vec![Value::Object(object)], depth);
        }
        let complete = object
            .get("NextToken")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty);
        if !complete {
            self.notes.push(
                "has a `NextToken`: more pages follow that this file does not hold".to_owned(),
            );
        }
        for (key, value) in object {
            match (Kind::ALL.iter().find(|kind| kind.key() == key), value) {
                (Some(&kind), Value::Array(records)) => self.list(kind, records, complete),
                (None, Value::Array(records)) if key == "ManagedPrefixLists" => {
                    self.list(Kind::PrefixLists, records, complete);
                }
                (None, Value::Array(records)) if key == "Reservations" || key == "Instances" => {
                    self.is_ec2 = true;
                    self.look_into_array(records, depth + 1);
                }
                (None, Value::Array(records))
                    if key == "Entries"
                        && records.iter().all(|entry| entry.get("Cidr").is_some()) =>
                {
                    self.is_ec2 = true;
                    self.entries.get_or_insert_default().extend(records);
                }
                (None, Value::Object(error)) if key == "Error" => {
                    self.is_ec2 = true;
                    let code = error
                        .get("Code")
                        .and_then(Value::as_str)
                        .unwrap_or("without a code");
                    self.notes.push(format!(
                        "holds an error that AWS answered (`{code}`), no resources"
                    ));
                }
                (None, _) if UNUSED.contains(&key.as_str()) => {
                    self.is_ec2 = true;
                    self.notes
                        .push(format!("`{key}` is left out: a topology has no use for it"));
                }
                (None, value @ (Value::Object(_) | Value::Array(_))) if depth < DEEPEST_WRAPPER => {
                    self.look_into(value, depth + 1);
                }
                _ => {}
            }
        }
    }

    fn look_into_array(&mut self, items: Vec<Value>, depth: usize) {
        for item in items {
            let Value::Object(mut object) = item else {
                continue;
            };
            if let Some(kind) = kind_by_fields(&object) {
                self.list(kind, vec![Value::Object(object)], true);
            } else if is_instance(&object) {
                self.is_ec2 = true;
                self.take_interfaces_of(object);
            } else if is_reservation(&object) {
                self.look_into_array(take_list(&mut object, "Instances"), depth + 1);
            } else if depth < DEEPEST_WRAPPER && !is_record(&object) {
                self.look_into_object(object, depth + 1);
            }
        }
    }

    fn list(&mut self, kind: Kind, records: Vec<Value>, complete: bool) {
        self.is_ec2 = true;
        match self
            .listings
            .iter_mut()
            .find(|listing| listing.kind == kind && listing.complete == complete)
        {
            Some(listing) => listing.records.extend(records),
            None => self.listings.push(Listing {
                kind,
                records,
                complete,
            }),
        }
    }

    /// An instance names its interfaces, though with less than `describe-network-interfaces` says.
    fn take_interfaces_of(&mut self, mut instance: Map<String, Value>) {
        let zone = instance
            .get("Placement")
            .and_then(|placement| placement.get("AvailabilityZone"))
            .cloned();
        let interfaces = take_list(&mut instance, "NetworkInterfaces");
        for interface in interfaces {
            let Value::Object(mut interface) = interface else {
                continue;
            };
            if let Some(zone) = &zone {
                interface.insert("AvailabilityZone".to_owned(), zone.clone());
            }
            if let Some(id) = instance.get("InstanceId") {
                let attachment = interface
                    .entry("Attachment")
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(attachment) = attachment {
                    attachment.insert("InstanceId".to_owned(), id.clone());
                }
            }
            self.instance_interfaces.push(Value::Object(interface));
        }
    }
}

/// What kind of resource an object is, told by the fields that only this kind has.
fn kind_by_fields(object: &Map<String, Value>) -> Option<Kind> {
    let has = |key: &str| object.contains_key(key);
    let kind = if has("TransitGatewayAttachmentId") && has("TransitGatewayId") {
        if has("VpcId") {
            Kind::TransitGatewayVpcAttachments
        } else {
            Kind::TransitGatewayAttachments
        }
    } else if has("TransitGatewayRouteTableId") && has("TransitGatewayId") {
        Kind::TransitGatewayRouteTables
    } else if has("TransitGatewayId") && (has("TransitGatewayArn") || has("Options")) {
        Kind::TransitGateways
    } else if has("SecurityGroupRuleId") {
        Kind::SecurityGroupRules
    } else if has("FlowLogId") {
        Kind::FlowLogs
    } else if has("VpcPeeringConnectionId") && (has("RequesterVpcInfo") || has("AccepterVpcInfo")) {
        Kind::VpcPeeringConnections
    } else if has("VpcEndpointId") && (has("VpcEndpointType") || has("ServiceName")) {
        Kind::VpcEndpoints
    } else if has("NatGatewayId") && (has("NatGatewayAddresses") || has("State")) {
        Kind::NatGateways
    } else if has("EgressOnlyInternetGatewayId") && has("Attachments") {
        Kind::EgressOnlyInternetGateways
    } else if has("InternetGatewayId") && has("Attachments") {
        Kind::InternetGateways
    } else if has("VpnGatewayId") && (has("VpcAttachments") || has("State")) {
        Kind::VpnGateways
    } else if has("CarrierGatewayId") && has("VpcId") {
        Kind::CarrierGateways
    } else if has("PrefixListId") && has("PrefixListName") {
        Kind::PrefixLists
    } else if has("PublicIp") && (has("AllocationId") || has("Domain")) {
        Kind::Addresses
    } else if has("NetworkInterfaceId")
        && (has("PrivateIpAddresses") || has("PrivateIpAddress") || has("MacAddress"))
    {
        Kind::NetworkInterfaces
    } else if has("NetworkAclId") && has("Entries") {
        Kind::NetworkAcls
    } else if has("RouteTableId") && has("Routes") {
        Kind::RouteTables
    } else if has("GroupId") && (has("IpPermissions") || has("IpPermissionsEgress")) {
        Kind::SecurityGroups
    } else if has("SubnetId")
        && has("VpcId")
        && (has("CidrBlock") || has("Ipv6CidrBlockAssociationSet"))
    {
        Kind::Subnets
    } else if has("VpcId")
        && (has("CidrBlock") || has("DhcpOptionsId") || has("CidrBlockAssociationSet"))
    {
        Kind::Vpcs
    } else {
        return None;
    };
    Some(kind)
}

fn is_instance(object: &Map<String, Value>) -> bool {
    object.contains_key("InstanceId")
        && (object.contains_key("InstanceType") || object.contains_key("NetworkInterfaces"))
}

fn is_reservation(object: &Map<String, Value>) -> bool {
    object.contains_key("ReservationId") && object.contains_key("Instances")
}

/// True for a record of some other kind. It has values of its own under EC2's kind of names, and lists in it (a transit
/// gateway route names attachments) only mention resources.
fn is_record(object: &Map<String, Value>) -> bool {
    object.iter().any(|(key, value)| {
        key.starts_with(|first: char| first.is_ascii_uppercase())
            && key != "NextToken"
            && !value.is_array()
            && !value.is_object()
    })
}

fn take_list(object: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match object.remove(key) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// A null means the same as an absent field; without nulls, one set of optional fields reads both.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items
            .into_iter()
            .filter(|item| !item.is_null())
            .map(without_nulls)
            .collect::<Vec<_>>()
            .into(),
        other => other,
    }
}

/// Says in a few words what a document is that is not EC2's.
pub(super) fn describe(document: &Value) -> String {
    match document {
        Value::Object(object) if object.is_empty() => "an empty object".to_owned(),
        Value::Object(object) => {
            let keys: Vec<_> = object
                .keys()
                .take(3)
                .map(|key| format!("`{key}`"))
                .collect();
            let more = if object.len() > 3 { ", …" } else { "" };
            format!("an object with {}{more}", keys.join(", "))
        }
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list of something else".to_owned(),
        Value::String(_) => "a string".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Null => "null".to_owned(),
    }
}

/// The list's id in a file name such as `pl-0123abcd.entries.json`.
pub(super) fn prefix_list_in(file_name: &str) -> Option<String> {
    let mut from = 0;
    while let Some(found) = file_name[from..].find("pl-") {
        let at = from + found;
        let digits: String = file_name[at + 3..]
            .chars()
            .take_while(char::is_ascii_hexdigit)
            .collect();
        let word_starts_here =
            !file_name[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
        if word_starts_here && digits.len() >= 4 {
            return Some(format!("pl-{digits}"));
        }
        from = at + 3;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_the_prefix_list_in_a_file_name() {
        assert_eq!(
            prefix_list_in("pl-0123abcd.json").as_deref(),
            Some("pl-0123abcd")
        );
        assert_eq!(
            prefix_list_in("get-managed-prefix-list-entries-pl-63a5400a.json").as_deref(),
            Some("pl-63a5400a")
        );
        assert_eq!(
            prefix_list_in("entries_of_pl-63a5400a_v2.json").as_deref(),
            Some("pl-63a5400a")
        );
        assert_eq!(prefix_list_in("sample-entries.json"), None);
    }

    #[test]
    fn reads_records_in_any_wrapper() {
        let vpc = json!({"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16"});
        for document in [
            json!({"Vpcs": [vpc.clone()]}),
            json!({"status_code": 200, "data": {"Vpcs": [vpc.clone()], "ResponseMetadata": {}}}),
            json!({"data": [vpc.clone()]}),
            json!([vpc.clone()]),
            json!([{"Vpcs": [vpc.clone()]}]),
            json!({"DESCRIBE_VPCS": {"Vpcs": [vpc.clone()]}}),
            vpc.clone(),
        ] {
            let contents = Contents::of(document.clone());
            assert_eq!(contents.listings.len(), 1, "{document}");
            assert_eq!(contents.listings[0].kind, Kind::Vpcs, "{document}");
            assert_eq!(contents.listings[0].records.len(), 1, "{document}");
        }
    }

    #[test]
    fn knows_what_is_not_its_own() {
        for document in [
            json!({"Records": [{"eventName": "RunInstances"}]}),
            json!([]),
            json!({}),
            json!(1),
        ] {
            assert!(!Contents::of(document.clone()).is_ec2, "{document}");
        }
    }

    #[test]
    fn does_not_take_a_mention_for_a_record() {
        let routes = json!({"SOME_ROUTES": [{"DestinationCidrBlock": "10.0.0.0/16", "State": "active",
            "TransitGatewayAttachments": [{"TransitGatewayAttachmentId": "tgw-attach-1", "ResourceType": "vpc"}]}]});
        assert!(Contents::of(routes).listings.is_empty());
    }

    #[test]
    fn takes_interfaces_from_instances() {
        let document = json!({"Reservations": [{"ReservationId": "r-1", "Instances": [{
            "InstanceId": "i-1", "InstanceType": "t3.micro", "Placement": {"AvailabilityZone": "eu-west-1a"},
            "NetworkInterfaces": [{"NetworkInterfaceId": "eni-1", "PrivateIpAddress": "10.0.0.4", "SubnetId": null}]}]}]});
        let contents = Contents::of(document);
        assert_eq!(
            contents.instance_interfaces,
            [
                json!({"NetworkInterfaceId": "eni-1", "PrivateIpAddress": "10.0.0.4", "AvailabilityZone": "eu-west-1a",
                    "Attachment": {"InstanceId": "i-1"}})
            ]
        );
    }
}
