//! Single values: numbers, times, addresses, tags; bytes in, typed values out, nothing allocated.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The largest value that is still seconds. flowlogs-reader divides what lies above by 1000: contrary to the documentation, some
/// records carry milliseconds, and seconds pass this number only in 2038.
const LAST_SECOND: i64 = i32::MAX as i64;

/// The last millisecond of the year 9999, where calendars stop; a larger number is not a time.
const LAST_MILLISECOND: i64 = 253_402_300_799_999;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A number of decimal digits alone that fits `i64`.
pub(crate) fn number(token: &[u8]) -> Option<i64> {
    if token.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    if token.len() <= 18 {
        // 18 digits cannot overflow.
        for &byte in token {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + i64::from(digit);
        }
        return Some(value);
    }
    for &byte in token {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    Some(value)
}

/// Unix seconds or milliseconds as microseconds.
pub(crate) fn epoch_micros(token: &[u8]) -> Option<i64> {
    micros(number(token)?)
}

/// A number of seconds or milliseconds as microseconds.
#[inline]
pub(crate) fn micros(number: i64) -> Option<i64> {
    match number {
        seconds @ 0..=LAST_SECOND => Some(seconds * 1_000_000),
        milliseconds @ ..=LAST_MILLISECOND => Some(milliseconds * 1_000),
        _ => None,
    }
}

/// The UTC date of a time, in days since 1970-01-01.
pub(crate) fn date_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(MICROS_PER_DAY))
        .expect("the microseconds of an i64 are fewer days than an i32 holds")
}

/// Whether the token is an address that a flow log may hold: IPv4, IPv6, or the MAC address of an EFA record.
pub(crate) fn is_address(token: &[u8]) -> bool {
    is_ipv4(token) || is_mac(token) || ipv6(token).is_some()
}

/// An address in the one spelling that equal addresses share: IPv6 as RFC 5952 has it, IPv4 and MAC as they are. `None` for other text.
pub(crate) fn canonical_address(token: &[u8]) -> Option<Cow<'_, [u8]>> {
    if is_ipv4(token) || is_mac(token) {
        return Some(Cow::Borrowed(token));
    }
    let address = ipv6(token)?.to_string().into_bytes();
    Some(if address == token {
        Cow::Borrowed(token)
    } else {
        Cow::Owned(address)
    })
}

/// Dotted decimal without leading zeros: some readers take `010` for eight, so no two may agree on what it means.
fn is_ipv4(token: &[u8]) -> bool {
    if token.len() < 7 || token.len() > 15 {
        return false;
    }
    let mut dots = 0;
    let mut digits = 0;
    let mut octet: u16 = 0;
    for &byte in token {
        if byte == b'.' {
            if digits == 0 {
                return false;
            }
            dots += 1;
            digits = 0;
            octet = 0;
        } else {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || (digits > 0 && octet == 0) {
                return false;
            }
            octet = octet * 10 + u16::from(digit);
            digits += 1;
            if octet > 255 {
                return false;
            }
        }
    }
    dots == 3 && digits > 0
}

fn ipv6(token: &[u8]) -> Option<Ipv6Addr> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// Six pairs of hexadecimal digits.
fn is_mac(token: &[u8]) -> bool {
    token.len() == 17
        && token.iter().enumerate().all(|(at, byte)| {
            if at % 3 == 2 {
                *byte == token[2]
            } else {
                byte.is_ascii_hexdigit()
            }
        })
        && matches!(token[2], b':' | b'-')
}

/// A tag's value without its percent-encoding; `None` for `-`, which stands for no value, encoded or not.
///
/// An encoding that is not UTF-8 is kept as it is written: AWS encodes UTF-8, so somebody else wrote it.
pub(crate) fn tag(token: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut decoded = Cow::Borrowed(token);
    if memchr::memchr(b'%', token).is_some() {
        decoded = percent_encoding::percent_decode(token).into();
        if std::str::from_utf8(&decoded).is_err() {
            decoded = Cow::Borrowed(token);
        }
    }
    (*decoded != *b"-").then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_that_fit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0022", Some(22)),
            ("9223372036854775807", Some(i64::MAX)),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
        for text in [
            "",
            "-1",
            "+1",
            "1.0",
            "9223372036854775808",
            "99999999999999999999999",
            "1e3",
            "²",
        ] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn epochs_are_seconds_until_2038_and_milliseconds_above() {
        assert_eq!(epoch_micros(b"1418530010"), Some(1_418_530_010_000_000));
        assert_eq!(epoch_micros(b"2147483647"), Some(2_147_483_647_000_000));
        assert_eq!(epoch_micros(b"1418530010123"), Some(1_418_530_010_123_000));
        assert_eq!(epoch_micros(b"1418530010123456"), None);
    }

    #[test]
    fn dates_are_days_in_utc() {
        assert_eq!(date_of(0), 0);
        assert_eq!(date_of(MICROS_PER_DAY - 1), 0);
        assert_eq!(date_of(1_418_530_010_000_000), 16_418);
    }

    #[test]
    fn tells_addresses_from_other_text() {
        for good in [
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "02:ab:CD:00:11:22",
            "02-ab-cd-00-11-22",
        ] {
            assert!(is_address(good.as_bytes()), "{good}");
        }
        for bad in [
            "256.0.0.1",
            "1.2.3",
            "1.2.3.4.5",
            "010.0.0.1",
            "1..2.3",
            "1.2.3.",
            "10.0.0.1/8",
            "fe80::1%eth0",
            "host",
            "02:ab-cd:00:11:22",
            "1:2",
        ] {
            assert!(!is_address(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn equal_addresses_get_equal_text() {
        let canonical = |text: &str| {
            let address = canonical_address(text.as_bytes()).unwrap();
            String::from_utf8(address.into_owned()).unwrap()
        };
        assert_eq!(canonical("2001:0DB8:0:0:0:0:0:1"), "2001:db8::1");
        assert_eq!(canonical("10.0.0.1"), "10.0.0.1");
        assert_eq!(canonical("02:AB:cd:00:11:22"), "02:AB:cd:00:11:22");
    }

    #[test]
    fn tags_lose_their_encoding() {
        let decoded = |text: &str| {
            tag(text.as_bytes()).map(|tag| String::from_utf8(tag.into_owned()).unwrap())
        };
        assert_eq!(decoded("web%20server%2Fa"), Some("web server/a".to_owned()));
        assert_eq!(decoded("caf%C3%A9"), Some("café".to_owned()));
        assert_eq!(decoded("100%"), Some("100%".to_owned()));
        assert_eq!(decoded("%FF"), Some("%FF".to_owned()));
        assert_eq!(decoded("a+b"), Some("a+b".to_owned()));
        assert_eq!(decoded("%2D"), None);
    }
}
