//! Which flow log records whom: one of a VPC all its interfaces, one of a subnet those in it, one of an interface that one.
//!
//! Each records all traffic, or only what was accepted or only what was rejected. With a delivery that fails it stays ACTIVE. (VPC User
//! Guide, "Flow logs"; `DeliverLogsStatus` of DescribeFlowLogs.)

use std::collections::HashMap;

use super::model::{FlowLog, Kind};
use super::network::{Interface, Network, Vpc};

/// What the flow logs of a resource record.
#[derive(Debug, Clone, Default)]
pub struct Recorded<'n> {
    /// Whether what was accepted is recorded.
    pub accepts: bool,
    /// Whether what was rejected is recorded.
    pub rejects: bool,
    /// Active, and with all traffic.
    pub whole: Vec<&'n FlowLog>,
    /// Active, and with traffic of one kind only.
    pub partial: Vec<&'n FlowLog>,
    /// Active by their status, and nothing arrives.
    pub failed: Vec<&'n FlowLog>,
    /// No longer active, or not yet.
    pub inactive: Vec<&'n FlowLog>,
}

impl<'n> Recorded<'n> {
    /// Whether all traffic is recorded.
    pub fn is_complete(&self) -> bool {
        self.accepts && self.rejects
    }

    /// Whether there is no flow log at all, not even a broken one.
    pub fn is_nothing(&self) -> bool {
        self.partial.is_empty()
            && self.failed.is_empty()
            && self.inactive.is_empty()
            && self.whole.is_empty()
    }

    fn add(&mut self, log: &'n FlowLog) {
        if log
            .flow_log_status
            .as_deref()
            .is_some_and(|status| status != "ACTIVE")
        {
            self.inactive.push(log);
        } else if log.deliver_logs_status.as_deref() == Some("FAILED") {
            self.failed.push(log);
        } else {
            match log.traffic_type.as_deref() {
                Some("ACCEPT") => {
                    self.accepts = true;
                    self.partial.push(log);
                }
                Some("REJECT") => {
                    self.rejects = true;
                    self.partial.push(log);
                }
                _ => {
                    (self.accepts, self.rejects) = (true, true);
                    self.whole.push(log);
                }
            }
        }
    }

    /// With what a flow log of the subnet or VPC around it records.
    pub fn within(&self, around: &Self) -> Self {
        let both = |mine: &[&'n FlowLog], theirs: &[&'n FlowLog]| [mine, theirs].concat();
        Self {
            accepts: self.accepts || around.accepts,
            rejects: self.rejects || around.rejects,
            whole: both(&self.whole, &around.whole),
            partial: both(&self.partial, &around.partial),
            failed: both(&self.failed, &around.failed),
            inactive: both(&self.inactive, &around.inactive),
        }
    }
}

/// The flow logs of a network by what they record.
#[derive(Debug)]
pub struct FlowLogs<'n> {
    network: &'n Network,
    by_resource: HashMap<&'n str, Recorded<'n>>,
}

impl<'n> FlowLogs<'n> {
    /// Those of a network.
    pub fn of(network: &'n Network) -> Self {
        let mut by_resource: HashMap<&str, Recorded<'_>> = HashMap::new();
        for log in &network.resources().flow_logs {
            if let Some(id) = &log.resource_id {
                by_resource.entry(id).or_default().add(log);
            }
        }
        Self {
            network,
            by_resource,
        }
    }

    /// What a resource's own flow logs record.
    pub fn of_resource(&self, id: &str) -> Recorded<'n> {
        self.by_resource.get(id).cloned().unwrap_or_default()
    }

    /// What the flow logs of an interface, its subnet and its VPC record together.
    pub fn of_interface(&self, interface: &Interface) -> Recorded<'n> {
        let around = [interface.subnet_id.as_deref(), interface.vpc_id.as_deref()];
        around
            .into_iter()
            .flatten()
            .fold(self.of_resource(&interface.id), |recorded, id| {
                recorded.within(&self.of_resource(id))
            })
    }

    /// Whether anybody asked for the flow logs of a VPC: then there are no others.
    pub fn are_known(&self, vpc: &Vpc) -> bool {
        let (account_id, region) = (vpc.account_id.as_deref(), vpc.region.as_deref());
        self.by_resource.contains_key(&*vpc.id)
            || self
                .network
                .knows_all_of(Kind::FlowLogs, account_id, region)
    }
}
