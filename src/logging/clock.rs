//! Wall-clock texts, converted to civil time once per second.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// Reads the wall clock and knows how the zone writes it.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    zone: TimeZone,
    /// Second since the epoch that `civil` and `offset` belong to.
    second: i64,
    civil: DateTime,
    offset: Offset,
    microsecond: u32,
}

impl Clock {
    /// A clock of the local zone, or of UTC.
    pub(super) fn new(utc: bool) -> Self {
        Self {
            zone: if utc {
                TimeZone::UTC
            } else {
                TimeZone::system()
            },
            second: i64::MIN,
            civil: DateTime::ZERO,
            offset: Offset::UTC,
            microsecond: 0,
        }
    }

    /// Takes the present time for the texts that follow.
    pub(super) fn tick(&mut self) {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let second = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
        self.microsecond = since_epoch.subsec_micros();
        if second != self.second {
            let instant = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
            self.offset = self.zone.to_offset(instant);
            self.civil = self.offset.to_datetime(instant);
            self.second = second;
        }
    }

    /// `2026/11/22 17:18:23.159490`.
    pub(super) fn slashes(&self, out: &mut Vec<u8>) {
        let (date, time) = (self.civil.date(), self.civil.time());
        let _infallible = write!(
            out,
            "{:04}/{:02}/{:02} {:02}:{:02}:{:02}.{:06}",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            self.microsecond
        );
    }

    /// `2026-11-22T17:18:23Z`, with the offset from UTC where there is one; microseconds if asked for.
    pub(super) fn rfc3339(&self, out: &mut Vec<u8>, microseconds: bool) {
        let (date, time) = (self.civil.date(), self.civil.time());
        let _infallible = write!(
            out,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
        );
        if microseconds {
            let _infallible = write!(out, ".{:06}", self.microsecond);
        }
        let minutes = self.offset.seconds() / 60;
        if minutes == 0 {
            out.push(b'Z');
        } else {
            let sign = if minutes < 0 { '-' } else { '+' };
            let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
            let _infallible = write!(out, "{sign}{hours:02}:{minutes:02}");
        }
    }

    /// `Nov  2 17:32:50`, the stamp of a local syslog line (RFC 3164).
    pub(super) fn bsd(&self, out: &mut Vec<u8>) {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let (date, time) = (self.civil.date(), self.civil.time());
        let month = usize::try_from(date.month() - 1)
            .ok()
            .and_then(|month| MONTHS.get(month));
        let _infallible = write!(
            out,
            "{} {:>2} {:02}:{:02}:{:02}",
            month.unwrap_or(&"Jan"),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
    }
}

/// The part of a backup file's name that tells when it was made, in local time and to the nanosecond:
/// `2026.11.22.17.18.23.123456789`.
pub(super) fn backup_stamp() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let second = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let instant = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
    let civil = TimeZone::system().to_datetime(instant);
    let (date, time) = (civil.date(), civil.time());
    format!(
        "{:04}.{:02}.{:02}.{:02}.{:02}.{:02}.{:09}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        now.subsec_nanos()
    )
}

/// Whether a file name's ending is a [`backup_stamp`]: a date that exists and at most nine digits of a second.
pub(super) fn is_backup_stamp(text: &str) -> bool {
    const WIDTHS: [usize; 6] = [4, 2, 2, 2, 2, 2];
    let parts: Vec<&str> = text.split('.').collect();
    let Some((&fraction, whole)) = parts.split_last() else {
        return false;
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != WIDTHS.len() || !digits(fraction) || fraction.len() > 9 {
        return false;
    }
    let mut numbers = [0_i16; WIDTHS.len()];
    for ((part, width), number) in whole.iter().zip(WIDTHS).zip(&mut numbers) {
        match part.parse() {
            Ok(parsed) if part.len() == width && digits(part) => *number = parsed,
            _ => return false,
        }
    }
    let [year, small @ ..] = numbers;
    let [month, day, hour, minute, second] = small.map(|number| i8::try_from(number).unwrap_or(-1));
    DateTime::new(year, month, day, hour, minute, second, 0).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, offset: Offset) -> Clock {
        let instant = Timestamp::from_second(second).unwrap();
        Clock {
            zone: TimeZone::fixed(offset),
            second,
            civil: offset.to_datetime(instant),
            offset,
            microsecond: 42,
        }
    }

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_three_forms() {
        let clock = at(1_793_629_103, Offset::constant(-5));
        assert_eq!(text(|out| clock.slashes(out)), "2026/11/02 09:18:23.000042");
        assert_eq!(
            text(|out| clock.rfc3339(out, true)),
            "2026-11-02T09:18:23.000042-05:00"
        );
        assert_eq!(text(|out| clock.bsd(out)), "Nov  2 09:18:23");
        let clock = at(1_793_629_103, Offset::UTC);
        assert_eq!(
            text(|out| clock.rfc3339(out, false)),
            "2026-11-02T14:18:23Z"
        );
        let clock = at(1793629103, Offset::from_seconds(5 * 3600 + 1800).unwrap());
        assert_eq!(
            text(|out| clock.rfc3339(out, false)),
            "2026-11-02T19:48:23+05:30"
        );
    }

    #[test]
    fn a_tick_reads_the_present_second() {
        let mut clock = Clock::new(true);
        clock.tick();
        let year = text(|out| clock.slashes(out))[..4].parse::<i32>().unwrap();
        assert!(year >= 2026);
    }

    #[test]
    fn backup_stamps_are_recognised() {
        assert!(is_backup_stamp(&backup_stamp()));
        assert!(is_backup_stamp("2026.02.28.23.59.59.1"));
        for other in [
            "",
            "1",
            "gz",
            "2026.02.30.23.59.59.000000001",
            "2026.2.28.23.59.59.000000001",
            "2026.02.28.23.59.60.000000001",
            "2026.02.28.23.59.59.0000000001",
            "2026.02.28.23.59.59.",
            "2026.02.28.23.59.59.1.gz",
            "+026.02.28.23.59.59.1",
        ] {
            assert!(!is_backup_stamp(other), "{other}");
        }
    }
}
