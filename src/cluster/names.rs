//! Names and addresses of this server.

use std::net::{IpAddr, SocketAddr};

use ring::rand::{SecureRandom, SystemRandom};

/// Characters and length of made-up cluster names.
const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const NAME_LENGTH: usize = 22;

/// A name for a cluster that was given none.
pub(super) fn made_up() -> String {
    let mut bytes = [0_u8; NAME_LENGTH];
    // Without randomness all servers make up the same name, which is no harm.
    let _ = SystemRandom::new().fill(&mut bytes);
    let letters = bytes
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()));
    letters.map(|letter| char::from(*letter)).collect()
}

/// A number that nobody can predict, for spreading work in time.
pub(super) fn random() -> u64 {
    std::hash::BuildHasher::hash_one(&foldhash::fast::RandomState::default(), 0)
}

/// Where clients can connect to a server that listens on `host` with this port, `host:port`. Listening
/// everywhere means all addresses that others can reach.
#[must_use]
pub fn client_urls(advertise: Option<&(String, u16)>, host: &str, port: u16) -> Vec<String> {
    if let Some((host, port)) = advertise {
        return vec![join(host, *port)];
    }
    let everywhere = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    let ips = if everywhere {
        reachable_addresses()
    } else {
        Vec::new()
    };
    if ips.is_empty() {
        return vec![join(host, port)];
    }
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, port).to_string())
        .collect()
}

/// Addresses of this machine that others may reach.
fn reachable_addresses() -> Vec<IpAddr> {
    own_addresses()
        .into_iter()
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        })
        .collect()
}

/// All addresses of this machine.
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_for_clients() {
        assert_eq!(client_urls(None, "10.0.0.1", 1), ["10.0.0.1:1"]);
        assert_eq!(client_urls(None, "::1", 1), ["[::1]:1"]);
        let advertised = ("example.com".to_owned(), 2);
        assert_eq!(
            client_urls(Some(&advertised), "10.0.0.1", 1),
            ["example.com:2"]
        );
        let everywhere = client_urls(None, "0.0.0.0", 7);
        assert!(
            everywhere.iter().all(|url| url.ends_with(":7")),
            "{everywhere:?}"
        );
        assert!(!everywhere.iter().any(|url| url.starts_with("127.")));
    }

    #[test]
    fn made_up_names_differ() {
        let (one, other) = (made_up(), made_up());
        assert_eq!((one.len(), one == other), (NAME_LENGTH, false));
    }
}
