//! Arguments of a control line: split at blanks, numbers read.

/// The arguments of one control line, at most `N` of them.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a, const N: usize> {
    list: [&'a [u8]; N],
    count: usize,
}

impl<'a, const N: usize> Arguments<'a, N> {
    /// Splits `line` at runs of spaces and tabs, as `PUB` and `HPUB` do: a CR inside the line belongs
    /// to the argument it stands in. `None` when there are more than `N` arguments.
    #[must_use]
    pub fn split(line: &'a [u8]) -> Option<Self> {
        Self::split_at(line, |byte| byte == b' ' || byte == b'\t')
    }

    /// Splits `line` at runs of spaces, tabs, CRs and LFs, as `SUB` and `UNSUB` do (oracle: `splitArg`).
    /// `None` when there are more than `N` arguments.
    #[must_use]
    pub fn split_at_any_space(line: &'a [u8]) -> Option<Self> {
        Self::split_at(line, |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
    }

    fn split_at(line: &'a [u8], is_blank: impl Fn(u8) -> bool) -> Option<Self> {
        let mut arguments = Self {
            list: [&[]; N],
            count: 0,
        };
        let mut start = None;
        for (index, &byte) in line.iter().enumerate() {
            match (is_blank(byte), start) {
                (false, None) => start = Some(index),
                (true, Some(first)) => {
                    arguments.push(line.get(first..index)?)?;
                    start = None;
                }
                (true, None) | (false, Some(_)) => {}
            }
        }
        if let Some(first) = start {
            arguments.push(line.get(first..)?)?;
        }
        Some(arguments)
    }

    fn push(&mut self, argument: &'a [u8]) -> Option<()> {
        *self.list.get_mut(self.count)? = argument;
        self.count += 1;
        Some(())
    }

    /// The arguments in order.
    #[must_use]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        self.list.get(..self.count).unwrap_or_default()
    }
}

/// The largest number of digits that a size may have, leading zeros included (oracle: `parseSize`).
const MAX_SIZE_DIGITS: usize = 9;

/// Reads an unsigned decimal number of at most nine digits. Anything else, a sign included, is `None`.
#[must_use]
pub fn parse_size(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > MAX_SIZE_DIGITS {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, &byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + usize::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_runs_of_blanks() {
        let split = Arguments::<3>::split(b" \ta  b\tc ").unwrap();
        assert_eq!(split.as_slice(), [b"a", b"b", b"c"]);
        assert!(Arguments::<2>::split(b"a b c").is_none());
        assert_eq!(
            Arguments::<1>::split(b"a\rb").unwrap().as_slice(),
            [b"a\rb"]
        );
        let split = Arguments::<2>::split_at_any_space(b"\r\na\rb\r").unwrap();
        assert_eq!(split.as_slice(), [b"a", b"b"]);
        assert!(Arguments::<2>::split(b"").unwrap().as_slice().is_empty());
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size(b"0"), Some(0));
        assert_eq!(parse_size(b"0042"), Some(42));
        assert_eq!(parse_size(b"999999999"), Some(999_999_999));
        for bad in ["", "-1", "+1", "1x", "1000000000", "0x10"] {
            assert_eq!(parse_size(bad.as_bytes()), None, "{bad}");
        }
    }
}
