"""Writes the network as `aws ec2 describe-*` prints it, and the two small tables that an analyst would keep beside it."""

import csv
import io
import ipaddress
import json
from pathlib import Path

from formats import FIELDS
from network import ACCOUNT, CLASSES, REGION, ZONES

CREATED = "2025-06-02T08:15:00.000Z"
AWS_RANGES = Path(__file__).parents[2] / "src/topology/ip_ranges.tsv"
ANYWHERE = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [], "PrefixListIds": [], "UserIdGroupPairs": []}
# What each tier's security group lets in, from anywhere or from the company's own addresses.
OPEN_PORTS = {"public": [443, 80], "app": [8080, 443, 53, 22], "data": [5432, 6379, 3306], "batch": []}


def files(network):
    """Every file's name and content."""
    described = {
        "vpcs": ("Vpcs", vpcs(network)),
        "subnets": ("Subnets", subnets(network)),
        "route-tables": ("RouteTables", route_tables(network)),
        "network-acls": ("NetworkAcls", network_acls(network)),
        "security-groups": ("SecurityGroups", security_groups(network)),
        "network-interfaces": ("NetworkInterfaces", interfaces(network)),
        "nat-gateways": ("NatGateways", nat_gateways(network)),
        "internet-gateways": ("InternetGateways", internet_gateways(network)),
        "vpc-peering-connections": ("VpcPeeringConnections", peerings(network)),
        "flow-logs": ("FlowLogs", flow_logs(network)),
    }
    found = {
        f"ec2/describe-{name}.json": json.dumps({key: records}, indent=4) + "\n"
        for name, (key, records) in described.items()
    }
    classes = [(subnet.id, CLASSES[subnet.tier]) for subnet in network.subnets]
    found["subnet-classes.csv"] = table(("subnet_id", "class"), classes)
    found["aws-ranges.csv"] = table(("first", "last", "service"), aws_ranges())
    return found


def table(header, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def aws_ranges():
    """AWS's IPv4 ranges, as numbers: they neither overlap nor nest in the copy that flowscout carries."""
    lines = [line for line in AWS_RANGES.read_text().splitlines() if not line.startswith("#")]
    owned = [line.split("\t") for line in lines]
    ranges = [
        (ipaddress.ip_network(cidr), fields[0])
        for fields in owned
        if len(fields) == 3
        for cidr in fields[2].split()
        if ":" not in cidr
    ]
    return sorted((int(block[0]), int(block[-1]), service) for block, service in ranges)


def tags(name, **others):
    return [{"Key": key, "Value": value} for key, value in {"Name": name, **others}.items()]


def related(resource, prefix):
    """An id that goes with a resource's."""
    return f"{prefix}-{resource.split('-')[-1]}"


def vpcs(network):
    return [
        {
            "CidrBlock": str(vpc.cidr),
            "DhcpOptionsId": related(vpc.id, "dopt"),
            "State": "available",
            "VpcId": vpc.id,
            "OwnerId": ACCOUNT,
            "InstanceTenancy": "default",
            "CidrBlockAssociationSet": [
                {
                    "AssociationId": related(vpc.id, "vpc-cidr-assoc"),
                    "CidrBlock": str(vpc.cidr),
                    "CidrBlockState": {"State": "associated"},
                }
            ],
            "IsDefault": False,
            "Tags": tags(vpc.name),
            "BlockPublicAccessStates": {"InternetGatewayBlockMode": "off"},
        }
        for vpc in network.vpcs
    ]


def subnets(network):
    return [
        {
            "AvailabilityZone": REGION + ZONES[subnet.zone],
            "AvailabilityZoneId": subnet.zone_id,
            "AvailableIpAddressCount": 800,
            "CidrBlock": str(subnet.cidr),
            "DefaultForAz": False,
            "MapPublicIpOnLaunch": subnet.tier == "public",
            "State": "available",
            "SubnetId": subnet.id,
            "VpcId": subnet_vpc(network, subnet).id,
            "OwnerId": ACCOUNT,
            "AssignIpv6AddressOnCreation": False,
            "Ipv6CidrBlockAssociationSet": [],
            "Tags": tags(subnet_name(network, subnet), Tier=subnet.tier),
            "SubnetArn": f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/{subnet.id}",
            "EnableDns64": False,
            "Ipv6Native": False,
        }
        for subnet in network.subnets
    ]


def subnet_vpc(network, subnet):
    return network.vpcs[subnet.vpc]


def subnet_name(network, subnet):
    return f"{subnet_vpc(network, subnet).name}-{subnet.tier}-{ZONES[subnet.zone]}"


def route_tables(network):
    found = {}
    for vpc in network.vpcs:
        main = related(vpc.id, "rtb")
        found[main] = route_table(main, vpc, [local_route(vpc)], [association(main, None)])
    for subnet in network.subnets:
        vpc, other = network.vpcs[subnet.vpc], network.vpcs[1 - subnet.vpc]
        routes = [local_route(vpc), route(str(other.cidr), VpcPeeringConnectionId=network.peering)]
        if subnet.tier == "public":
            routes.append(route("0.0.0.0/0", GatewayId=vpc.internet_gateway))
        elif subnet.tier != "data":
            gateway = network.nat_gateway_of(subnet)
            routes.append(route("0.0.0.0/0", NatGatewayId=related(gateway.id, "nat")))
        known = found.setdefault(subnet.route_table, route_table(subnet.route_table, vpc, routes, []))
        known["Associations"].append(association(subnet.route_table, subnet))
    return list(found.values())


def route_table(id, vpc, routes, associations):
    return {
        "Associations": associations,
        "PropagatingVgws": [],
        "RouteTableId": id,
        "Routes": routes,
        "Tags": [],
        "VpcId": vpc.id,
        "OwnerId": ACCOUNT,
    }


def route(cidr, origin="CreateRoute", **target):
    return {"DestinationCidrBlock": cidr, **target, "Origin": origin, "State": "active"}


def local_route(vpc):
    return route(str(vpc.cidr), "CreateRouteTable", GatewayId="local")


def association(route_table, subnet):
    found = {
        "Main": subnet is None,
        "RouteTableAssociationId": related(subnet.id if subnet else route_table, "rtbassoc"),
        "RouteTableId": route_table,
        "AssociationState": {"State": "associated"},
    }
    return found | ({"SubnetId": subnet.id} if subnet else {})


def network_acls(network):
    def rule(number, action, egress):
        return {
            "CidrBlock": "0.0.0.0/0", "Egress": egress, "Protocol": "-1", "RuleAction": action, "RuleNumber": number,
        }

    return [
        {
            "Associations": [
                {
                    "NetworkAclAssociationId": related(subnet.id, "aclassoc"),
                    "NetworkAclId": related(vpc.id, "acl"),
                    "SubnetId": subnet.id,
                }
                for subnet in network.subnets
                if network.vpcs[subnet.vpc] is vpc
            ],
            "Entries": [
                rule(number, action, egress)
                for egress in (True, False)
                for number, action in ((100, "allow"), (32767, "deny"))
            ],
            "IsDefault": True,
            "NetworkAclId": related(vpc.id, "acl"),
            "Tags": tags(f"{vpc.name}-default"),
            "VpcId": vpc.id,
            "OwnerId": ACCOUNT,
        }
        for vpc in network.vpcs
    ]


def group_id(vpc, tier):
    return related(vpc.id, "sg")[:-1] + str(list(OPEN_PORTS).index(tier))


def security_groups(network):
    return [
        {
            "GroupId": group_id(vpc, tier),
            "IpPermissionsEgress": [{"IpProtocol": "-1", **ANYWHERE}],
            "Tags": tags(f"{vpc.name}-{tier}"),
            "VpcId": vpc.id,
            "SecurityGroupArn": f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/{group_id(vpc, tier)}",
            "OwnerId": ACCOUNT,
            "GroupName": tier,
            "Description": f"{tier} of {vpc.name}",
            "IpPermissions": [
                {
                    "IpProtocol": "udp" if port == 53 else "tcp",
                    "FromPort": port,
                    "ToPort": port,
                    **ANYWHERE,
                    "IpRanges": [{"CidrIp": "0.0.0.0/0" if tier == "public" else "10.0.0.0/8"}],
                }
                for port in ports
            ],
        }
        for vpc in network.vpcs
        for tier, ports in OPEN_PORTS.items()
    ]


def interfaces(network):
    return [interface_record(network, interface) for interface in network.interfaces]


def interface_record(network, interface):
    subnet = network.subnets[interface.subnet]
    vpc = network.vpcs[subnet.vpc]
    is_nat = interface.kind == "nat_gateway"
    by_aws = interface.instance is None
    address = {"Primary": True, "PrivateIpAddress": interface.address}
    if interface.public_address:
        address["Association"] = {
            "AllocationId": related(interface.id, "eipalloc"),
            "AssociationId": related(interface.id, "eipassoc"),
            "IpOwnerId": ACCOUNT,
            "PublicDnsName": "",
            "PublicIp": interface.public_address,
        }
    found = {
        "Attachment": {
            "AttachTime": CREATED,
            "AttachmentId": related(interface.id, "eni-attach"),
            "DeleteOnTermination": not by_aws,
            "DeviceIndex": 1 if by_aws else 0,
            "InstanceOwnerId": ("amazon-aws" if is_nat else "amazon-elb") if by_aws else ACCOUNT,
            "Status": "attached",
        },
        "AvailabilityZone": REGION + ZONES[subnet.zone],
        "Description": f"Interface for NAT Gateway {related(interface.id, 'nat')}" if is_nat else interface.kind,
        "Groups": [] if is_nat else [{"GroupName": subnet.tier, "GroupId": group_id(vpc, subnet.tier)}],
        "InterfaceType": "nat_gateway" if is_nat else "interface",
        "Ipv6Addresses": [],
        "MacAddress": "0a:ff:" + ":".join(f"{int(octet):02x}" for octet in interface.address.split(".")),
        "NetworkInterfaceId": interface.id,
        "OwnerId": ACCOUNT,
        "PrivateIpAddress": interface.address,
        "PrivateIpAddresses": [address],
        "RequesterManaged": by_aws,
        "SourceDestCheck": not is_nat,
        "Status": "in-use",
        "SubnetId": subnet.id,
        "TagSet": [],
        "VpcId": vpc.id,
    }
    if interface.kind == "load_balancer":
        found["Description"] = f"ELB app/{vpc.name}/{related(interface.id, '')[1:]}"
    if interface.instance:
        found["Attachment"]["InstanceId"] = interface.instance
    if interface.public_address:
        found["Association"] = address["Association"]
    return found


def nat_gateways(network):
    return [
        {
            "CreateTime": CREATED,
            "NatGatewayAddresses": [
                {
                    "AllocationId": related(interface.id, "eipalloc"),
                    "NetworkInterfaceId": interface.id,
                    "PrivateIp": interface.address,
                    "PublicIp": interface.public_address,
                    "AssociationId": related(interface.id, "eipassoc"),
                    "IsPrimary": True,
                    "Status": "succeeded",
                }
            ],
            "NatGatewayId": related(interface.id, "nat"),
            "State": "available",
            "SubnetId": network.subnets[interface.subnet].id,
            "VpcId": network.vpcs[network.subnets[interface.subnet].vpc].id,
            "Tags": [],
            "ConnectivityType": "public",
        }
        for interface in network.interfaces
        if interface.kind == "nat_gateway"
    ]


def internet_gateways(network):
    return [
        {
            "Attachments": [{"State": "available", "VpcId": vpc.id}],
            "InternetGatewayId": vpc.internet_gateway,
            "OwnerId": ACCOUNT,
            "Tags": tags(vpc.name),
        }
        for vpc in network.vpcs
    ]


def peerings(network):
    sides = [
        {
            "CidrBlock": str(vpc.cidr),
            "CidrBlockSet": [{"CidrBlock": str(vpc.cidr)}],
            "OwnerId": ACCOUNT,
            "PeeringOptions": {
                "AllowDnsResolutionFromRemoteVpc": True,
                "AllowEgressFromLocalClassicLinkToRemoteVpc": False,
                "AllowEgressFromLocalVpcToRemoteClassicLink": False,
            },
            "VpcId": vpc.id,
            "Region": REGION,
        }
        for vpc in network.vpcs
    ]
    return [
        {
            "AccepterVpcInfo": sides[1],
            "RequesterVpcInfo": sides[0],
            "Status": {"Code": "active", "Message": "Active"},
            "Tags": tags("shop-data"),
            "VpcPeeringConnectionId": network.peering,
        }
    ]


def flow_logs(network):
    return [
        {
            "CreationTime": CREATED,
            "DeliverLogsStatus": "SUCCESS",
            "FlowLogId": vpc.flow_log,
            "FlowLogStatus": "ACTIVE",
            "ResourceId": vpc.id,
            "TrafficType": "ALL",
            "LogDestinationType": "s3",
            "LogDestination": "arn:aws:s3:::example-flow-logs",
            "LogFormat": " ".join(f"${{{field}}}" for field in FIELDS["v2"]),
            "Tags": [],
            "MaxAggregationInterval": 60,
            "DestinationOptions": {
                "FileFormat": "plain-text",
                "HiveCompatiblePartitions": False,
                "PerHourPartition": False,
            },
        }
        for vpc in network.vpcs
    ]
