//! One phone: a SIP call, a packet every 20 ms, and an ear for what comes back.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use trunkline_dsp::g711::Law;
use trunkline_rtp::{HEADER_LEN, RtpPacket, RtpSender};

use crate::marker::{self, FRAME, Mark, Reader};
use crate::meter::{Astray, CallFrames, Meter};
use crate::sip::{Dialog, Message};

pub(crate) const PERIOD: u64 = 20_000_000;
/// Like people, phones fall silent now and then: for the last 0.6 s of every 5 s. Pauses are when a
/// jitter buffer may lower its delay unheard.
const PHRASE: u32 = 250;
const SPOKEN: u32 = 220;
/// T1 of SIP; the wait doubles with each retransmission.
const RETRANSMIT: u64 = 500_000_000;
/// Retransmissions of a request before the phone gives up: 16 s.
const ATTEMPTS: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Idle,
    Calling,
    Up,
    Leaving,
    Done,
    Failed,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
struct Pending {
    due: u64,
    wait: u64,
    attempts: u32,
}

pub(crate) struct Phone {
    pub(crate) state: State,
    pub(crate) socket: UdpSocket,
    /// Bound so that the gateway's reports have somewhere to go; never read.
    _rtcp: UdpSocket,
    rtp_port: u16,
    index: usize,
    dialog: Dialog,
    stream: RtpSender,
    remote: Option<SocketAddr>,
    frame: u32,
    reader: Reader,
    astray: Astray,
    started: u64,
    answered: u64,
    heard: bool,
    pending: Option<Pending>,
    provisional: bool,
    pub(crate) next_send: u64,
    /// Final status of a call that failed; 0: no answer.
    pub(crate) status: u16,
    pub(crate) received: u64,
    pub(crate) retransmitted: u64,
    pub(crate) dropped_by_peer: bool,
}

impl Phone {
    pub(crate) fn open(index: usize, rtp_port: u16, dialog: Dialog) -> io::Result<Self> {
        let ip = dialog.local.ip();
        Ok(Self {
            state: State::Idle,
            socket: UdpSocket::bind(SocketAddr::new(ip, rtp_port))?,
            _rtcp: UdpSocket::bind(SocketAddr::new(ip, rtp_port + 1))?,
            rtp_port,
            index,
            stream: RtpSender::new(0xB000_0000 | index as u32, index as u16, index as u32 * 7919),
            remote: None,
            frame: 0,
            reader: Reader::default(),
            astray: Astray::default(),
            started: 0,
            answered: 0,
            heard: false,
            pending: None,
            provisional: false,
            next_send: u64::MAX,
            status: 0,
            received: 0,
            retransmitted: 0,
            dropped_by_peer: false,
            dialog,
        })
    }

    /// Begins another call on the same ports.
    pub(crate) fn again(&mut self, dialog: Dialog) {
        self.dialog = dialog;
        self.state = State::Idle;
        self.remote = None;
        self.reader = Reader::default();
        self.heard = false;
        self.provisional = false;
        self.status = 0;
    }

    pub(crate) fn call(&mut self, now: u64) -> String {
        self.state = State::Calling;
        self.started = now;
        self.pending = Some(Pending { due: now + RETRANSMIT, wait: RETRANSMIT, attempts: 0 });
        self.dialog.invite(self.rtp_port)
    }

    pub(crate) fn hang_up(&mut self, now: u64) -> Option<String> {
        if self.state != State::Up {
            return None;
        }
        self.state = State::Leaving;
        self.next_send = u64::MAX;
        self.pending = Some(Pending { due: now + RETRANSMIT, wait: RETRANSMIT, attempts: 0 });
        Some(self.dialog.bye())
    }

    pub(crate) fn answered_at(&self) -> u64 {
        self.answered
    }

    /// When [`retransmit`](Self::retransmit) wants to be called.
    pub(crate) fn due(&self) -> u64 {
        self.pending.map_or(u64::MAX, |pending| pending.due)
    }

    pub(crate) fn retransmit(&mut self, now: u64) -> Option<String> {
        let pending = self.pending.as_mut()?;
        pending.attempts += 1;
        pending.wait *= 2;
        pending.due = now + pending.wait;
        if pending.attempts > ATTEMPTS {
            self.pending = None;
            self.state = if self.state == State::Calling { State::Failed } else { State::Done };
            return None;
        }
        match self.state {
            // A provisional answer stops retransmission (RFC 3261 section 17.1.1.2), not the wait.
            State::Calling if self.provisional => None,
            State::Calling => {
                self.retransmitted += 1;
                Some(self.dialog.invite(self.rtp_port))
            }
            State::Leaving => {
                self.retransmitted += 1;
                Some(self.dialog.bye())
            }
            State::Idle | State::Up | State::Done | State::Failed => {
                self.pending = None;
                None
            }
        }
    }

    /// Takes a response; the answer to send, if any.
    pub(crate) fn response(&mut self, message: &Message<'_>, now: u64, meter: &mut Meter) -> Option<String> {
        let status = message.status()?;
        match (message.cseq()?.1, status) {
            ("INVITE", 100..=199) => self.provisional = true,
            ("INVITE", 200..=299) if self.state == State::Calling => {
                let media = message.media()?;
                message.header("To")?.clone_into(&mut self.dialog.to);
                message.contact()?.clone_into(&mut self.dialog.remote_uri);
                self.state = State::Up;
                self.pending = None;
                self.remote = Some(media);
                self.answered = now;
                self.next_send = now;
                meter.set_up.add(now - self.started);
                return Some(self.dialog.ack());
            }
            // Our ACK was lost or late.
            ("INVITE", 200..=299) => return Some(self.dialog.ack()),
            ("INVITE", status) if self.state == State::Calling => {
                self.state = State::Failed;
                self.status = status;
                self.pending = None;
                // The ACK of a refusal carries the To of the refusal.
                message.header("To")?.clone_into(&mut self.dialog.to);
                return Some(self.dialog.ack());
            }
            ("BYE", _) if self.state == State::Leaving => {
                self.state = State::Done;
                self.pending = None;
            }
            _ => {}
        }
        None
    }

    /// Takes a request of the gateway's; every one is answered kindly.
    pub(crate) fn request(&mut self, message: &Message<'_>) -> Option<String> {
        match message.method() {
            "ACK" => None,
            "BYE" => {
                self.dropped_by_peer |= self.state == State::Up;
                self.state = State::Done;
                self.next_send = u64::MAX;
                self.pending = None;
                Some(message.response("200 OK", "", ""))
            }
            "INVITE" => {
                let extra = format!(
                    "Contact: <sip:bench@{}>\r\nContent-Type: application/sdp\r\n",
                    self.dialog.local
                );
                Some(message.response("200 OK", &extra, &self.dialog.sdp(self.rtp_port)))
            }
            _ => Some(message.response("200 OK", "", "")),
        }
    }

    /// Sends the next frame.
    pub(crate) fn send(&mut self, now: u64, meter: &mut Meter, frames: &mut CallFrames, measured: bool) {
        meter.lateness.add(now.saturating_sub(self.next_send));
        self.next_send += PERIOD;
        let Some(remote) = self.remote else { return };
        let number = self.frame as u8;
        self.frame += 1;
        let mut payload = [Law::Mu.silence(); FRAME];
        // Calls begin one after another, so not all phones are silent at the same time.
        let speaks = self.frame % PHRASE < SPOKEN;
        if speaks {
            marker::encode(Mark::of(self.index, number), &mut payload);
        }
        let mut datagram = [0; HEADER_LEN + FRAME];
        if self.stream.write_audio(0, FRAME as u32, &payload, &mut datagram).is_ok() {
            if speaks {
                meter.frame_sent(frames, number, now, measured);
            }
            // What the kernel does not take is lost, and will be counted as lost.
            let _ = self.socket.send_to(&datagram, remote);
        }
    }

    /// Reads everything that came back.
    pub(crate) fn receive(&mut self, now: impl Fn() -> u64, meter: &mut Meter, frames: &mut CallFrames) {
        let mut datagram = [0; 2048];
        let mut pcm = [0; 2048];
        while let Ok((length, _)) = self.socket.recv_from(&mut datagram) {
            let Ok(packet) = RtpPacket::parse(&datagram[..length]) else { continue };
            if packet.header.payload_type != 0 {
                continue;
            }
            self.received += 1;
            let at = now();
            let count = Law::Mu.decode(packet.payload, &mut pcm);
            let (index, astray, mut back) = (self.index, &mut self.astray, false);
            self.reader.feed(&pcm[..count], at, |found| {
                if astray.is_ours(index, found.mark, meter) {
                    back |= meter.frame_back(frames, found.mark.frame, found.at);
                }
            });
            if back && !self.heard {
                self.heard = true;
                meter.first_audio.add(at - self.answered);
            }
        }
    }
}
