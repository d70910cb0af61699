//! Real exports of real networks: every file, every folder, and all of them at once are imported and classified.
//!
//! They are read where they are found and skipped where they are not.

use std::path::{Path, PathBuf};

use chrono::DateTime;
use flowscout::topology::{
    Class, Family, History, Imported, IpRanges, Settings, TopologyError, import, subnet_rows,
    tables,
};

use crate::harness::fixtures;

fn read(path: &Path) -> Result<Imported, TopologyError> {
    import(&[path.to_owned()], DateTime::UNIX_EPOCH)
}

/// Asks everything of what was imported.
fn use_it(imported: Imported) -> History {
    let history = History::new(vec![imported.snapshot], Settings::default());
    let network = history.latest();
    for interface in network.interfaces() {
        let vantage = network.vantage(Some(&interface.id), None, None, None, None);
        for far in network
            .interfaces()
            .iter()
            .take(50)
            .flat_map(|far| &far.addresses)
        {
            network.resolve(&vantage, *far);
        }
    }
    assert_eq!(subnet_rows(network).len(), network.subnets().len());
    assert_eq!(tables(&history).len(), 15);
    history
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) {
    folders.push(folder.to_owned());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files, folders);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn every_export_is_imported_file_by_file_folder_by_folder_and_at_once() {
    let Some(fixtures) = fixtures() else { return };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    walk(&fixtures.join("topology"), &mut files, &mut folders);
    for path in files.iter().chain(&folders) {
        let imported = read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let says_something =
            !imported.snapshot.resources.counts().is_empty() || !imported.notes.is_empty();
        assert!(says_something, "{}", path.display());
        use_it(imported);
    }
}

#[test]
fn a_public_and_a_private_subnet_are_told_apart() {
    let Some(fixtures) = fixtures() else { return };
    let history = use_it(read(&fixtures.join("topology/cloud-custodian/ec2_igw_subnet")).unwrap());
    let network = history.latest();
    let class = |id: &str| network.subnet(id).unwrap().class(Family::V4);
    assert_eq!(class("subnet-02e1a5b426e2b16a9"), Some(Class::Public));
    assert_eq!(class("subnet-00a7ff0f29a2f7dd7"), Some(Class::Isolated));
    assert_eq!(
        network
            .subnet("subnet-02e1a5b426e2b16a9")
            .unwrap()
            .class_reason(Family::V4),
        Some("rtb-093c0ae5ab7524554 sends 0.0.0.0/0 to igw-0186e33a1d5903db5")
    );
}

#[test]
fn aws_own_list_and_the_built_in_copy_agree() {
    let Some(fixtures) = fixtures() else { return };
    let json =
        std::fs::read_to_string(fixtures.join("addresses/aws-ip-ranges/ip-ranges.json")).unwrap();
    let (read, built_in) = (IpRanges::from_json(&json).unwrap(), IpRanges::built_in());
    assert_eq!(read.date(), built_in.date());
    for first in 1..=255u8 {
        for second in 0..=255u8 {
            let addr = [first, second, second.wrapping_mul(7), first].into();
            assert_eq!(read.owner(addr), built_in.owner(addr), "{addr}");
        }
    }
}
