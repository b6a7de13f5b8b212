//! How numbers and times stand in monitoring: as nats-server writes them.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

/// A time in UTC as RFC 3339 has it, to the nanosecond, without trailing zeros.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(crate) SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::try_from(self.0) {
            Ok(time) => serializer.collect_str(&time),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

/// A number of nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nanoseconds(pub(crate) Duration);

impl Serialize for Nanoseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A length of time in whole seconds, in units of which the largest is the first that is not zero:
/// `1y2d3h4m5s`, `4m5s`, `0s`.
#[must_use]
pub(crate) fn uptime(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let years = days / 365;
    let units = [
        (years, years, 'y'),
        (days, days % 365, 'd'),
        (hours, hours % 24, 'h'),
        (minutes, minutes % 60, 'm'),
    ];
    let mut text = String::new();
    for (total, part, unit) in units {
        if total > 0 {
            text.push_str(&format!("{part}{unit}"));
        }
    }
    text + &format!("{}s", seconds % 60)
}

/// A round-trip time: below a millisecond in whole microseconds.
#[must_use]
pub(crate) fn round_trip(length: Duration) -> String {
    let nanoseconds = length.subsec_nanos();
    let rounded = if length.as_secs() == 0 && (1_000..1_000_000).contains(&nanoseconds) {
        Duration::from_micros(u64::from(nanoseconds / 1_000))
    } else {
        length
    };
    crate::config::units::format_duration(rounded)
}

/// Bytes from the network as text.
#[must_use]
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_start_with_their_largest_unit() {
        let hour = 3_600;
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (hour + 61, "1h1m1s"),
            (25 * hour, "1d1h0m0s"),
            (366 * 24 * hour + 5, "1y1d0h0m5s"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn round_trips_are_cut_to_microseconds_below_a_millisecond() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (999, "999ns"),
            (123_456, "123\u{b5}s"),
            (1_234_567, "1.234567ms"),
            (2_000_000_000, "2s"),
        ] {
            assert_eq!(round_trip(Duration::from_nanos(nanoseconds)), text);
        }
    }

    #[test]
    fn times_have_no_trailing_zeros() {
        let written = |nanoseconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
            serde_json::to_string(&Time(time)).unwrap()
        };
        assert_eq!(written(0), r#""1970-01-01T00:00:00Z""#);
        assert_eq!(written(1_500_000_000), r#""1970-01-01T00:00:01.5Z""#);
        assert_eq!(
            written(1_000_000_001),
            r#""1970-01-01T00:00:01.000000001Z""#
        );
    }
}
