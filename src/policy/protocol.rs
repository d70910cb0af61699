//! IANA protocol numbers and their keywords.

/// Keyword and number (IANA Assigned Internet Protocol Numbers).
const PROTOCOLS: &[(i64, &str)] = &[
    (0, "hopopt"),
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipv4"),
    (6, "tcp"),
    (8, "egp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (88, "eigrp"),
    (89, "ospf"),
    (94, "ipip"),
    (97, "etherip"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
];

/// The number of a protocol keyword (`tcp`, `icmpv6`, …) or of a decimal text.
pub fn protocol_number(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    if matches!(lower.as_str(), "icmpv6" | "icmp6") {
        return Some(58);
    }
    PROTOCOLS
        .iter()
        .find(|(_, name)| *name == lower)
        .map(|(number, _)| *number)
        .or_else(|| lower.parse().ok())
}

/// The keyword of a protocol number, the number itself where it has none.
pub fn protocol_text(number: i64) -> String {
    PROTOCOLS
        .iter()
        .find(|(known, _)| *known == number)
        .map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}
