"""The company whose traffic is made up: one account with two peered VPCs, their subnets and interfaces, and everybody they talk to."""

import ipaddress
import random
from dataclasses import dataclass

ACCOUNT = "123456789012"
REGION = "eu-west-1"
ZONES = ("a", "b", "c")
# Only the public subnets have a route to the internet gateway, app and batch leave through a NAT gateway, data not at all.
TIERS = ("public", "app", "data", "batch")
CLASSES = {"public": "public", "app": "private_nat", "data": "peered_only", "batch": "private_nat"}
INTERFACES_PER_SUBNET = {"public": 20, "app": 150, "data": 30, "batch": 50}
NUM_LOAD_BALANCERS = 6  # in each public subnet: they get most of the visitors
NUM_RESOLVERS = 1  # in each app subnet: name servers of the company's own, since AWS's are not logged

NUM_INTERNET = 60_000
NUM_SCANNERS = 4_000
NUM_AWS = 400
# First octets that neither AWS nor any special range has whole: mostly European providers.
INTERNET_OCTETS = (31, 37, 62, 77, 78, 82, 84, 87, 91, 93, 109, 151, 178, 185, 188, 193, 194, 212, 213, 217)
S3_RANGES = ("52.218.0.0/17", "52.92.0.0/17", "3.5.64.0/21")


@dataclass(frozen=True)
class Vpc:
    id: str
    name: str
    cidr: ipaddress.IPv4Network
    internet_gateway: str
    flow_log: str


@dataclass(frozen=True)
class Subnet:
    id: str
    vpc: int
    tier: str
    zone: int
    cidr: ipaddress.IPv4Network
    route_table: str

    @property
    def zone_id(self):
        return f"euw1-az{self.zone + 1}"


@dataclass(frozen=True)
class Interface:
    id: str
    subnet: int
    address: str
    kind: str  # instance, resolver, load_balancer or nat_gateway
    instance: str | None
    public_address: str | None
    number: int


class Network:
    """Built from a seed: the same seed gives the same ids and addresses everywhere."""

    def __init__(self, seed):
        self.random = random.Random(f"network {seed}")
        self.vpcs = [self._vpc("shop", "10.20.0.0/16"), self._vpc("data", "10.30.0.0/16")]
        self.peering = self._id("pcx")
        self.subnets = [subnet for number in range(len(self.vpcs)) for subnet in self._subnets(number)]
        self.interfaces = []
        for number in range(len(self.subnets)):
            self._add_interfaces(number)
        self.internet = self._strangers(NUM_INTERNET)
        self.scanners = self._strangers(NUM_SCANNERS)
        ranges = [ipaddress.ip_network(cidr) for cidr in S3_RANGES]
        self.aws = [str(self.random.choice(ranges)[self.random.randrange(2048)]) for _ in range(NUM_AWS)]

    def interfaces_of(self, vpc, tier, *kinds):
        """Interfaces in the subnets of a VPC's tier, of some kinds."""
        return [
            interface
            for interface in self.interfaces
            if self.subnets[interface.subnet].vpc == vpc
            and self.subnets[interface.subnet].tier == tier
            and interface.kind in kinds
        ]

    def nat_gateway_of(self, subnet):
        """The NAT gateway's interface that a private subnet leaves through: the one in its zone."""
        return next(
            interface
            for interface in self.interfaces_of(subnet.vpc, "public", "nat_gateway")
            if self.subnets[interface.subnet].zone == subnet.zone
        )

    def _id(self, prefix):
        return f"{prefix}-0{self.random.getrandbits(64):016x}"

    def _vpc(self, name, cidr):
        return Vpc(self._id("vpc"), name, ipaddress.ip_network(cidr), self._id("igw"), self._id("fl"))

    def _subnets(self, vpc):
        blocks = self.vpcs[vpc].cidr.subnets(new_prefix=22)
        public = self._id("rtb")
        for tier in TIERS:
            for zone in range(len(ZONES)):
                route_table = public if tier == "public" else self._id("rtb")
                yield Subnet(self._id("subnet"), vpc, tier, zone, next(blocks), route_table)

    def _add_interfaces(self, number):
        subnet = self.subnets[number]
        kinds = ["instance"] * INTERFACES_PER_SUBNET[subnet.tier]
        if subnet.tier == "public":
            kinds[: NUM_LOAD_BALANCERS + 1] = ["nat_gateway"] + ["load_balancer"] * NUM_LOAD_BALANCERS
        elif subnet.tier == "app":
            kinds[:NUM_RESOLVERS] = ["resolver"] * NUM_RESOLVERS
        # AWS keeps the first four addresses of a subnet and the last one for itself.
        hosts = self.random.sample(range(4, subnet.cidr.num_addresses - 1), len(kinds))
        for kind, host in zip(kinds, hosts):
            has_instance = kind in ("instance", "resolver")
            self.interfaces.append(
                Interface(
                    id=self._id("eni"),
                    subnet=number,
                    address=str(subnet.cidr[host]),
                    kind=kind,
                    instance=self._id("i") if has_instance else None,
                    public_address=self._stranger() if subnet.tier == "public" else None,
                    number=len(self.interfaces),
                )
            )

    def _stranger(self):
        octets = [self.random.choice(INTERNET_OCTETS), *(self.random.randrange(256) for _ in range(3))]
        return ".".join(map(str, octets))

    def _strangers(self, count):
        found = {}
        while len(found) < count:
            found[self._stranger()] = None
        return list(found)
