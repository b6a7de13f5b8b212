//! How many connections each address has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// The bits of an IPv6 address that one network has at least; whoever has that has all addresses in it.
const IPV6_NETWORK: u128 = u128::MAX << 64;

/// Counts connections by address, those over IPv6 by network of 64 bits.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    /// One more connection from there; how many there are now, it included.
    pub(super) fn enter(&self, address: IpAddr) -> usize {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network(address)).or_default();
        *count += 1;
        *count
    }

    /// One connection fewer from there.
    pub(super) fn leave(&self, address: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry(network(address)) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// An IPv4 address as it is, one of IPv6 without the 64 bits that its network may choose freely.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_in_and_out_and_networks_as_one() {
        let addresses = Addresses::default();
        let [first, second, other] = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"]
            .map(|text| text.parse().unwrap());
        let [v4, next] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        for (address, count) in [
            (first, 1),
            (second, 2),
            (other, 1),
            (v4, 1),
            (next, 1),
            (v4, 2),
        ] {
            assert_eq!(addresses.enter(address), count, "{address}");
        }
        addresses.leave(first);
        assert_eq!(addresses.enter(first), 2);
        for address in [first, second, other, v4, next, v4, v4] {
            addresses.leave(address);
        }
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
