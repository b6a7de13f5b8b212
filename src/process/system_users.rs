//! Users and groups of the machine.

use std::fs;

/// The number of a user: of `/etc/passwd`, or the number itself.
#[must_use]
pub fn user_number(name: &str) -> Option<u32> {
    number(name, "/etc/passwd")
}

/// The number of a group: of `/etc/group`, or the number itself.
#[must_use]
pub fn group_number(name: &str) -> Option<u32> {
    number(name, "/etc/group")
}

/// Both files have the name in the first field of a line and the number in the third.
fn number(name: &str, file: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        fields.nth(1).filter(|_| found)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_understood() {
        for (name, user) in [
            ("root", Some(0)),
            ("4711", Some(4711)),
            ("no such user", None),
        ] {
            assert_eq!(user_number(name), user, "{name}");
        }
        assert_eq!(group_number("root"), Some(0));
        assert_eq!((user_number(""), group_number(":")), (None, None));
    }
}
