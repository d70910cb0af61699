//! Files and folders, whole, broken and foreign.

use std::fs;

use serde_json::json;

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(0, 0).unwrap()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn import_folder(files: &[(&str, &str)]) -> Result<Imported, TopologyError> {
    let folder = folder(files);
    import(&[folder.path().to_owned()], at())
}

/// The error or note without the folder's own name.
fn without_folder(text: &str, folder: &Path) -> String {
    text.replace(&format!("{}", folder.display()), "DIR")
}

const VPC: &str =
    r#"{"Vpcs": [{"VpcId": "vpc-1", "OwnerId": "111111111111", "CidrBlock": "10.0.0.0/16"}]}"#;

#[test]
fn a_folder_is_read_whole_whatever_the_names() {
    let subnets = r#"{"Subnets": [{"SubnetId": "subnet-1", "VpcId": "vpc-1", "AvailabilityZone": "eu-west-1a"}]}"#;
    let imported = import_folder(&[
        ("a/whatever.json", VPC),
        ("b/c/x.JSON", subnets),
        ("readme.md", "hello"),
    ])
    .unwrap();
    let resources = imported.snapshot.resources;
    assert_eq!(resources.counts(), [(Kind::Vpcs, 1), (Kind::Subnets, 1)]);
    // The subnet has no owner of its own, the VPC no zone.
    assert_eq!(
        resources.subnets[0].account_id.as_deref(),
        Some("111111111111")
    );
    assert_eq!(resources.vpcs[0].region.as_deref(), Some("eu-west-1"));
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.ends_with("readme.md: left out, its name does not end in `.json`"))
    );
}

#[test]
fn a_foreign_file_is_noted_in_a_folder_and_refused_by_name() {
    let folder = folder(&[
        ("vpcs.json", VPC),
        ("trail.json", r#"{"Records": [{"eventName": "x"}]}"#),
    ]);
    let imported = import(&[folder.path().to_owned()], at()).unwrap();
    let note = imported
        .notes
        .iter()
        .find(|note| note.contains("trail.json"))
        .unwrap();
    assert_eq!(
        without_folder(note, folder.path()),
        "DIR/trail.json: left out, not EC2 JSON: holds an object with `Records`"
    );
    let error = import(&[folder.path().join("trail.json")], at()).unwrap_err();
    assert_eq!(
        without_folder(&error.to_string(), folder.path()),
        "DIR/trail.json: not EC2 JSON: found an object with `Records`, expected what `aws ec2 describe-…` prints, \
         such as an object with a key `Vpcs`, `Subnets` or `RouteTables`"
    );
}

#[test]
fn a_folder_without_ec2_json_is_an_error() {
    let folder = folder(&[("x.json", "{}")]);
    let error = import(&[folder.path().to_owned()], at()).unwrap_err();
    assert_eq!(
        without_folder(&error.to_string(), folder.path()),
        "folder `DIR` has no EC2 JSON: found 1 `*.json` files that hold something else, \
         expected `*.json` files as `aws ec2 describe-…` prints them"
    );
}

#[test]
fn broken_json_names_file_line_and_column() {
    let folder = folder(&[("x.json", "{\"Vpcs\": [\n  {\"VpcId\": \n")]);
    let error = import(&[folder.path().to_owned()], at()).unwrap_err();
    assert_eq!(
        without_folder(&error.to_string(), folder.path()),
        "DIR/x.json: line 3, column 0: not valid JSON, expected what `aws ec2 describe-… > FILE.json` prints"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = import(&[PathBuf::from("/nowhere/x.json")], at()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read topology `/nowhere/x.json`");
}

#[test]
fn the_later_of_two_that_disagree_counts() {
    let other = VPC.replace("10.0.0.0/16", "10.1.0.0/16");
    let imported =
        import_folder(&[("a.json", VPC), ("b.json", &other), ("c.json", &other)]).unwrap();
    assert_eq!(
        imported.snapshot.resources.vpcs[0].cidr_block.as_deref(),
        Some("10.1.0.0/16")
    );
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("`vpc-1`") && note.contains("the later counts"))
    );
}

#[test]
fn the_three_calls_about_prefix_lists_add_up() {
    let managed = r#"{"PrefixLists": [{"PrefixListId": "pl-0abc", "PrefixListName": "office", "AddressFamily": "IPv4",
        "OwnerId": "111111111111", "PrefixListArn": "arn:aws:ec2:eu-west-1:111111111111:prefix-list/pl-0abc"}]}"#;
    let plain = r#"{"PrefixLists": [{"PrefixListId": "pl-63a5400a", "PrefixListName": "com.amazonaws.us-east-1.s3",
        "Cidrs": ["52.216.0.0/15"]}]}"#;
    let entries = r#"{"Entries": [{"Cidr": "198.51.100.0/24", "Description": "hq"}]}"#;
    let imported = import_folder(&[
        ("describe-managed-prefix-lists.json", managed),
        ("describe-prefix-lists.json", plain),
        ("entries-pl-0abc.json", entries),
        ("entries.json", entries),
    ])
    .unwrap();
    let lists = &imported.snapshot.resources.prefix_lists;
    assert_eq!(lists[0].known_cidrs(), Some(vec!["198.51.100.0/24"]));
    assert_eq!(lists[0].prefix_list_name.as_deref(), Some("office"));
    assert_eq!(lists[0].region.as_deref(), Some("eu-west-1"));
    assert_eq!(lists[1].known_cidrs(), Some(vec!["52.216.0.0/15"]));
    assert_eq!(lists[1].region.as_deref(), Some("us-east-1"));
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("entries.json") && note.contains("does not name their list"))
    );
}

#[test]
fn what_does_not_fit_is_left_out_and_said() {
    let document = json!({"Vpcs": [{"VpcId": 7}, {"VpcId": "vpc-1", "Tags": null}], "VpnConnections": [], "NextToken": "x"});
    let imported = import_document(document, at());
    assert_eq!(imported.snapshot.resources.vpcs.len(), 1);
    let has = |text: &str| {
        assert!(
            imported.notes.iter().any(|note| note.contains(text)),
            "{text}: {:?}",
            imported.notes
        )
    };
    has("a record of `Vpcs` is left out");
    has("`VpnConnections` is left out");
    has("more pages follow");
    // A page is not all there is.
    assert_eq!(imported.snapshot.coverage.len(), 0);
}

#[test]
fn reads_what_powershell_writes() {
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(VPC.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let folder = folder(&[]);
    let path = folder.path().join("vpcs.json");
    fs::write(&path, utf16).unwrap();
    assert_eq!(
        import(&[path], at()).unwrap().snapshot.resources.vpcs.len(),
        1
    );
}

#[test]
fn interfaces_of_instances_stand_in_until_their_own_records_come() {
    let instances = r#"{"Reservations": [{"Instances": [{"InstanceId": "i-1", "InstanceType": "t3.nano", "NetworkInterfaces": [
        {"NetworkInterfaceId": "eni-1", "PrivateIpAddress": "10.0.0.4"}, {"NetworkInterfaceId": "eni-2", "PrivateIpAddress": "10.0.0.5"}]}]}]}"#;
    let interfaces = r#"{"NetworkInterfaces": [{"NetworkInterfaceId": "eni-2", "InterfaceType": "efa", "PrivateIpAddress": "10.0.0.5"}]}"#;
    let imported = import_folder(&[("a.json", interfaces), ("b.json", instances)]).unwrap();
    let found = &imported.snapshot.resources.network_interfaces;
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[0].attachment.as_ref().unwrap().instance_id.as_deref(),
        Some("i-1")
    );
    assert_eq!(found[1].interface_type.as_deref(), Some("efa"));
}
