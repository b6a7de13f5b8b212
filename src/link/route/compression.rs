//! Whether the bytes of a link are compressed, and how: what two servers agree upon.
//!
//! Each tells in its INFO what it wants. The one that dialed answers with what it has chosen and compresses
//! from then on; the other one does so too and tells about itself again. Then both go on as without
//! compression. Words and rules are nats-server's (oracle 2.15.1).

use std::time::Duration;

use crate::conn::compression::Level;

/// How a server wants links to be compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompressionMode {
    /// Say that this server knows no compression.
    NotSupported,
    /// Never.
    Off,
    /// When the other side wants to.
    Accept,
    /// By the round-trip time: up to the first threshold not at all, up to the second fast, up to the third
    /// better, then best. A threshold of zero leaves its step out.
    Auto(Vec<Duration>),
    /// Always like this.
    Always(Level),
}

/// What was agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    Plain,
    /// At this level, or by the round-trip time where this server wants that.
    Compressed(Option<Level>),
}

impl CompressionMode {
    /// The word for it in INFO.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotSupported => "",
            Self::Off => "off",
            Self::Accept => "accept",
            Self::Auto(_) => "s2_auto",
            Self::Always(level) => level_word(*level),
        }
    }

    /// What is agreed upon with a server that said `theirs`.
    pub(super) fn agree(&self, theirs: &str) -> Result<Agreement, String> {
        let asked = match theirs {
            "" | "not supported" | "off" => return Ok(Agreement::Plain),
            "accept" => None,
            // A server that leaves it to this one says what it takes.
            "s2_auto" | "s2_fast" => Some(Level::Fast),
            "s2_uncompressed" => Some(Level::Uncompressed),
            "s2_better" => Some(Level::Better),
            "s2_best" => Some(Level::Best),
            _ => return Err(format!("unsupported route compression mode {theirs:?}")),
        };
        Ok(match (self, asked) {
            (Self::NotSupported | Self::Off, _) | (Self::Accept, None) => Agreement::Plain,
            (Self::Accept, Some(level)) => Agreement::Compressed(Some(level)),
            (Self::Auto(_), _) => Agreement::Compressed(None),
            (Self::Always(level), _) => Agreement::Compressed(Some(*level)),
        })
    }

    /// The level for a round-trip time, where that decides.
    pub(super) fn level_for(&self, round_trip: Duration) -> Option<Level> {
        let Self::Auto(thresholds) = self else {
            return None;
        };
        let found = thresholds.iter().position(|most| round_trip <= *most);
        let last = if thresholds.len() >= 3 {
            3
        } else {
            thresholds.len().saturating_sub(1)
        };
        Some(match found.unwrap_or(last) {
            0 => Level::Uncompressed,
            1 => Level::Fast,
            2 => Level::Better,
            _ => Level::Best,
        })
    }
}

/// The word for a level in INFO and in monitoring.
#[must_use]
pub fn level_word(level: Level) -> &'static str {
    match level {
        Level::Uncompressed => "s2_uncompressed",
        Level::Fast => "s2_fast",
        Level::Better => "s2_better",
        Level::Best => "s2_best",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_agree_as_nats_servers_do() {
        let auto = CompressionMode::Auto(vec![Duration::from_millis(10)]);
        let better = CompressionMode::Always(Level::Better);
        let with = |level| Ok(Agreement::Compressed(Some(level)));
        assert_eq!(
            CompressionMode::Accept.agree("accept"),
            Ok(Agreement::Plain)
        );
        assert_eq!(CompressionMode::Accept.agree("s2_best"), with(Level::Best));
        assert_eq!(CompressionMode::Accept.agree("s2_auto"), with(Level::Fast));
        assert_eq!(better.agree("accept"), with(Level::Better));
        assert_eq!(better.agree("s2_best"), with(Level::Better));
        assert_eq!(auto.agree("accept"), Ok(Agreement::Compressed(None)));
        for theirs in ["", "off", "not supported"] {
            assert_eq!(better.agree(theirs), Ok(Agreement::Plain));
        }
        assert_eq!(CompressionMode::Off.agree("s2_best"), Ok(Agreement::Plain));
        assert!(better.agree("zip").is_err());
    }

    #[test]
    fn the_round_trip_time_decides() {
        let steps = |list: &[u64]| {
            CompressionMode::Auto(list.iter().map(|ms| Duration::from_millis(*ms)).collect())
        };
        let at = |list: &[u64], ms| steps(list).level_for(Duration::from_millis(ms)).unwrap();
        let all = [10, 50, 100];
        assert_eq!(at(&all, 10), Level::Uncompressed);
        assert_eq!(at(&all, 11), Level::Fast);
        assert_eq!(at(&all, 100), Level::Better);
        assert_eq!(at(&all, 101), Level::Best);
        assert_eq!(at(&[0, 50], 1), Level::Fast);
        assert_eq!(at(&[0, 50], 500), Level::Fast);
        assert_eq!(CompressionMode::Accept.level_for(Duration::ZERO), None);
    }
}
