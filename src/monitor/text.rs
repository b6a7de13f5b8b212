//! How numbers and times stand in monitoring: as nats-server writes them.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

/// A time in UTC as RFC 3339 has it, to the nanosecond, without trailing zeros.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(crate) SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = *b"0000-00-00T00:00:00.000000000Z";
        let text = self.write(&mut buffer);
        serializer.serialize_str(std::str::from_utf8(text).unwrap_or_default())
    }
}

impl Time {
    /// Fills in the digits. Pages hold thousands of times, so this does nothing but what UTC needs.
    fn write<'a>(&self, buffer: &'a mut [u8; 30]) -> &'a [u8] {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let (year, month, day) = date(since.as_secs() / 86_400);
        let second = since.as_secs() % 86_400;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let fraction = u64::from(since.subsec_nanos());
        let fields = [
            (3, 4, year),
            (6, 2, month),
            (9, 2, day),
            (12, 2, hour),
            (15, 2, minute),
            (18, 2, second),
            (28, 9, fraction),
        ];
        for (last, width, value) in fields {
            put(buffer, last, width, value);
        }
        let mut end = 29;
        if fraction == 0 {
            end = 19;
        }
        while end > 19 && buffer.get(end - 1) == Some(&b'0') {
            end -= 1;
        }
        if let Some(place) = buffer.get_mut(end) {
            *place = b'Z';
        }
        buffer.get(..=end).unwrap_or_default()
    }
}

/// Writes `width` digits of which the last stands at `last`.
fn put(buffer: &mut [u8], last: usize, width: usize, mut value: u64) {
    for place in buffer.iter_mut().take(last + 1).rev().take(width) {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms", `civil_from_days`): years begin in March, so that the odd day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
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
    let (mut text, mut digits) = (String::with_capacity(16), itoa::Buffer::new());
    for (total, part, unit) in units {
        if total > 0 {
            text.push_str(digits.format(part));
            text.push(unit);
        }
    }
    text.push_str(digits.format(seconds % 60));
    text.push('s');
    text
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
    fn times_are_those_of_the_calendar() {
        // Every day until 2100, at odd times, and leap years on the way.
        for day in 0..47_500_u64 {
            let length = Duration::new(
                day * 86_400 + day * 7 % 86_400,
                u32::try_from(day * 7_919_000 % 1_000_000_000).unwrap(),
            );
            let time = SystemTime::UNIX_EPOCH + length;
            let expected = jiff::Timestamp::try_from(time).unwrap().to_string();
            let mut buffer = *b"0000-00-00T00:00:00.000000000Z";
            let text = Time(time).write(&mut buffer);
            assert_eq!(std::str::from_utf8(text).unwrap(), expected);
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
