//! The order in which addresses are tried: RFC 6724, section 6, as getaddrinfo has it.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;

/// Prefix, its length, precedence and label: the table of RFC 6724, section 2.1.
const POLICY: [(Ipv6Addr, u32, u8, u8); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 50, 0),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 35, 4),
    (Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    (Ipv6Addr::UNSPECIFIED, 0, 40, 1),
];

/// Sorts addresses, the best first; those that are equal stay as the name server has them. Then the
/// families take turns, so that one without a route does not hold up the other (RFC 8305).
pub(super) fn sort(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.len() > 1 {
        let networks = match addresses.iter().filter(|address| address.is_ipv4()).count() {
            0 | 1 => Vec::new(), // they are not compared
            _ => own_networks(),
        };
        addresses.sort_by_cached_key(|address| rank(address.ip(), source(*address), &networks));
    }
    let is_first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let is_of_first = |address: &SocketAddr| address.is_ipv6() == is_first_v6;
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_of_first);
    let longest = first.len().max(second.len());
    let turns = (0..longest).flat_map(|at| [first.get(at), second.get(at)]);
    turns.flatten().copied().collect()
}

/// The address from which a connection would be made, if there is a route. Nothing is sent.
fn source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => [0, 0, 0, 0].into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// This machine's IPv4 addresses with the masks of their networks.
fn own_networks() -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let interfaces = getifaddrs().into_iter().flatten();
    let networks = interfaces.filter_map(|interface| {
        let address = interface.address?.as_sockaddr_in()?.ip();
        Some((address, interface.netmask?.as_sockaddr_in()?.ip()))
    });
    networks.collect()
}

/// The rules that tell addresses apart here, the most important first; less is better. There are no
/// home addresses, and the system does not report deprecated sources.
fn rank(to: IpAddr, from: Option<IpAddr>, networks: &[(Ipv4Addr, Ipv4Addr)]) -> impl Ord + use<> {
    let (precedence, label) = policy(to);
    let scope_of_source = from.map(scope);
    let prefix = match (to, from) {
        (IpAddr::V6(to), Some(IpAddr::V6(from))) => (to.to_bits() ^ from.to_bits()).leading_zeros(),
        // Beyond one's own network it means nothing, and would undo the work of name servers that
        // balance the load.
        (IpAddr::V4(to), Some(IpAddr::V4(from))) => {
            let differing = to.to_bits() ^ from.to_bits();
            let is_own = |(own, mask): &(Ipv4Addr, Ipv4Addr)| {
                *own == from && differing & mask.to_bits() == 0
            };
            match networks.iter().any(is_own) {
                true => differing.leading_zeros(),
                false => 0,
            }
        }
        _ => 0,
    };
    (
        from.is_none(),                                  // rule 1
        scope_of_source != Some(scope(to)),              // rule 2
        from.is_none_or(|from| policy(from).1 != label), // rule 5
        Reverse(precedence),                             // rule 6
        scope(to),                                       // rule 8
        Reverse(prefix.min(64)),                         // rule 9
    )
}

/// Precedence and label.
fn policy(address: IpAddr) -> (u8, u8) {
    let bits = mapped(address).to_bits();
    let is_in = |prefix: &Ipv6Addr, length: u32| {
        let differing = bits ^ prefix.to_bits();
        differing.leading_zeros() >= length
    };
    let mut entries = POLICY.iter();
    let found = entries.find(|(prefix, length, ..)| is_in(prefix, *length));
    found.map_or((40, 1), |(_, _, precedence, label)| (*precedence, *label))
}

/// The scope by the numbers of multicast: 2 is a link, 5 a site, 14 the world.
fn scope(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => 2,
        IpAddr::V6(v6) if v6.is_multicast() => v6.octets()[1] & 0xf,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() => 2,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfec0 => 5,
        _ => 14,
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_are_ranked_as_the_rfc_has_it() {
        // The examples of RFC 6724, section 10.2, with the source that would be chosen: the first is
        // better than the second.
        for (better, worse) in [
            (
                ("2001:db8:1::1", "2001:db8:1::2"),
                ("198.51.100.121", "169.254.13.78"),
            ),
            (
                ("198.51.100.121", "198.51.100.117"),
                ("2001:db8:1::1", "fe80::1"),
            ),
            (("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4")),
            (("fe80::1", "fe80::2"), ("2001:db8:1::1", "2001:db8:1::2")),
            (
                ("2001:db8:1::1", "2001:db8:1::2"),
                ("2002:c633:6401::1", "2002:c633:6401::2"),
            ),
            (
                ("2002:c633:6401::1", "2002:c633:6401::2"),
                ("2001:db8:1::1", "2002:c633:6401::2"),
            ),
            (("127.0.0.1", "127.0.0.1"), ("10.1.2.3", "10.1.2.4")),
            (("::1", "::1"), ("127.0.0.1", "127.0.0.1")),
        ] {
            let rank = |(to, from)| rank(ip(to), Some(ip(from)), &[]);
            assert!(rank(better) < rank(worse), "{better:?} and {worse:?}");
        }
        let here = Some(ip("10.1.2.4"));
        assert!(rank(ip("10.1.2.3"), here, &[]) < rank(ip("2001:db8::1"), None, &[]));
    }

    #[test]
    fn of_ipv4_the_longest_prefix_counts_in_ones_own_network_alone() {
        let networks = [([10, 1, 2, 4].into(), [255, 255, 255, 0].into())];
        let rank = |to| rank(ip(to), Some(ip("10.1.2.4")), &networks);
        assert!(rank("10.1.2.5") < rank("10.1.2.8"));
        assert!(rank("10.1.2.8") < rank("10.1.3.4"));
        assert!(rank("10.1.3.4") == rank("10.9.0.1"));
    }

    #[test]
    fn families_take_turns_after_the_best_address() {
        let address = |text: &str| SocketAddr::new(ip(text), 1);
        let mixed = ["127.0.0.2", "127.0.0.1", "::1", "127.0.0.3"].map(address);
        let expected = ["::1", "127.0.0.1", "127.0.0.2", "127.0.0.3"].map(address);
        // Without IPv6, as in some containers, ::1 has no source.
        let has_v6 = source(address("::1")).is_some();
        let without = ["127.0.0.1", "::1", "127.0.0.2", "127.0.0.3"].map(address);
        assert_eq!(sort(mixed.into()), if has_v6 { expected } else { without });
    }
}
