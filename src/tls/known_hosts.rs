//! `verify_cert_and_check_known_urls`: peers whose certificate names a server that the configuration knows.

/// Whether one of a certificate's DNS names is that of one of these hosts. Case does not matter; `*` may stand for
/// the first label and for exactly one (RFC 6125, section 6.4).
#[must_use]
pub fn names_known_host(dns_names: &[String], hosts: &[&str]) -> bool {
    dns_names
        .iter()
        .any(|name| hosts.iter().any(|host| matches(name, host)))
}

fn matches(name: &str, host: &str) -> bool {
    let (mut labels, mut wanted) = (name.split('.'), host.split('.'));
    let (Some(first), Some(wanted_first)) = (labels.next(), wanted.next()) else {
        return false;
    };
    (first == "*" || first.eq_ignore_ascii_case(wanted_first))
        && labels.clone().count() == wanted.clone().count()
        && labels
            .zip(wanted)
            .all(|(label, wanted)| label.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_label_by_label() {
        let known = |name: &str| names_known_host(&[name.to_owned()], &["a.example.com", "b"]);
        for name in ["a.example.com", "A.EXAMPLE.com", "*.example.com", "b", "*"] {
            assert!(known(name), "{name}");
        }
        for name in [
            "",
            "example.com",
            "x.example.com",
            "a.*.com",
            "*.com",
            "*.a.example.com",
        ] {
            assert!(!known(name), "{name}");
        }
        assert!(!names_known_host(&[], &["b"]) && !names_known_host(&["b".to_owned()], &[]));
    }
}
