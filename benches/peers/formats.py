"""The two log formats that are measured, field by field, with the type that a careful user gives each field."""

DEFAULT = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
).split()
ALL_OF_V5 = DEFAULT + (
    "vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id sublocation-type sublocation-id"
    " pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path"
).split()
FIELDS = {"v2": DEFAULT, "v5": ALL_OF_V5}

INT32 = {"version", "srcport", "dstport", "protocol", "tcp-flags", "traffic-path"}
INT64 = {"packets", "bytes"}
TIMES = {"start", "end"}


def column(field):
    """The column's name in every engine: AWS's, with underscores."""
    return field.replace("-", "_")


def columns(log_format, int32, int64, time, text):
    """Each column of a format with its type in an engine's own words."""
    def type_of(field):
        if field in INT32:
            return int32
        if field in INT64:
            return int64
        return time if field in TIMES else text

    return {column(field): type_of(field) for field in FIELDS[log_format]}
