"""Draws the flow records of one object: conversations between the network's ends, as every interface on their way records them.

A conversation is drawn once and recorded at each of its places, in both directions, so that what two interfaces say agrees:

    visit            internet -> load balancer or server                 recorded at the server
    balance store    load balancer -> app, app -> database               at both ends
    names call admin app -> name server, app -> app, batch -> app        at both ends
    nat              private instance -> NAT gateway -> internet         at the client, and on both sides of the gateway
    out              public instance -> internet                         at the client
    peering          app in one VPC -> app or database in the other      each end in the object of its own VPC
    refused          app -> somebody else's database                     at both ends: accepted out, rejected in
    scan             scanner -> any port of a public subnet              rejected, without a reply
"""

import numpy as np

from datasets import LAST_DAY
from network import TIERS

# Each kind's part of an object's rows; scans fill the rest, so that every object has the rows it should have.
SHARES = {
    "visit": 0.30,
    "balance": 0.10,
    "store": 0.18,
    "names": 0.06,
    "call": 0.10,
    "admin": 0.01,
    "nat": 0.12,
    "out": 0.03,
    "peering": 0.05,
    "refused": 0.005,
}
NUM_DESTINATIONS = 200  # that a subnet knows: the same every day, so that a baseline has seen them
NOVEL_SHARE = 0.001  # connections to the internet that go to anybody else
SCANNED_PORTS = np.array([3389, 22, 23, 445, 80, 8080, 5900, 1433, 3306, 6379, 8443, 21, 25, 5060, 2375, 9200, 5432, 111, 139, 27017])

# Hours of the last day in which somebody tries one port of a public subnet again and again.
FLOODS = ({"vpc": 0, "hour": 14, "port": 3389, "zone": 0}, {"vpc": 1, "hour": 3, "port": 22, "zone": 1})
FLOOD_SHARE = 0.9  # of what the subnet in that zone refuses in the hour

INTERVAL_SECS = 60
# How many intervals conversations last: of twenty, fifteen one, three two, two four.
LENGTHS = np.array([1] * 15 + [2] * 3 + [4] * 2)
# AWS writes an object's records roughly by time: an interface's records come together when its interval is flushed.
DISORDER_SECS = 60.0

ACCEPT, REJECT = 0, 1
EPHEMERAL = (32768, 61000)
NAT_PORTS = (1024, 65536)
PATH_SAME_VPC, PATH_PEERING, PATH_INTERNET_GATEWAY = 1, 4, 8
NO_PATH = 0
TCP, UDP = 6, 17
SYN, SYN_ACK, FIN = 2, 18, 1
SYN_BYTES = 44


class Zipf:
    """Draws ranks of which the first is the most common."""

    def __init__(self, size, exponent):
        weights = 1.0 / np.arange(1, size + 1) ** exponent
        self.cumulative = np.cumsum(weights / weights.sum())

    def draw(self, rng, count):
        return np.minimum(np.searchsorted(self.cumulative, rng.random(count)), len(self.cumulative) - 1)


class Traffic:
    """The network's ends as arrays. An end is an index into `addresses`; those of interfaces come first."""

    def __init__(self, network):
        self.network = network
        self.num_interfaces = len(network.interfaces)
        self.addresses = [interface.address for interface in network.interfaces]
        self.addresses += network.internet + network.aws + network.scanners
        self.first_internet = self.num_interfaces
        self.first_aws = self.first_internet + len(network.internet)
        self.first_scanner = self.first_aws + len(network.aws)
        self.subnet_of = np.array([interface.subnet for interface in network.interfaces])
        self.zone_of = np.array([network.subnets[subnet].zone for subnet in self.subnet_of])
        self.nat_of = np.array(
            [
                network.nat_gateway_of(subnet).number if subnet.tier in ("app", "batch") else -1
                for subnet in network.subnets
            ]
        )
        self.ends = {}
        for vpc in range(len(network.vpcs)):
            for tier in TIERS:
                for kind in ("instance", "load_balancer", "resolver"):
                    found = [interface.number for interface in network.interfaces_of(vpc, tier, kind)]
                    self.ends[vpc, tier, kind] = np.array(found, dtype=np.int32)
        self.visitors = Zipf(len(network.internet), 0.8)
        self.scanners = Zipf(len(network.scanners), 1.0)
        self.ports = Zipf(len(SCANNED_PORTS), 0.9)
        self.ranks = Zipf(NUM_DESTINATIONS, 0.8)
        self.destinations = self._destinations()

    def _destinations(self):
        """For each subnet the ends that its instances call, a quarter of them AWS's, and the port for each."""
        rng = np.random.default_rng(self.network.random.getrandbits(64))
        size = (len(self.network.subnets), NUM_DESTINATIONS)
        internet = self.first_internet + rng.integers(0, len(self.network.internet), size)
        aws = self.first_aws + rng.integers(0, len(self.network.aws), size)
        ends = np.where(rng.random(size) < 0.25, aws, internet).astype(np.int32)
        return ends, np.where(rng.random(size) < 0.15, 80, 443).astype(np.int32)

    def rows(self, seed, slot, vpc, start, seconds, count):
        """`count` records of a VPC's interfaces in a slot, as a dictionary of arrays, in the order of the object."""
        drawing = _Drawing(self, np.random.default_rng([seed, slot, vpc]), vpc, start, seconds)
        intervals = {kind: int(share * count) for kind, share in SHARES.items()}
        drawing.visits(intervals["visit"] // 2)
        for kind in ("balance", "store", "names", "call", "admin"):
            drawing.between(kind, intervals[kind] // 4)
        drawing.through_nat(intervals["nat"] // 6)
        drawing.straight_out(intervals["out"] // 2)
        # Both VPCs' objects draw the same conversations.
        drawing.peering(np.random.default_rng([seed, slot, len(self.network.vpcs)]), intervals["peering"] // 4)
        drawing.refused(intervals["refused"] // 2)
        drawing.scans(count - drawing.num_rows)
        return drawing.finish()


class _Drawing:
    """The records drawn so far for one object."""

    def __init__(self, traffic, rng, vpc, start, seconds):
        self.traffic, self.rng, self.vpc = traffic, rng, vpc
        self.start, self.seconds = start, seconds
        self.parts = []
        self.num_rows = 0

    def visits(self, count):
        talk = _Talk(self.rng, self.start, self.seconds, count)
        balancers, servers = self._ends("public", "load_balancer"), self._ends("public", "instance")
        client = self.traffic.first_internet + talk.each(lambda n: self.traffic.visitors.draw(self.rng, n))
        server = talk.each(
            lambda n: np.where(self.rng.random(n) < 0.5, self.rng.choice(balancers, n), self.rng.choice(servers, n))
        )
        port = talk.each(lambda n: np.where(self.rng.random(n) < 0.85, 443, 80))
        self._exchange(talk, server, client, server, talk.client_port, port, PATH_INTERNET_GATEWAY)

    def between(self, kind, count):
        """Conversations inside the VPC."""
        rng, talk = self.rng, _Talk(self.rng, self.start, self.seconds, count)
        apps = self._ends("app", "instance")
        clients, servers, ports, protocol = {
            "balance": (self._ends("public", "load_balancer"), apps, [8080], TCP),
            "store": (apps, self._ends("data", "instance"), [5432, 5432, 6379, 3306], TCP),
            "names": (apps, self._ends("app", "resolver"), [53], UDP),
            "call": (apps, apps, [8080, 443], TCP),
            "admin": (self._ends("batch", "instance"), apps, [22], TCP),
        }[kind]
        client = talk.each(lambda n: rng.choice(clients, n))
        choice = talk.each(lambda n: rng.integers(0, len(servers), n))
        # Nobody talks to himself over his interface: then it is the one before.
        server = np.where(servers[choice] == client, servers[choice - 1], servers[choice])
        port = talk.each(lambda n: rng.choice(ports, n))
        for place in (client, server):
            self._exchange(talk, place, client, server, talk.client_port, port, PATH_SAME_VPC, protocol)

    def through_nat(self, count):
        talk = _Talk(self.rng, self.start, self.seconds, count)
        clients = np.concatenate([self._ends("app", "instance"), self._ends("batch", "instance")])
        client = talk.each(lambda n: self.rng.choice(clients, n))
        server, port = self._destination(talk, client)
        gateway = self.traffic.nat_of[self.traffic.subnet_of[client]]
        self._exchange(talk, client, client, server, talk.client_port, port, PATH_SAME_VPC)
        # The gateway stands for the far end on the client's side, and for the client on the other.
        self._exchange(talk, gateway, client, gateway, talk.client_port, port, PATH_SAME_VPC, packet_server=server)
        outer_port = talk.each(lambda n: self.rng.integers(*NAT_PORTS, n))
        self._exchange(talk, gateway, gateway, server, outer_port, port, PATH_INTERNET_GATEWAY)

    def straight_out(self, count):
        talk = _Talk(self.rng, self.start, self.seconds, count)
        client = talk.each(lambda n: self.rng.choice(self._ends("public", "instance"), n))
        server, port = self._destination(talk, client)
        self._exchange(talk, client, client, server, talk.client_port, port, PATH_INTERNET_GATEWAY)

    def peering(self, shared, count):
        """`shared` draws the same for both VPCs: what differs is which end is recorded here."""
        for client_vpc in range(len(self.traffic.network.vpcs)):
            talk = _Talk(shared, self.start, self.seconds, count)
            clients = self.traffic.ends[client_vpc, "app", "instance"]
            apps = self.traffic.ends[1 - client_vpc, "app", "instance"]
            databases = self.traffic.ends[1 - client_vpc, "data", "instance"]
            client = talk.each(lambda n: shared.choice(clients, n))
            to_app = talk.each(lambda n: shared.random(n) < 0.7)
            server = np.where(
                to_app, talk.each(lambda n: shared.choice(apps, n)), talk.each(lambda n: shared.choice(databases, n))
            )
            place = client if client_vpc == self.vpc else server
            port = np.where(to_app, 8080, 5432)
            self._exchange(talk, place, client, server, talk.client_port, port, PATH_PEERING)

    def refused(self, count):
        talk = _Talk(self.rng, self.start, self.seconds, count)
        client = talk.each(lambda n: self.rng.choice(self._ends("app", "instance"), n))
        server = talk.each(lambda n: self.rng.choice(self._ends("data", "instance"), n))
        self._attempt(talk, client, client, server, np.full(count, 22), ACCEPT)
        self._attempt(talk, server, client, server, np.full(count, 22), REJECT)

    def scans(self, count):
        rng, traffic = self.rng, self.traffic
        talk = _Talk(rng, self.start, self.seconds, count, lengths=LENGTHS[:1])
        servers = np.concatenate([self._ends("public", "load_balancer"), self._ends("public", "instance")])
        server = rng.choice(servers, count)
        port = SCANNED_PORTS[traffic.ports.draw(rng, count)]
        for flood in FLOODS:
            begins = LAST_DAY.timestamp() + flood["hour"] * 3600
            if flood["vpc"] == self.vpc and self.start <= begins < self.start + self.seconds:
                is_there = traffic.zone_of[server] == flood["zone"]
                port = np.where(is_there & (rng.random(count) < FLOOD_SHARE), flood["port"], port)
        scanner = traffic.first_scanner + traffic.scanners.draw(rng, count)
        self._attempt(talk, server, scanner, server, port, REJECT)

    def finish(self):
        """All records, roughly by time."""
        rows = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        order = np.argsort(rows["end"] + self.rng.normal(0.0, DISORDER_SECS, self.num_rows))
        return {name: values[order] for name, values in rows.items()}

    def _ends(self, tier, kind):
        return self.traffic.ends[self.vpc, tier, kind]

    def _destination(self, talk, client):
        """Whom on the internet each client calls, and on which port."""
        ends, ports = self.traffic.destinations
        subnet = self.traffic.subnet_of[client]
        rank = talk.each(lambda n: self.traffic.ranks.draw(self.rng, n))
        novel = talk.each(lambda n: self.rng.random(n) < NOVEL_SHARE)
        stranger = talk.each(lambda n: self.rng.integers(0, len(self.traffic.network.internet), n))
        server = np.where(novel, self.traffic.first_internet + stranger, ends[subnet, rank])
        return server, np.where(novel, 443, ports[subnet, rank])

    def _exchange(self, talk, place, client, server, client_port, port, path, protocol=TCP, packet_server=None):
        """Both directions of a conversation, as the interface `place` records them.

        `packet_server` is where the packets go to, if the record names the NAT gateway in its place.
        """
        is_client = place is client
        packet_server = server if packet_server is None else packet_server
        self._add(
            talk, place, (client, server), (client, packet_server), (client_port, port), is_client, path,
            protocol, talk.packets, talk.size, talk.flags(protocol, SYN),
        )
        self._add(
            talk, place, (server, client), (packet_server, client), (port, client_port), not is_client, path,
            protocol, talk.replies, talk.reply_size, talk.flags(protocol, SYN_ACK),
        )

    def _attempt(self, talk, place, client, server, port, action):
        """One SYN that is not answered."""
        ones, ends = np.ones(len(talk.at), dtype=np.int64), (client, server)
        self._add(
            talk, place, ends, ends, (talk.client_port, port), place is client, PATH_SAME_VPC,
            TCP, ones, SYN_BYTES * ones, SYN * ones, action,
        )

    def _add(self, talk, place, ends, packet_ends, ports, is_egress, path, protocol, packets, size, flags, action=ACCEPT):
        """One record for each interval of a talk; a pair is source and destination."""
        count = len(talk.at)
        columns = {
            "interface": place,
            "src": ends[0],
            "dst": ends[1],
            "src_port": ports[0],
            "dst_port": ports[1],
            "protocol": np.full(count, protocol),
            "action": np.full(count, action),
            "flags": flags,
            "egress": np.full(count, int(is_egress)),
            # AWS says it of what leaves an interface only.
            "path": np.full(count, path if is_egress else NO_PATH),
            "packet_src": packet_ends[0],
            "packet_dst": packet_ends[1],
        }
        part = {name: values.astype(np.int32) for name, values in columns.items()}
        part["packets"], part["bytes"] = packets, packets * size
        # The interfaces' clocks and capture windows differ a little.
        part["start"] = talk.at + self.rng.integers(0, 3, count)
        part["end"] = talk.at + talk.lasts + self.rng.integers(0, 4, count)
        self.parts.append(part)
        self.num_rows += count


class _Talk:
    """Intervals of conversations: which conversation each belongs to, when it is, and how much is said in it."""

    def __init__(self, rng, start, seconds, count, lengths=LENGTHS):
        turn = np.arange(count)
        cycle = int(lengths.sum())
        self.conversation = turn // cycle * len(lengths) + np.repeat(np.arange(len(lengths)), lengths)[turn % cycle]
        nth = np.concatenate([np.arange(length) for length in lengths])[turn % cycle]
        self.num_conversations = int(self.conversation[-1]) + 1 if count else 0
        room = seconds - INTERVAL_SECS * lengths[self.conversation % len(lengths)]
        self.lasts = rng.integers(12, INTERVAL_SECS - 2, count)
        # The times of one conversation's intervals must follow from one draw.
        self.at = start + (self.each(lambda n: rng.random(n)) * room).astype(np.int64) + nth * INTERVAL_SECS
        self.is_first = nth == 0
        self.client_port = self.each(lambda n: rng.integers(*EPHEMERAL, n))
        self.packets = 1 + rng.lognormal(4.0, 2.0, count).astype(np.int64)
        self.replies = 1 + (self.packets * rng.lognormal(0.0, 0.7, count)).astype(np.int64)
        self.size = 40 + np.minimum(rng.lognormal(5.5, 1.2, count), 1400).astype(np.int64)
        self.reply_size = 40 + np.minimum(rng.lognormal(5.5, 1.2, count), 1400).astype(np.int64)

    def each(self, draw):
        """A value for each conversation, repeated for its intervals."""
        return draw(self.num_conversations)[self.conversation]

    def flags(self, protocol, opening):
        """How it begins in its first interval; of the others only the end shows."""
        if protocol != TCP:
            return np.zeros(len(self.at), dtype=np.int32)
        return np.where(self.is_first, opening | FIN, FIN)
