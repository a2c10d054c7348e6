//! RTCP of the call: reports about every five seconds, and what the peer's reports tell.

use std::net::SocketAddr;

use trunkline_rtp::rtcp::{Compound, CompoundBuilder, NtpTime, RtcpPacket, RtcpSchedule, SenderInfo};
use trunkline_rtp::{Nanos, ReceiverStats, RtpError, RtpSender};

use crate::types::Parameters;

/// Bytes a second of one G.711 stream with headers; scales the report interval.
const BANDWIDTH: u32 = 10_000;
const CNAME: &str = "media@trunkline.invalid";

#[derive(Debug)]
pub(crate) struct Reports {
    schedule: RtcpSchedule,
    /// Where the peer's reports come from, once one came.
    source: Option<SocketAddr>,
    round_trip: Nanos,
    buffer: [u8; 256],
}

impl Reports {
    pub(crate) fn new(now: Nanos, seed: u64) -> Self {
        Self {
            schedule: RtcpSchedule::new(now, BANDWIDTH, seed),
            source: None,
            round_trip: Nanos::ZERO,
            buffer: [0; 256],
        }
    }

    pub(crate) fn round_trip(&self) -> Nanos {
        self.round_trip
    }

    pub(crate) fn moved(&mut self) {
        self.source = None;
    }

    /// Takes a datagram from the RTCP port; `false` when it is not a report of the peer.
    pub(crate) fn receive(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        datagram: &[u8],
        peer: SocketAddr,
        statistics: &mut ReceiverStats,
    ) -> bool {
        // Reports carry numbers only, but those of a stranger would be lies about the call.
        if source.ip() != peer.ip() || self.source.is_some_and(|known| known != source) {
            return false;
        }
        let Ok(compound) = Compound::parse(datagram) else {
            return false;
        };
        self.source = Some(source);
        self.schedule.observe(datagram.len());
        let arrival = NtpTime::from_unix(now);
        for packet in compound {
            let blocks = match packet {
                RtcpPacket::SenderReport { info, blocks, .. } => {
                    statistics.sender_report(now, info.ntp);
                    blocks
                }
                RtcpPacket::ReceiverReport { blocks, .. } => blocks,
                _ => continue,
            };
            if let Some(round_trip) = blocks.filter_map(|block| block.round_trip(arrival)).last() {
                self.round_trip = round_trip;
            }
        }
        true
    }

    /// The report to send now, if one is due.
    pub(crate) fn poll(
        &mut self,
        now: Nanos,
        parameters: &Parameters,
        sender: &RtpSender,
        statistics: &mut ReceiverStats,
    ) -> Option<(SocketAddr, &[u8])> {
        if !self.schedule.poll(now) {
            return None;
        }
        let length = self.build(now, sender, statistics, false).ok()?;
        self.schedule.observe(length);
        Some((self.destination(parameters), &self.buffer[..length]))
    }

    /// The last report, with a BYE.
    pub(crate) fn goodbye(
        &mut self,
        now: Nanos,
        parameters: &Parameters,
        sender: &RtpSender,
        statistics: &mut ReceiverStats,
    ) -> Option<(SocketAddr, &[u8])> {
        let length = self.build(now, sender, statistics, true).ok()?;
        Some((self.destination(parameters), &self.buffer[..length]))
    }

    fn destination(&self, parameters: &Parameters) -> SocketAddr {
        self.source.unwrap_or(parameters.remote_rtcp)
    }

    fn build(
        &mut self,
        now: Nanos,
        sender: &RtpSender,
        statistics: &mut ReceiverStats,
        goodbye: bool,
    ) -> Result<usize, RtpError> {
        let block = statistics.report_block(now);
        let blocks = block.as_slice();
        let mut compound = CompoundBuilder::new(&mut self.buffer);
        if sender.packets() > 0 {
            let info = SenderInfo {
                ntp: NtpTime::from_unix(now),
                rtp_timestamp: sender.timestamp(),
                packets: sender.packets(),
                octets: sender.octets(),
            };
            compound.sender_report(sender.ssrc(), &info, blocks)?;
        } else {
            compound.receiver_report(sender.ssrc(), blocks)?;
        }
        compound.cname(sender.ssrc(), CNAME)?;
        if goodbye {
            compound.goodbye(sender.ssrc(), "")?;
        }
        Ok(compound.finish())
    }
}
