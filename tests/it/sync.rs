//! `topology sync` against an EC2 inside the test: pages, throttling, refusals, regions, roles, and what is in the lake then.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::ec2_network::{company, set, subnet, xml};
use crate::ec2_server::{Call, Ec2Server, OWN_KEY, Reply};
use crate::harness::{Ended, Place, block_on};

const OWN: &str = "111111111111";
const OTHER: &str = "222222222222";

fn denied(call: &Call) -> Reply {
    let message = format!("You are not authorized to perform: ec2:{}", call.action);
    Reply::error(403, "UnauthorizedOperation", &message)
}

/// Runs `topology sync --lake lake` and what follows against a server, in `eu-west-1` unless told otherwise.
fn sync(place: &Place, server: &Ec2Server, arguments: &[&str]) -> Ended {
    let mut all = vec!["topology", "sync", "--lake", "lake"];
    all.extend(arguments);
    let mut command = place.command(&all);
    server
        .credentials(&mut command, "eu-west-1")
        .env("AWS_ENDPOINT_URL", server.endpoint());
    Ended::of(command.output().unwrap())
}

/// `account region subnet name class` of each subnet.
fn subnets(place: &Place) -> Vec<String> {
    let shown = place.run(&["topology", "show", "--lake", "lake"]).ok();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let line = |row: &Value| {
        ["account_id", "region", "subnet_id", "name", "class"]
            .map(|key| text(row, key))
            .join(" ")
    };
    shown.rows().iter().map(line).collect()
}

fn snapshots(place: &Place) -> usize {
    let path = place.path("lake").to_str().unwrap().to_owned();
    block_on(async move {
        let uri = flowscout::lake::LakeUri::parse(&path).unwrap();
        let lake = flowscout::lake::Lake::open(&uri).await.unwrap();
        lake.topology_times().await.unwrap().len()
    })
}

#[test]
fn a_network_is_one_snapshot_and_an_unchanged_one_none() {
    let server = Ec2Server::start(|call| company(call, OWN, "a"));
    let place = Place::new();
    let first = sync(&place, &server, &[]).ok();
    assert!(
        first.stderr.contains("stored a snapshot as of "),
        "{}",
        first.stderr
    );
    assert!(
        first.stderr.contains("1 Vpcs, 2 Subnets, 2 RouteTables"),
        "{}",
        first.stderr
    );
    let expected = [
        "111111111111 eu-west-1 subnet-public-a edge public",
        "111111111111 eu-west-1 subnet-private-a app private_nat",
    ];
    assert_eq!(subnets(&place), expected);

    let second = sync(&place, &server, &[]).ok();
    assert!(
        second.stderr.contains("nothing was stored"),
        "{}",
        second.stderr
    );
    assert_eq!(snapshots(&place), 1);
    for call in server.calls("DescribeRouteTables") {
        assert_eq!(call.parameter("MaxResults"), Some("100"));
    }
    // Those who own nothing yet say no account, so the answers tell it.
    let nats = place.sql("SELECT account_id, region FROM nat_gateways");
    assert_eq!(nats, [json!({"account_id": OWN, "region": "eu-west-1"})]);
}

#[test]
fn every_page_is_read_also_after_an_empty_one_and_throttling_is_waited_out() {
    let throttled = AtomicUsize::new(0);
    let server = Ec2Server::start(move |call| {
        let subnet = |id: &str, cidr: &str| vec![subnet(id, "vpc-a", OWN, cidr, "")];
        let page = |items: &[String], next| Some(Reply::list(call, "subnetSet", items, next));
        match (call.action.as_str(), call.parameter("NextToken")) {
            ("DescribeSubnets", None) => page(&subnet("subnet-1", "10.0.1.0/24"), Some("two")),
            ("DescribeSubnets", Some("two")) => page(&[], Some("three")),
            ("DescribeSubnets", Some("three")) => page(&subnet("subnet-3", "10.0.3.0/24"), None),
            ("DescribeRouteTables", _) if throttled.fetch_add(1, Ordering::SeqCst) == 0 => Some(
                Reply::error(503, "RequestLimitExceeded", "Request limit exceeded."),
            ),
            _ => company(call, OWN, "a"),
        }
    });
    let place = Place::new();
    let ended = sync(&place, &server, &[]).ok();
    assert!(!ended.stderr.contains("refused"), "{}", ended.stderr);
    assert_eq!(server.calls("DescribeRouteTables").len(), 2);
    let expected = [
        "111111111111 eu-west-1 subnet-1 - private_nat",
        "111111111111 eu-west-1 subnet-3 - private_nat",
    ];
    assert_eq!(subnets(&place), expected);
}

#[test]
fn a_refused_call_is_named_and_costs_its_own_list_in_its_own_region() {
    let server = Ec2Server::start(|call| match (call.action.as_str(), call.region.as_str()) {
        ("DescribeRouteTables", "eu-central-1") => Some(denied(call)),
        _ => company(call, OWN, &call.region),
    });
    let place = Place::new();
    let regions = ["--region", "eu-west-1", "--region", "eu-central-1"];
    let ended = sync(&place, &server, &regions).ok();
    let line = "warning: eu-central-1: `DescribeRouteTables` is refused: \
                You are not authorized to perform: ec2:DescribeRouteTables (`UnauthorizedOperation`)";
    assert_eq!(
        ended.stderr.matches("is refused").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.lines().any(|told| told == line),
        "{}",
        ended.stderr
    );
    let expected = [
        "111111111111 eu-central-1 subnet-public-eu-central-1 edge unknown",
        "111111111111 eu-central-1 subnet-private-eu-central-1 app unknown",
        "111111111111 eu-west-1 subnet-public-eu-west-1 edge public",
        "111111111111 eu-west-1 subnet-private-eu-west-1 app private_nat",
    ];
    assert_eq!(subnets(&place), expected);
}

#[test]
fn what_is_refused_today_stays_as_it_was_yesterday() {
    let round = AtomicUsize::new(0);
    let server = Ec2Server::start(move |call| {
        let round = match call.action.as_str() {
            "DescribeVpcs" => round.fetch_add(1, Ordering::SeqCst) + 1,
            _ => round.load(Ordering::SeqCst),
        };
        match (round, call.action.as_str()) {
            (2, "DescribeRouteTables") => Some(denied(call)),
            // One subnet is gone, and that is not refused.
            (2, "DescribeSubnets") => {
                let left = subnet("subnet-private-a", "vpc-a", OWN, "10.0.1.0/24", "");
                Some(Reply::list(call, "subnetSet", &[left], None))
            }
            _ => company(call, OWN, "a"),
        }
    });
    let place = Place::new();
    sync(&place, &server, &[]).ok();
    sync(&place, &server, &[]).ok();
    let expected = ["111111111111 eu-west-1 subnet-private-a - private_nat"];
    assert_eq!(subnets(&place), expected);
}

#[test]
fn roles_of_two_accounts_are_assumed_and_a_third_that_refuses_is_named() {
    let server = Ec2Server::start(|call| match call.action.as_str() {
        "AssumeRole" => Some(match call.parameter("RoleArn").unwrap() {
            "arn:aws:iam::111111111111:role/reader" => Reply::role(OWN, "ASIAONE"),
            "arn:aws:iam::222222222222:role/reader" => Reply::role(OTHER, "ASIATWO"),
            _ => Reply::sts_error(
                403,
                "AccessDenied",
                "User: me is not authorized to perform: sts:AssumeRole",
            ),
        }),
        _ => match call.key.as_str() {
            "ASIAONE" => company(call, OWN, "one"),
            "ASIATWO" => company(call, OTHER, "two"),
            _ => Some(denied(call)),
        },
    });
    let role = |account: &str| format!("arn:aws:iam::{account}:role/reader");
    let (one, two, three) = (role(OWN), role(OTHER), role("333333333333"));
    let place = Place::new();
    let arguments = [
        "--role-arn",
        &one,
        "--role-arn",
        &two,
        "--role-arn",
        &three,
        "--external-id",
        "agreed",
    ];
    let ended = sync(&place, &server, &arguments).ok();
    let expected = [
        "111111111111 eu-west-1 subnet-public-one edge public",
        "111111111111 eu-west-1 subnet-private-one app private_nat",
        "222222222222 eu-west-1 subnet-public-two edge public",
        "222222222222 eu-west-1 subnet-private-two app private_nat",
    ];
    assert_eq!(subnets(&place), expected);
    for call in server.calls("AssumeRole") {
        assert_eq!(call.parameter("ExternalId"), Some("agreed"));
        assert_eq!(call.key, OWN_KEY);
    }
    let told: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.contains("333333333333"))
        .collect();
    let [told] = told.as_slice() else {
        panic!("{}", ended.stderr)
    };
    assert!(
        told.starts_with("warning: role `arn:aws:iam::333333333333:role/reader`: AssumeRole: "),
        "{told}"
    );
    assert!(
        told.contains("not authorized to perform: sts:AssumeRole"),
        "{told}"
    );
}

#[test]
fn a_shared_subnet_keeps_what_only_its_owner_sees() {
    let server = Ec2Server::start(|call| match (call.action.as_str(), call.key.as_str()) {
        ("AssumeRole", _) => Some(match call.parameter("RoleArn").unwrap() {
            "arn:aws:iam::111111111111:role/reader" => Reply::role(OWN, "ASIAOWNER"),
            _ => Reply::role(OTHER, "ASIAGUEST"),
        }),
        (_, "ASIAOWNER") => company(call, OWN, "a"),
        ("DescribeVpcs", _) => company(call, OWN, "a"),
        ("DescribeSubnets", _) => {
            let shared = subnet("subnet-private-a", "vpc-a", OWN, "10.0.1.0/24", "");
            Some(Reply::list(call, "subnetSet", &[shared], None))
        }
        _ => None,
    });
    let place = Place::new();
    let roles = [
        "--role-arn",
        "arn:aws:iam::111111111111:role/reader",
        "--role-arn",
        "arn:aws:iam::222222222222:role/reader",
    ];
    let ended = sync(&place, &server, &roles).ok();
    assert!(!ended.stderr.contains("more than once"), "{}", ended.stderr);
    let expected = [
        "111111111111 eu-west-1 subnet-public-a edge public",
        "111111111111 eu-west-1 subnet-private-a app private_nat",
    ];
    assert_eq!(subnets(&place), expected);
    // The guest alone sees the subnet, but neither its routes nor its tags.
    let alone = Place::new();
    sync(&alone, &server, &roles[2..]).ok();
    assert_eq!(
        subnets(&alone),
        ["111111111111 eu-west-1 subnet-private-a - unknown"]
    );
}

#[test]
fn words_that_nobody_knows_yet_are_kept() {
    let server = Ec2Server::start(|call| match call.action.as_str() {
        "DescribeNetworkInterfaces" => {
            let interface = |id: &str, kind: &str| {
                xml(&[
                    &format!("networkInterfaceId={id}"),
                    &format!("interfaceType={kind}"),
                    "subnetId=subnet-private-a",
                    "vpcId=vpc-a",
                    &format!("ownerId={OWN}"),
                    "status=resting",
                    "privateIpAddress=10.0.1.4",
                ])
            };
            let interfaces = [
                interface("eni-1", "nat_gateway"),
                interface("eni-2", "quantum_link"),
            ];
            Some(Reply::list(call, "networkInterfaceSet", &interfaces, None))
        }
        _ => company(call, OWN, "a"),
    });
    let place = Place::new();
    sync(&place, &server, &[]).ok();
    let kinds = place.sql("SELECT interface_id, interface_type, status FROM interfaces ORDER BY 1");
    let expected = [
        json!({"interface_id": "eni-1", "interface_type": "nat_gateway", "status": "resting"}),
        json!({"interface_id": "eni-2", "interface_type": "quantum_link", "status": "resting"}),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn entries_of_prefix_lists_are_read_list_by_list() {
    let server = Ec2Server::start(|call| {
        let list = |items: &[String]| Some(Reply::list(call, "prefixListSet", items, None));
        match call.action.as_str() {
            "DescribeManagedPrefixLists" => list(&[
                xml(&[
                    "prefixListId=pl-1",
                    "prefixListName=offices",
                    "ownerId=111111111111",
                    "addressFamily=IPv4",
                ]),
                xml(&[
                    "prefixListId=pl-2",
                    "prefixListName=com.amazonaws.eu-west-1.s3",
                    "ownerId=AWS",
                ]),
            ]),
            "DescribePrefixLists" => list(&[xml(&[
                "prefixListId=pl-2",
                "prefixListName=com.amazonaws.eu-west-1.s3",
                &set("cidrSet", &["52.218.0.0/17".to_owned()]),
            ])]),
            "GetManagedPrefixListEntries" => {
                assert_eq!(call.parameter("PrefixListId"), Some("pl-1"));
                let entry = xml(&["cidr=198.51.100.0/24", "description=Berlin"]);
                Some(Reply::list(call, "entrySet", &[entry], None))
            }
            _ => company(call, OWN, "a"),
        }
    });
    let place = Place::new();
    sync(&place, &server, &[]).ok();
    let lists = place.sql("SELECT prefix_list_id, account_id, cidrs FROM prefix_lists ORDER BY 1");
    let expected = [
        json!({"prefix_list_id": "pl-1", "account_id": OWN, "cidrs": "[\"198.51.100.0/24\"]"}),
        json!({"prefix_list_id": "pl-2", "account_id": null, "cidrs": "[\"52.218.0.0/17\"]"}),
    ];
    assert_eq!(lists, expected);
    assert_eq!(server.calls("GetManagedPrefixListEntries").len(), 1);
}

#[test]
fn a_region_that_lets_nobody_in_is_one_line_and_nothing_at_all_is_an_error() {
    let server = Ec2Server::start(|call| match call.region.as_str() {
        "ap-east-1" => {
            let message = "AWS was not able to validate the provided access credentials";
            Some(Reply::error(401, "AuthFailure", message))
        }
        _ => company(call, OWN, "a"),
    });
    let place = Place::new();
    let both = sync(
        &place,
        &server,
        &["--region", "ap-east-1", "--region", "eu-west-1"],
    )
    .ok();
    let line = "warning: ap-east-1: no call is answered: AWS was not able to validate the provided access credentials (`AuthFailure`)";
    assert_eq!(
        both.stderr.matches("ap-east-1").count(),
        1,
        "{}",
        both.stderr
    );
    assert!(
        both.stderr.lines().any(|told| told == line),
        "{}",
        both.stderr
    );
    assert_eq!(subnets(&place).len(), 2);

    let place = Place::new();
    let none = sync(&place, &server, &["--region", "ap-east-1"]);
    assert_eq!(none.code, Some(2));
    insta::assert_snapshot!(none.stderr, @"
    error: nothing could be read from EC2: ap-east-1: no call is answered: AWS was not able to validate the provided access credentials (`AuthFailure`)
    hint: check that the account has the region enabled, and that the credentials are of this partition: `aws sts get-caller-identity` says who you are
    ");
    assert!(!place.path("lake").exists());
}

#[test]
fn everything_refused_is_an_error() {
    let server = Ec2Server::start(|call| Some(denied(call)));
    let place = Place::new();
    let ended = sync(&place, &server, &[]);
    assert_eq!(ended.code, Some(2));
    insta::assert_snapshot!(ended.stderr, @"
    error: nothing could be read from EC2: eu-west-1: `DescribeVpcs` is refused: You are not authorized to perform: ec2:DescribeVpcs (`UnauthorizedOperation`)
    hint: the caller needs the `ec2:Describe…` permissions that the README lists
    ");
    assert!(!place.path("lake").exists());
}

#[test]
fn a_role_that_nobody_lets_in_is_an_error() {
    let server = Ec2Server::start(|_| {
        let message = "User: me is not authorized to perform: sts:AssumeRole";
        Some(Reply::sts_error(403, "AccessDenied", message))
    });
    let place = Place::new();
    let role = "arn:aws:iam::333333333333:role/reader";
    let ended = sync(&place, &server, &["--role-arn", role]);
    assert_eq!(ended.code, Some(2));
    insta::assert_snapshot!(ended.stderr, @"
    error: nothing could be read from EC2: role `arn:aws:iam::333333333333:role/reader`: AssumeRole: User: me is not authorized to perform: sts:AssumeRole (`AccessDenied`)
    hint: check the role's name and `--external-id`: its trust policy must let the caller in
    ");
    assert!(!place.path("lake").exists());
}

#[test]
fn what_fails_for_another_reason_is_not_called_refused() {
    let server = Ec2Server::start(|call| match call.action.as_str() {
        "DescribeCarrierGateways" => {
            let message = "The functionality you requested is not available in this region.";
            Some(Reply::error(400, "UnsupportedOperation", message))
        }
        _ => company(call, OWN, "a"),
    });
    let place = Place::new();
    let ended = sync(&place, &server, &[]).ok();
    let line = "warning: eu-west-1: `DescribeCarrierGateways` failed: \
                The functionality you requested is not available in this region. (`UnsupportedOperation`)";
    assert!(
        ended.stderr.lines().any(|told| told == line),
        "{}",
        ended.stderr
    );
}

#[test]
fn without_credentials_or_region_nothing_is_asked() {
    let server = Ec2Server::start(|call| company(call, OWN, "a"));
    let place = Place::new();
    let arguments = [
        "topology",
        "sync",
        "--lake",
        "lake",
        "--endpoint-url",
        &server.endpoint(),
    ];
    let run = |variables: &[(&str, &str)]| {
        let mut command = place.command(&arguments);
        Ended::of(command.envs(variables.iter().copied()).output().unwrap())
    };
    let no_credentials = run(&[("AWS_REGION", "eu-west-1")]);
    assert_eq!(no_credentials.code, Some(2));
    insta::assert_snapshot!(no_credentials.stderr, @"
    error: there are no AWS credentials: the credential provider was not enabled: no credentials found in chain
    hint: set `AWS_PROFILE`, or run `aws sso login` or `aws configure`, or give this machine a role
    ");
    let no_region = run(&[
        ("AWS_ACCESS_KEY_ID", OWN_KEY),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    assert_eq!(no_region.code, Some(2));
    insta::assert_snapshot!(no_region.stderr, @"
    error: no region is configured
    hint: name one with `--region`, or set `AWS_REGION`
    ");
    assert!(server.calls("DescribeVpcs").is_empty());
}

#[test]
fn the_endpoint_is_taken_from_the_flag_and_from_the_variable_of_ec2() {
    let server = Ec2Server::start(|call| company(call, OWN, "a"));
    let endpoint = server.endpoint();
    let nowhere = "http://127.0.0.1:1";
    for (flag, variables) in [
        (
            vec!["--endpoint-url", &endpoint],
            vec![("AWS_ENDPOINT_URL_EC2", nowhere)],
        ),
        (
            vec![],
            vec![
                ("AWS_ENDPOINT_URL_EC2", endpoint.as_str()),
                ("AWS_ENDPOINT_URL", nowhere),
            ],
        ),
    ] {
        let place = Place::new();
        let mut arguments = vec!["topology", "sync", "--lake", "lake"];
        arguments.extend(flag);
        let mut command = place.command(&arguments);
        server
            .credentials(&mut command, "eu-west-1")
            .envs(variables);
        Ended::of(command.output().unwrap()).ok();
        assert_eq!(subnets(&place).len(), 2);
    }
    let place = Place::new();
    let mut command = place.command(&[
        "topology",
        "sync",
        "--lake",
        "lake",
        "--endpoint-url",
        nowhere,
    ]);
    server
        .credentials(&mut command, "eu-west-1")
        .env("AWS_MAX_ATTEMPTS", "1");
    let ended = Ended::of(command.output().unwrap());
    assert_eq!(ended.code, Some(2));
    assert!(
        ended
            .stderr
            .starts_with("error: nothing could be read from EC2: eu-west-1: no call is answered: "),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .contains("hint: check the region's name, the network"),
        "{}",
        ended.stderr
    );
}
