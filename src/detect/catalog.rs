//! The detections there are: those that flowscout ships, and a user's own.

use std::collections::BTreeSet;
use std::path::Path;

use super::{DetectError, Detection};

/// The files of `queries/`, by id.
macro_rules! shipped {
    ($($id:literal)*) => {
        [$(($id, include_str!(concat!("../../queries/", $id, ".sql")))),*]
    };
}

/// What flowscout ships, by id.
const SHIPPED: &[(&str, &str)] = &shipped![
    "c2_beacon"
    "c2_icmp_tunnel"
    "c2_long_connection"
    "c2_mining_ports"
    "c2_strobe"
    "c2_tor"
    "changes_between_windows"
    "clear_text_protocols"
    "cost_cross_zone"
    "cost_endpoint_savings"
    "cost_nat_other_zone"
    "cost_nat_talkers"
    "east_west_admin_ports"
    "east_west_cross_vpc"
    "east_west_database"
    "east_west_environment"
    "east_west_new_pair"
    "east_west_port_scan"
    "east_west_private"
    "east_west_smb_spike"
    "east_west_sweep"
    "egress_dns_bypass"
    "egress_endpoint_bypass"
    "egress_first_seen_destination"
    "egress_internal_protocols"
    "egress_ipv6_back_door"
    "egress_isolated"
    "egress_path_contradicts"
    "egress_public_direct"
    "egress_smtp"
    "egress_unapproved_exit"
    "egress_unexpected"
    "egress_unexpected_region"
    "egress_unusual_port"
    "exfiltration_foreign_storage"
    "exfiltration_large_upload"
    "exfiltration_off_hours"
    "exfiltration_slow"
    "exfiltration_unusual_protocol"
    "exfiltration_upload_ratio"
    "exfiltration_volume_spike"
    "flood_outbound"
    "handshake_unanswered"
    "inbound_admin_port"
    "interface_idle"
    "login_brute_force"
    "logs_coverage_gap"
    "logs_delivery_lag"
    "logs_duplicate"
    "logs_skipped"
    "nacl_allow_broad"
    "nacl_allow_unused"
    "nacl_allows_all"
    "nacl_entry_shadowed"
    "nacl_tighten"
    "probe_unused_addresses"
    "reject_by_account_guard"
    "reject_late_packets"
    "reject_layers"
    "reject_outbound_spike"
    "reject_replies"
    "reject_spike"
    "reject_then_accept"
    "scan_inbound"
    "sweep_icmp"
    "sweep_outbound"
    "talkers_top"
    "timeline_of_address"
    "topology_drift_public"
    "transit_gateway_losses"
    "unencrypted_in_transit"
];

/// The group that is run where nothing is named.
const CORE: &str = "core";

/// Detections by id, in order of id.
#[derive(Debug, Clone)]
pub struct Catalog {
    detections: Vec<Detection>,
}

impl Catalog {
    /// The shipped detections, and those of the `*.sql` files of a folder; a user's file replaces a shipped one of the same id.
    ///
    /// # Errors
    /// When a file can't be read or its header is wrong.
    pub fn load(queries: Option<&Path>) -> Result<Self, DetectError> {
        let mut detections = SHIPPED
            .iter()
            .map(|(id, text)| Detection::parse(id, text))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(folder) = queries {
            let unreadable = |source| DetectError::Read {
                path: folder.to_owned(),
                source,
            };
            for entry in std::fs::read_dir(folder).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                let Some(id) = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .filter(|_| path.extension().is_some_and(|end| end == "sql"))
                else {
                    continue;
                };
                let text = std::fs::read_to_string(&path).map_err(|source| DetectError::Read {
                    path: path.clone(),
                    source,
                })?;
                let detection = Detection::parse(id, &text)?;
                detections.retain(|known| known.id != detection.id);
                detections.push(detection);
            }
        }
        detections.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Self { detections })
    }

    /// Every detection, in order of id.
    pub fn all(&self) -> &[Detection] {
        &self.detections
    }

    /// The detections with these ids or of these groups, each once. Where none is named: the core ones, and those without a group, which
    /// are a user's own. `all` is every one.
    ///
    /// # Errors
    /// When a name is neither.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Detection>, DetectError> {
        let is_of = |detection: &Detection, name: &str| {
            detection.id == name || detection.group.as_deref() == Some(name) || name == "all"
        };
        for name in names {
            if !self
                .detections
                .iter()
                .any(|detection| is_of(detection, name))
            {
                return Err(DetectError::UnknownDetection {
                    name: name.clone(),
                    groups: self.groups(),
                });
            }
        }
        let is_chosen = |detection: &&Detection| match names {
            [] => detection.group.as_deref().is_none_or(|group| group == CORE),
            names => names.iter().any(|name| is_of(detection, name)),
        };
        Ok(self.detections.iter().filter(is_chosen).collect())
    }

    /// The groups, in order, and `all`.
    fn groups(&self) -> Vec<String> {
        let groups: BTreeSet<&str> = self
            .detections
            .iter()
            .filter_map(|detection| detection.group.as_deref())
            .chain(["all"])
            .collect();
        groups.into_iter().map(str::to_owned).collect()
    }
}
