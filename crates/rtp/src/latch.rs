//! Which source address media is accepted from.

use std::net::{IpAddr, SocketAddr};

/// What became of a packet's source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatchOutcome {
    /// The latched peer.
    Accepted,
    /// The peer's address is latched now; send there from here on.
    Latched,
    /// Some other source: drop the packet.
    Rejected,
}

impl LatchOutcome {
    /// Whether the packet may be used.
    pub fn is_accepted(self) -> bool {
        !matches!(self, Self::Rejected)
    }
}

/// Symmetric RTP with one latch, against RTP injection and bleed.
///
/// Until a packet came, only the signalled IP address is accepted, from any port, because a NAT may
/// have rewritten the port. The first such packet latches its exact source; everything else is
/// rejected and counted until signalling names a new peer with [`signal`](Self::signal). The one
/// exception: when a stray packet latched another port of the peer (a carrier's media gateway has
/// thousands, and the tail of an earlier call may still arrive), the exact address that was
/// signalled takes the latch over, once.
///
/// A peer behind a NAT that signals a private address is reached only if signalling corrects the
/// address first (the `received` address of the SIP request): that is the trunk's policy, not ours.
#[derive(Clone, Debug)]
pub struct SourceLatch {
    signalled: SocketAddr,
    latched: Option<SocketAddr>,
    rejected: u64,
}

impl SourceLatch {
    /// Not latched yet; `signalled` is the address of the peer's SDP.
    pub fn new(signalled: SocketAddr) -> Self {
        Self { signalled: unmapped(signalled), latched: None, rejected: 0 }
    }

    /// A (re-)INVITE named the peer's address. The same address keeps the latch; another one opens it
    /// once more. Returns whether the latch was opened.
    pub fn signal(&mut self, signalled: SocketAddr) -> bool {
        let signalled = unmapped(signalled);
        let moved = signalled != self.signalled;
        if moved {
            self.signalled = signalled;
            self.latched = None;
        }
        moved
    }

    /// Judges the source of a packet that already proved to be well-formed RTP.
    pub fn receive(&mut self, source: SocketAddr) -> LatchOutcome {
        let source = unmapped(source);
        match self.latched {
            Some(latched) if latched == source => LatchOutcome::Accepted,
            None if source.ip() == self.signalled.ip() => self.latch(source),
            Some(_) if source == self.signalled => self.latch(source),
            _ => {
                self.rejected = self.rejected.saturating_add(1);
                LatchOutcome::Rejected
            }
        }
    }

    fn latch(&mut self, source: SocketAddr) -> LatchOutcome {
        self.latched = Some(source);
        LatchOutcome::Latched
    }

    /// Where to send: the latched source, before that the signalled address.
    pub fn destination(&self) -> SocketAddr {
        self.latched.unwrap_or(self.signalled)
    }

    /// The latched source, if a packet came.
    pub fn latched(&self) -> Option<SocketAddr> {
        self.latched
    }

    /// Packets rejected so far.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

/// An IPv4 peer seen through a dual-stack socket is the IPv4 peer; flow label and scope do not count.
fn unmapped(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::{LatchOutcome, SourceLatch};

    fn at(text: &str) -> std::net::SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn latches_the_signalled_host_on_any_port_once() {
        let mut latch = SourceLatch::new(at("192.0.2.1:4000"));
        assert_eq!(latch.destination(), at("192.0.2.1:4000"));
        assert_eq!(latch.receive(at("192.0.2.9:4000")), LatchOutcome::Rejected);
        assert_eq!(latch.receive(at("192.0.2.1:61000")), LatchOutcome::Latched);
        assert_eq!(latch.receive(at("192.0.2.1:61000")), LatchOutcome::Accepted);
        assert_eq!(latch.receive(at("192.0.2.1:61002")), LatchOutcome::Rejected);
        assert_eq!(latch.destination(), at("192.0.2.1:61000"));
        assert_eq!(latch.rejected(), 2);
    }

    #[test]
    fn the_signalled_address_takes_over_from_a_stray_port_once() {
        let mut latch = SourceLatch::new(at("192.0.2.1:4000"));
        latch.receive(at("192.0.2.1:9998"));
        assert_eq!(latch.receive(at("192.0.2.1:4000")), LatchOutcome::Latched);
        assert_eq!(latch.receive(at("192.0.2.1:9998")), LatchOutcome::Rejected);
        assert_eq!(latch.receive(at("192.0.2.1:4000")), LatchOutcome::Accepted);
    }

    #[test]
    fn only_a_new_signalled_address_opens_the_latch() {
        let mut latch = SourceLatch::new(at("192.0.2.1:4000"));
        latch.receive(at("192.0.2.1:61000"));
        assert!(!latch.signal(at("192.0.2.1:4000")));
        assert_eq!(latch.latched(), Some(at("192.0.2.1:61000")));
        assert!(latch.signal(at("198.51.100.7:5000")));
        assert_eq!(latch.receive(at("192.0.2.1:61000")), LatchOutcome::Rejected);
        assert!(latch.receive(at("198.51.100.7:5002")).is_accepted());
    }

    #[test]
    fn a_mapped_ipv4_source_is_the_ipv4_peer() {
        let mut latch = SourceLatch::new(at("192.0.2.1:4000"));
        assert_eq!(latch.receive(at("[::ffff:192.0.2.1]:4000")), LatchOutcome::Latched);
        assert_eq!(latch.receive(at("192.0.2.1:4000")), LatchOutcome::Accepted);
    }
}
