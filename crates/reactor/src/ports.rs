//! Even/odd UDP port pairs for RTP and RTCP.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

use trunkline_session::Nanos;

/// Two bound, non-blocking sockets on neighbouring ports.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    pub(crate) port: u16,
}

/// The configured range. A freed pair rests before it is used again, so that late packets of the
/// old call cannot reach a new one.
#[derive(Debug)]
pub(crate) struct Ports {
    host: IpAddr,
    quarantine: Nanos,
    pool: Mutex<Pool>,
}

#[derive(Debug)]
struct Pool {
    free: VecDeque<u16>,
    resting: VecDeque<(Nanos, u16)>,
}

impl Ports {
    pub(crate) fn new(host: IpAddr, low: u16, high: u16, quarantine: Nanos) -> Self {
        let first = low.checked_next_multiple_of(2).unwrap_or(u16::MAX);
        let free = (first..high).step_by(2).collect();
        Self { host, quarantine, pool: Mutex::new(Pool { free, resting: VecDeque::new() }) }
    }

    /// Pairs that could be had now.
    pub(crate) fn available(&self, now: Nanos) -> usize {
        self.with_rested(now, |pool| pool.free.len())
    }

    /// A pair, or `None` when every one is in use, resting or taken by another process.
    ///
    /// # Errors
    /// What the system says when a socket cannot be made for another reason than a taken port.
    pub(crate) fn take(&self, now: Nanos) -> io::Result<Option<Pair>> {
        let tries = self.available(now);
        for _ in 0..tries {
            let Some(port) = self.with_rested(now, |pool| pool.free.pop_front()) else {
                return Ok(None);
            };
            match self.bind(port) {
                Ok(pair) => return Ok(Some(pair)),
                Err(error) => {
                    self.with_rested(now, |pool| pool.free.push_back(port));
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The sockets of a pair were closed.
    pub(crate) fn give_back(&self, port: u16, now: Nanos) {
        self.with_rested(now, |pool| pool.resting.push_back((now + self.quarantine, port)));
    }

    fn with_rested<T>(&self, now: Nanos, work: impl FnOnce(&mut Pool) -> T) -> T {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(until, port)) = pool.resting.front()
            && until <= now
        {
            pool.resting.pop_front();
            pool.free.push_back(port);
        }
        work(&mut pool)
    }

    #[expect(clippy::disallowed_methods, reason = "this crate owns the sockets")]
    fn bind(&self, port: u16) -> io::Result<Pair> {
        let pair = Pair {
            rtp: UdpSocket::bind(SocketAddr::new(self.host, port))?,
            rtcp: UdpSocket::bind(SocketAddr::new(self.host, port + 1))?,
            port,
        };
        pair.rtp.set_nonblocking(true)?;
        pair.rtcp.set_nonblocking(true)?;
        mark(&pair.rtp);
        mark(&pair.rtcp);
        Ok(pair)
    }
}

/// Asks the network for expedited forwarding (DSCP EF, RFC 4594 section 4.1), as far as it listens.
fn mark(socket: &UdpSocket) {
    const EF: u8 = 46 << 2;
    // One of the two applies, by the family of the socket; marking is a wish, not a need.
    let _ = rustix::net::sockopt::set_ip_tos(socket, EF);
    let _ = rustix::net::sockopt::set_ipv6_tclass(socket, u32::from(EF));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_bounded_and_rest() {
        let ports = Ports::new([127, 0, 0, 1].into(), 17_001, 17_006, Nanos::from_secs(2));
        let now = Nanos::from_secs(10);
        assert_eq!(ports.available(now), 2);
        let first = ports.take(now).unwrap().unwrap();
        let second = ports.take(now).unwrap().unwrap();
        assert_eq!([first.port, second.port], [17_002, 17_004]);
        assert_eq!(first.rtcp.local_addr().unwrap().port(), 17_003);
        assert!(ports.take(now).unwrap().is_none());
        drop(first);
        ports.give_back(17_002, now);
        assert!(ports.take(now + Nanos::from_millis(1999)).unwrap().is_none());
        assert_eq!(ports.take(now + Nanos::from_secs(2)).unwrap().unwrap().port, 17_002);
    }

    #[test]
    fn a_port_taken_by_somebody_else_is_passed_over() {
        let ports = Ports::new([127, 0, 0, 1].into(), 17_010, 17_013, Nanos::ZERO);
        let now = Nanos::from_secs(1);
        let held = ports.take(now).unwrap().unwrap();
        let same = Ports::new([127, 0, 0, 1].into(), 17_010, 17_013, Nanos::ZERO);
        assert_eq!(same.take(now).unwrap().unwrap().port, 17_012);
        assert!(same.take(now).unwrap().is_none());
        assert_eq!(held.port, 17_010);
    }
}
