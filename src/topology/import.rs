//! Imports files and folders of EC2 JSON into one snapshot, and says what is incomplete about them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use chrono::{DateTime, Utc};
use serde_json::{Deserializer, Value};

use super::TopologyError;
use super::ec2::{self, Contents};
use super::gaps;
use super::model::{Coverage, Draft, Kind, Pushed};
use super::place::{Place, place_of, vpc_of, with_place};
use super::snapshot::Snapshot;

/// A snapshot and what there is to say about it.
#[derive(Debug)]
pub struct Imported {
    /// What was read.
    pub snapshot: Snapshot,
    /// What is incomplete or was left out, one sentence each.
    pub notes: Vec<String>,
}

/// Imports every file, and every folder whole, as the network's state at `at`.
///
/// Inside a folder, files that are not EC2 JSON are noted and left out.
///
/// # Errors
/// A file that was named is not EC2 JSON, a folder has none, a file cannot be read or breaks off.
pub fn import(paths: &[PathBuf], at: DateTime<Utc>) -> Result<Imported, TopologyError> {
    let mut import = Import::default();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|source| TopologyError::Read {
            path: path.clone(),
            source,
        })?;
        if metadata.is_dir() {
            import.read_folder(path)?;
        } else if let Some(found) = import.read_file(path)? {
            return Err(TopologyError::NotEc2 {
                path: path.clone(),
                found,
            });
        }
    }
    Ok(import.finish(at))
}

/// A record on its way in.
#[derive(Debug)]
struct Found {
    kind: Kind,
    value: Value,
    file: usize,
    place: Place,
    vpc_id: Option<String>,
    /// From an instance: less than the interface's own record says.
    second_hand: bool,
}

#[derive(Debug, Default)]
struct Import {
    files: Vec<PathBuf>,
    found: Vec<Found>,
    /// Which file lists which kind, and whether in full.
    listings: Vec<(usize, Kind, bool)>,
    notes: Vec<String>,
}

impl Import {
    fn read_folder(&mut self, folder: &Path) -> Result<(), TopologyError> {
        let mut paths = Vec::new();
        self.collect_files(folder, &mut paths)?;
        paths.sort();
        let mut any = false;
        for path in &paths {
            match self.read_file(path)? {
                None => any = true,
                Some(found) => self.notes.push(format!(
                    "{}: left out, not EC2 JSON: holds {found}",
                    path.display()
                )),
            }
        }
        if any {
            return Ok(());
        }
        let found = match paths.len() {
            0 => "no `*.json` file".to_owned(),
            count => format!("{count} `*.json` files that hold something else"),
        };
        Err(TopologyError::EmptyFolder {
            path: folder.to_owned(),
            found,
        })
    }

    /// Links to folders are not followed: they may lead in circles.
    fn collect_files(
        &mut self,
        folder: &Path,
        paths: &mut Vec<PathBuf>,
    ) -> Result<(), TopologyError> {
        let unreadable = |source| TopologyError::Read {
            path: folder.to_owned(),
            source,
        };
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(unreadable)?;
            let is_json = path
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
            if kind.is_dir() {
                self.collect_files(&path, paths)?;
            } else if !is_json {
                self.notes.push(format!(
                    "{}: left out, its name does not end in `.json`",
                    path.display()
                ));
            } else if path.is_dir() {
                self.notes
                    .push(format!("{}: left out, a link to a folder", path.display()));
            } else {
                paths.push(path);
            }
        }
        Ok(())
    }

    /// Reads one file; gives what it holds instead if that is not EC2 JSON.
    fn read_file(&mut self, path: &Path) -> Result<Option<String>, TopologyError> {
        let bytes = fs::read(path).map_err(|source| TopologyError::Read {
            path: path.to_owned(),
            source,
        })?;
        let text = decode_text(bytes).map_err(|source| TopologyError::Read {
            path: path.to_owned(),
            source,
        })?;
        let file = self.files.len();
        let mut other = None;
        let mut any = false;
        for document in Deserializer::from_str(&text).into_iter::<Value>() {
            let document = document.map_err(|source| TopologyError::Json {
                path: path.to_owned(),
                line: source.line(),
                column: source.column(),
                source,
            })?;
            let description = ec2::describe(&document);
            let contents = Contents::of(document);
            if contents.is_ec2 {
                any = true;
                self.take(contents, file, path);
            } else {
                other = Some(description);
            }
        }
        if any {
            self.files.push(path.to_owned());
            return Ok(None);
        }
        Ok(Some(other.unwrap_or_else(|| "nothing".to_owned())))
    }

    fn take(&mut self, contents: Contents, file: usize, path: &Path) {
        self.notes.extend(
            contents
                .notes
                .into_iter()
                .map(|note| format!("{}: {note}", path.display())),
        );
        for listing in contents.listings {
            self.listings.push((file, listing.kind, listing.complete));
            for value in listing.records {
                self.find(listing.kind, value, file, false);
            }
        }
        for value in contents.instance_interfaces {
            self.find(Kind::NetworkInterfaces, value, file, true);
        }
        if let Some(entries) = contents.entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match ec2::prefix_list_in(&name) {
                Some(id) => {
                    let list = serde_json::json!({"PrefixListId": id, "Entries": entries});
                    self.find(Kind::PrefixLists, list, file, false);
                }
                None => self.notes.push(format!(
                    "{}: prefix list entries are left out: the file name does not name their list, expected `pl-…` in it",
                    path.display()
                )),
            }
        }
    }

    fn find(&mut self, kind: Kind, value: Value, file: usize, second_hand: bool) {
        let place = place_of(&value);
        let vpc_id = vpc_of(&value);
        self.found.push(Found {
            kind,
            value,
            file,
            place,
            vpc_id,
            second_hand,
        });
    }

    fn finish(mut self, at: DateTime<Utc>) -> Imported {
        self.infer_places();
        let coverage = self.coverage();
        let mut draft = Draft::default();
        let mut replaced: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        // What only an instance says about an interface comes last, and only where nothing else does.
        self.found.sort_by_key(|found| found.second_hand);
        let mut from_instances = 0;
        for found in self.found {
            let file = self.files[found.file].display();
            let id = found
                .value
                .get("NetworkInterfaceId")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if found.second_hand && draft.contains(Kind::NetworkInterfaces, id) {
                continue;
            }
            let value = with_place(found.value, found.place);
            let pushed = match found.kind {
                Kind::PrefixLists => draft.push_prefix_list(value),
                kind => draft.push(kind, value),
            };
            match pushed {
                Ok((id, _)) if id.is_empty() => {
                    self.notes.push(format!(
                        "{file}: a record of `{}` has no id",
                        found.kind.key()
                    ));
                }
                Ok((id, Pushed::Replaced)) => replaced
                    .entry(found.kind)
                    .or_default()
                    .push(format!("`{id}` ({file})")),
                Ok(_) => from_instances += usize::from(found.second_hand),
                Err(error) => {
                    self.notes.push(format!(
                        "{file}: a record of `{}` is left out: {error}",
                        found.kind.key()
                    ));
                }
            }
        }
        for (kind, ids) in replaced {
            let (first, more) = (&ids[0], ids.len() - 1);
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            self.notes.push(format!(
                "`{}`: {first}{more} came more than once and not the same: the later file counts",
                kind.key()
            ));
        }
        if from_instances > 0 {
            self.notes.push(format!(
                "{from_instances} interfaces are known from instances only: add `aws ec2 describe-network-interfaces`"
            ));
        }
        let resources = draft.into_resources();
        self.notes.extend(gaps::of(&resources));
        Imported {
            snapshot: Snapshot::new(at, resources, coverage),
            notes: self.notes,
        }
    }

    /// Gives records without an account or region those of their VPC, else those of everything else in their folder.
    fn infer_places(&mut self) {
        let mut vpcs: HashMap<String, Place> = HashMap::new();
        // An interface may belong to another account than its VPC, so the VPC's own record speaks first.
        let by_weight = [true, false];
        for of_vpc in by_weight {
            for found in self
                .found
                .iter()
                .filter(|found| (found.kind == Kind::Vpcs) == of_vpc)
            {
                if let Some(vpc_id) = &found.vpc_id {
                    vpcs.entry(vpc_id.clone()).or_default().or(&found.place);
                }
            }
        }
        for found in &mut self.found {
            if let Some(place) = found.vpc_id.as_ref().and_then(|id| vpcs.get(id)) {
                found.place.or(place);
            }
        }
        let sole = self.sole_places();
        for found in &mut self.found {
            let is_aws_own = found.value.get("OwnerId").and_then(Value::as_str) == Some("AWS");
            let folder = self.files[found.file].parent().unwrap_or(Path::new(""));
            if let Some(place) = sole.get(folder) {
                let account_id = if is_aws_own {
                    None
                } else {
                    place.account_id.clone()
                };
                found.place.or(&Place {
                    account_id,
                    region: place.region.clone(),
                });
            }
        }
    }

    /// Account and region of each folder, where all that is known in it agrees.
    fn sole_places(&self) -> HashMap<PathBuf, Place> {
        let mut seen: HashMap<PathBuf, (BTreeSet<&str>, BTreeSet<&str>)> = HashMap::new();
        for found in &self.found {
            let folder = self.files[found.file].parent().unwrap_or(Path::new(""));
            let (accounts, regions) = seen.entry(folder.to_owned()).or_default();
            accounts.extend(found.place.account_id.as_deref());
            regions.extend(found.place.region.as_deref());
        }
        let sole = |set: BTreeSet<&str>| match set.len() {
            1 => set.first().map(|&only| only.to_owned()),
            _ => None,
        };
        seen.into_iter()
            .map(|(folder, (accounts, regions))| {
                (
                    folder,
                    Place {
                        account_id: sole(accounts),
                        region: sole(regions),
                    },
                )
            })
            .collect()
    }

    /// What these files say all about: a later import replaces exactly this.
    ///
    /// An account that shows up only through what it shares (a shared subnet, the far side of a peering) was not asked,
    /// so that its other resources stay.
    fn coverage(&mut self) -> BTreeSet<Coverage> {
        let sole = self.sole_places();
        let accounts: BTreeSet<_> = self
            .found
            .iter()
            .filter_map(|found| found.place.account_id.as_deref())
            .collect();
        let asked: BTreeSet<_> = self
            .found
            .iter()
            .filter(|found| is_never_shared(found.kind))
            .filter_map(|found| found.place.account_id.as_deref())
            .collect();
        let was_asked = |place: &Place| {
            accounts.len() <= 1
                || place
                    .account_id
                    .as_deref()
                    .is_none_or(|account| asked.contains(account))
        };
        let partial: BTreeSet<_> = self
            .listings
            .iter()
            .filter(|(_, _, complete)| !complete)
            .map(|&(file, kind, _)| (file, kind))
            .collect();
        let mut places: BTreeMap<(usize, Kind), BTreeSet<Place>> = BTreeMap::new();
        for found in self.found.iter().filter(|found| !found.second_hand) {
            places
                .entry((found.file, found.kind))
                .or_default()
                .insert(found.place.clone());
        }
        let mut coverage = BTreeSet::new();
        let mut notes = Vec::new();
        for &(file, kind, _) in &self.listings {
            if partial.contains(&(file, kind)) {
                continue;
            }
            let folder = self.files[file].parent().unwrap_or(Path::new(""));
            let empty_list_of = || {
                sole.get(folder)
                    .cloned()
                    .filter(|place| *place != Place::default())
                    .into_iter()
                    .collect()
            };
            let places = places.get(&(file, kind)).cloned();
            let places: BTreeSet<Place> = places.unwrap_or_else(empty_list_of);
            if places.is_empty() {
                notes.push(format!(
                    "{}: `{}` is an empty list, and nothing beside it says of which account and region",
                    self.files[file].display(),
                    kind.key()
                ));
            }
            for place in places.into_iter().filter(was_asked) {
                coverage.insert(Coverage {
                    kind,
                    account_id: place.account_id,
                    region: place.region,
                });
            }
        }
        self.notes.extend(notes);
        coverage
    }
}

/// Kinds that AWS shows to their owner only.
fn is_never_shared(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::RouteTables
            | Kind::NetworkAcls
            | Kind::SecurityGroupRules
            | Kind::InternetGateways
            | Kind::NatGateways
            | Kind::FlowLogs
    )
}

/// UTF-8, with or without a mark, or the UTF-16 that PowerShell's `>` writes.
fn decode_text(bytes: Vec<u8>) -> io::Result<String> {
    let utf16 = |from_bytes: fn([u8; 2]) -> u16| {
        let units: Vec<_> = bytes[2..]
            .chunks_exact(2)
            .map(|pair| from_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        _ => {
            let text = String::from_utf8(bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            Ok(text
                .strip_prefix('\u{feff}')
                .map(str::to_owned)
                .unwrap_or(text))
        }
    }
}

/// Imports one document, as a test has it in memory.
#[cfg(test)]
pub(super) fn import_document(document: Value, at: DateTime<Utc>) -> Imported {
    let path = Path::new("world.json");
    let mut import = Import {
        files: vec![path.to_owned()],
        ..Import::default()
    };
    import.take(Contents::of(document), 0, path);
    import.finish(at)
}

#[cfg(test)]
mod tests;
