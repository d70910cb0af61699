//! The detections there are: those that flowscout ships, and a user's own.

use std::path::Path;

use super::{DetectError, Detection};

/// What flowscout ships, by id.
const SHIPPED: [(&str, &str); 4] = [
    (
        "east_west_private",
        include_str!("../../queries/east_west_private.sql"),
    ),
    (
        "egress_unexpected",
        include_str!("../../queries/egress_unexpected.sql"),
    ),
    (
        "reject_spike",
        include_str!("../../queries/reject_spike.sql"),
    ),
    (
        "topology_drift_public",
        include_str!("../../queries/topology_drift_public.sql"),
    ),
];

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

    /// The detections with these ids, all of them if none is named.
    ///
    /// # Errors
    /// When an id is not known.
    pub fn select(&self, ids: &[String]) -> Result<Vec<&Detection>, DetectError> {
        if ids.is_empty() {
            return Ok(self.detections.iter().collect());
        }
        ids.iter()
            .map(|id| {
                self.detections
                    .iter()
                    .find(|detection| detection.id == *id)
                    .ok_or_else(|| DetectError::UnknownDetection {
                        id: id.clone(),
                        known: self
                            .detections
                            .iter()
                            .map(|detection| detection.id.clone())
                            .collect(),
                    })
            })
            .collect()
    }
}
