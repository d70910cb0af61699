-- The topology as tables, from the JSON that the AWS CLI printed and from two small tables that an analyst keeps beside it: the class
-- of each subnet, and AWS's address ranges as numbers.
-- Unlike flowscout this knows IPv4 only, and takes the topology to have been the same all the time.
CREATE MACRO address_number(address) AS
    split_part(address, '.', 1)::BIGINT * 16777216
    + split_part(address, '.', 2)::BIGINT * 65536
    + split_part(address, '.', 3)::BIGINT * 256
    + split_part(address, '.', 4)::BIGINT;
CREATE MACRO cidr_first(cidr) AS address_number(split_part(cidr, '/', 1));
CREATE MACRO cidr_last(cidr) AS
    address_number(split_part(cidr, '/', 1)) + (1::BIGINT << (32 - split_part(cidr, '/', 2)::INTEGER)) - 1;

-- Who opened a connection, by the ports alone: the other end's is a service's, one's own is ephemeral.
CREATE MACRO opens(own_port, other_port) AS
    (own_port >= 1024 AND other_port < 1024) OR (own_port >= 32768 AND other_port BETWEEN 1024 AND 32767);

CREATE TEMP TABLE vpcs AS
SELECT vpc.VpcId AS vpc_id, cidr_first(vpc.CidrBlock) AS first, cidr_last(vpc.CidrBlock) AS last
FROM (SELECT UNNEST(Vpcs) AS vpc FROM read_json(getvariable('topology') || '/ec2/describe-vpcs.json'));

CREATE TEMP TABLE subnets AS
SELECT
    subnet.SubnetId AS subnet_id,
    subnet.VpcId AS vpc_id,
    classes.class,
    cidr_first(subnet.CidrBlock) AS first,
    cidr_last(subnet.CidrBlock) AS last
FROM (SELECT UNNEST(Subnets) AS subnet FROM read_json(getvariable('topology') || '/ec2/describe-subnets.json'))
JOIN read_csv(getvariable('topology') || '/subnet-classes.csv') AS classes ON classes.subnet_id = subnet.SubnetId;

CREATE TEMP TABLE interfaces AS
SELECT
    interface.NetworkInterfaceId AS interface_id,
    interface.PrivateIpAddress AS address,
    interface.InterfaceType AS kind,
    interface.SubnetId AS subnet_id,
    interface.VpcId AS vpc_id
FROM (
    SELECT UNNEST(NetworkInterfaces) AS interface
    FROM read_json(getvariable('topology') || '/ec2/describe-network-interfaces.json', maximum_object_size = 100000000)
);

CREATE TEMP TABLE aws_ranges AS
SELECT first, last, service FROM read_csv(getvariable('topology') || '/aws-ranges.csv');
