"""Syncs the topology of an EC2 that is not ours: two VPCs that moto keeps, built with boto3 over HTTP.

Usage: moto_ec2.py FLOWSCOUT WORK    Exits with 1 if a subnet's class is not what its routes say, or a second sync stores something.
"""

import json
import logging
import os
import pathlib
import subprocess
import sys

import boto3
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"


def build(ec2):
    """A VPC with every common kind of subnet, and one that is peered with it. Returns the classes that are expected."""

    def vpc(cidr):
        return ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]

    def subnet(vpc_id, cidr, **route):
        subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock=cidr)["Subnet"]["SubnetId"]
        table = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet_id)
        if route:
            ec2.create_route(RouteTableId=table, **route)
        return subnet_id

    main, other = vpc("10.0.0.0/16"), vpc("10.1.0.0/16")
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=main)
    public = subnet(main, "10.0.0.0/24", DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=address)["NatGateway"]["NatGatewayId"]
    peering = ec2.create_vpc_peering_connection(VpcId=main, PeerVpcId=other)["VpcPeeringConnection"]
    peering = peering["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    expected = {
        public: "public",
        subnet(main, "10.0.1.0/24", DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat): "private_nat",
        subnet(main, "10.0.2.0/24", DestinationCidrBlock="10.1.0.0/16", VpcPeeringConnectionId=peering): "peered_only",
        subnet(main, "10.0.3.0/24"): "isolated",
        # Only the main route table applies to it.
        ec2.create_subnet(VpcId=other, CidrBlock="10.1.0.0/24")["Subnet"]["SubnetId"]: "isolated",
    }
    acl = ec2.create_network_acl(VpcId=main)["NetworkAcl"]["NetworkAclId"]
    ec2.create_network_acl_entry(
        NetworkAclId=acl, RuleNumber=90, Protocol="6", RuleAction="deny", Egress=False, CidrBlock="198.51.100.0/24",
        PortRange={"From": 22, "To": 22},
    )
    ec2.create_network_interface(SubnetId=public, PrivateIpAddress="10.0.0.10")
    ec2.create_managed_prefix_list(
        PrefixListName="offices", AddressFamily="IPv4", MaxEntries=5, Entries=[{"Cidr": "203.0.113.0/24"}]
    )
    return expected, acl


def main():
    flowscout, work = sys.argv[1], pathlib.Path(sys.argv[2])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    lake = str(work / "synced")

    def run(*arguments):
        done = subprocess.run([flowscout, *arguments, "--lake", lake], env=environment, text=True, capture_output=True)
        print(done.stderr, end="")
        done.check_returncode()
        return done

    ec2 = boto3.client(
        "ec2", endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    expected, acl = build(ec2)
    run("topology", "sync")
    again = run("topology", "sync")
    # A role of another account, whose network is moto's default one.
    role = run("topology", "sync", "--role-arn", "arn:aws:iam::222222222222:role/reader", "--external-id", "agreed")
    server.stop()

    shown = [json.loads(line) for line in run("topology", "show", "--format", "ndjson").stdout.splitlines()]
    seen = {row["subnet_id"]: row["class"] for row in shown}
    rules = run(
        "sql", "--format", "ndjson",
        f"SELECT DISTINCT rule_number FROM nacl_entries WHERE nacl_id = '{acl}' AND rule_action = 'deny' AND rule_number < 32767",
    )
    lists = run("sql", "--format", "ndjson", "SELECT cidrs FROM prefix_lists WHERE prefix_list_name = 'offices'")
    checks = {
        "classes are those of the routes": all(seen.get(subnet) == kind for subnet, kind in expected.items()),
        "a second sync stores nothing": "nothing was stored" in again.stderr,
        "the role's account is there too": any(row["account_id"] == "222222222222" for row in shown)
        and "stored a snapshot" in role.stderr,
        "network ACL rules are there": [json.loads(line)["rule_number"] for line in rules.stdout.splitlines()] == [90],
        "prefix list entries are there": "203.0.113.0/24" in lists.stdout,
    }
    for subnet, kind in expected.items():
        print(f"{subnet} {kind:12} {seen.get(subnet)}")
    for check, holds in checks.items():
        print(f"{check}: {'yes' if holds else 'NO'}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
