//! Whose a record is and where: EC2 prints neither account nor region, but most records give them away.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// Account and region, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) account_id: Option<String>,
    pub(super) region: Option<String>,
}

impl Place {
    /// Fills what is missing.
    pub(super) fn or(&mut self, other: &Self) {
        if self.account_id.is_none() {
            self.account_id.clone_from(&other.account_id);
        }
        if self.region.is_none() {
            self.region.clone_from(&other.region);
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = self.region.as_deref().unwrap_or("an unknown region");
        match &self.account_id {
            Some(account_id) => write!(formatter, "account {account_id} in {region}"),
            None => write!(formatter, "{region}"),
        }
    }
}

/// Account and region of a resource that two accounts have, a peering or an attachment to a transit gateway: the first of
/// them that was asked, so that whichever was asked can also say that it is gone.
pub(super) fn place_among(value: &Value, asked: &BTreeSet<Place>) -> Option<Place> {
    let text = |value: &Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
    let side = |key: &str| {
        let side = value.get(key)?;
        let place = Place {
            account_id: Some(text(side, "OwnerId")?),
            region: Some(text(side, "Region")?),
        };
        asked.contains(&place).then_some(place)
    };
    let owner = |key: &str| {
        let account_id = Some(text(value, key)?);
        let is_asked = asked.iter().any(|place| place.account_id == account_id);
        is_asked.then_some(Place {
            account_id,
            region: None,
        })
    };
    side("RequesterVpcInfo")
        .or_else(|| side("AccepterVpcInfo"))
        .or_else(|| owner("ResourceOwnerId"))
        .or_else(|| owner("TransitGatewayOwnerId"))
}

/// AWS's own: nobody's account.
pub(super) fn is_aws_own(value: &Value) -> bool {
    value.get("OwnerId").and_then(Value::as_str) == Some("AWS")
}

/// Account and region that a record itself names.
pub(super) fn place_of(value: &Value) -> Place {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let mut place = Place {
        account_id: [
            "AccountId",
            "OwnerId",
            "VpcOwnerId",
            "ResourceOwnerId",
            "NetworkInterfaceOwnerId",
            "GroupOwnerId",
        ]
        .into_iter()
        .filter_map(text)
        .find(|owner| is_account(owner))
        .map(str::to_owned),
        region: text("Region").map(str::to_owned).or_else(|| {
            ["AvailabilityZone", "NetworkBorderGroup"]
                .into_iter()
                .filter_map(text)
                .find_map(region_of_zone)
        }),
    };
    let arns = [
        "VpcArn",
        "SubnetArn",
        "SecurityGroupArn",
        "SecurityGroupRuleArn",
        "PrefixListArn",
        "TransitGatewayArn",
    ];
    for arn in arns.into_iter().filter_map(text) {
        let (account_id, region) = place_of_arn(arn);
        place.or(&Place { account_id, region });
    }
    // `com.amazonaws.us-east-1.s3`: a list or a gateway endpoint is in the region of its service.
    for name in ["PrefixListName", "ServiceName"]
        .into_iter()
        .filter_map(text)
    {
        let region = name
            .strip_prefix("com.amazonaws.")
            .and_then(|rest| rest.split('.').next());
        let region = region
            .filter(|region| region.contains('-'))
            .map(str::to_owned);
        place.or(&Place {
            account_id: None,
            region,
        });
    }
    for side in ["RequesterVpcInfo", "AccepterVpcInfo"]
        .into_iter()
        .filter_map(|key| value.get(key))
    {
        let text = |key: &str| side.get(key).and_then(Value::as_str).map(str::to_owned);
        place.or(&Place {
            account_id: text("OwnerId"),
            region: text("Region"),
        });
    }
    place
}

/// The VPC that a record belongs to.
pub(super) fn vpc_of(value: &Value) -> Option<String> {
    let own = value.get("VpcId").or_else(|| value.get("ResourceId"));
    let attached = || {
        let attachments = value
            .get("Attachments")
            .or_else(|| value.get("VpcAttachments"))?;
        attachments.get(0)?.get("VpcId")
    };
    let id = own.or_else(attached)?.as_str()?;
    id.starts_with("vpc-").then(|| id.to_owned())
}

pub(super) fn with_place(mut value: Value, place: Place) -> Value {
    if let Value::Object(object) = &mut value {
        if let Some(account_id) = place.account_id {
            object.insert("AccountId".to_owned(), account_id.into());
        }
        if let Some(region) = place.region {
            object.insert("Region".to_owned(), region.into());
        }
    }
    value
}

/// The region that a zone's name starts with: `us-west-2-lax-1a` is in `us-west-2`.
fn region_of_zone(zone: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in zone.split('-') {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        if digits.is_empty() {
            parts.push(part.to_owned());
        } else {
            parts.push(digits);
            return (parts.len() >= 3).then(|| parts.join("-"));
        }
    }
    None
}

/// Account and region of `arn:aws:ec2:us-east-1:123456789012:subnet/…`.
fn place_of_arn(arn: &str) -> (Option<String>, Option<String>) {
    let mut parts = arn.split(':').skip(3);
    let region = parts
        .next()
        .filter(|region| !region.is_empty())
        .map(str::to_owned);
    let account = parts
        .next()
        .filter(|account| is_account(account))
        .map(str::to_owned);
    (account, region)
}

/// `AWS` and `amazon-elb` own resources too, but they are not accounts.
fn is_account(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_region_in_every_kind_of_zone() {
        for (zone, region) in [
            ("us-east-1a", Some("us-east-1")),
            ("us-gov-west-1b", Some("us-gov-west-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("us-east-1-wl1-bos-wlz-1", Some("us-east-1")),
            ("ap-southeast-2c", Some("ap-southeast-2")),
            ("nowhere", None),
        ] {
            assert_eq!(region_of_zone(zone).as_deref(), region, "{zone}");
        }
    }
}
