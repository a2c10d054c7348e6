//! As much SIP as a well-behaved phone on a quiet network needs: not a stack.

use std::net::{IpAddr, SocketAddr};

/// A message that was received, as slices of its text.
pub(crate) struct Message<'a> {
    text: &'a str,
}

impl<'a> Message<'a> {
    /// `None` when it is not UTF-8 text with a start line.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        (text.contains("\r\n")).then_some(Self { text })
    }

    /// Status code of a response; `None` for a request.
    pub(crate) fn status(&self) -> Option<u16> {
        self.text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// Method of a request.
    pub(crate) fn method(&self) -> &'a str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// First value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.lines().find_map(|line| named(line, name))
    }

    /// Number and method of `CSeq`.
    pub(crate) fn cseq(&self) -> Option<(u32, &'a str)> {
        let (number, method) = self.header("CSeq")?.split_once(' ')?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The call that the identifier of [`call_id`] names.
    pub(crate) fn call(&self, run: u32) -> Option<(usize, u32)> {
        let id = self.header("Call-ID")?;
        let mut parts = id.split('@').next()?.split('-');
        if parts.next()? != format!("{run:08x}") {
            return None;
        }
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// The URI inside the Contact.
    pub(crate) fn contact(&self) -> Option<&'a str> {
        let value = self.header("Contact")?;
        match value.split_once('<') {
            Some((_, rest)) => rest.split('>').next(),
            None => value.split(';').next(),
        }
    }

    /// Where the peer wants RTP, from its SDP.
    pub(crate) fn media(&self) -> Option<SocketAddr> {
        let body = self.text.split_once("\r\n\r\n")?.1;
        let line = |prefix: &str| body.lines().find_map(|line| line.strip_prefix(prefix));
        let ip: IpAddr = line("c=IN IP4 ")?.trim().parse().ok()?;
        let port: u16 = line("m=audio ")?.split(' ').next()?.parse().ok()?;
        Some(SocketAddr::new(ip, port))
    }

    /// A response that copies what a response must copy.
    pub(crate) fn response(&self, status: &str, extra: &str, body: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for line in self.lines() {
            let copied = ["Via", "v", "From", "f", "To", "t", "Call-ID", "i", "CSeq"];
            if copied.iter().any(|name| named(line, name).is_some()) {
                text.push_str(line);
                text.push_str("\r\n");
            }
        }
        text.push_str(extra);
        text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.split("\r\n").skip(1).take_while(|line| !line.is_empty())
    }
}

fn named<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    let compact = match name {
        "Call-ID" => "i",
        "Contact" => "m",
        _ => name,
    };
    (found.trim().eq_ignore_ascii_case(name) || found.trim() == compact).then(|| value.trim())
}

pub(crate) fn call_id(run: u32, call: usize, generation: u32) -> String {
    format!("{run:08x}-{call}-{generation}@bench")
}

/// One call's identity in messages.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) local: SocketAddr,
    pub(crate) target_uri: String,
    pub(crate) call_id: String,
    /// `To` of the answer, with its tag.
    pub(crate) to: String,
    /// Contact of the answer.
    pub(crate) remote_uri: String,
    pub(crate) call: usize,
}

impl Dialog {
    pub(crate) fn new(local: SocketAddr, target_uri: &str, run: u32, call: usize, generation: u32) -> Self {
        Self {
            local,
            target_uri: target_uri.to_owned(),
            call_id: call_id(run, call, generation),
            to: format!("<{target_uri}>"),
            remote_uri: target_uri.to_owned(),
            call,
        }
    }

    pub(crate) fn sdp(&self, rtp_port: u16) -> String {
        let ip = self.local.ip();
        format!(
            "v=0\r\no=bench {0} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {rtp_port} RTP/AVP 0 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n",
            self.call
        )
    }

    pub(crate) fn invite(&self, rtp_port: u16) -> String {
        let body = self.sdp(rtp_port);
        let extra = format!("Contact: <sip:bench@{}>\r\nContent-Type: application/sdp\r\n", self.local);
        self.request("INVITE", 1, &self.target_uri, &extra, &body)
    }

    pub(crate) fn ack(&self) -> String {
        self.request("ACK", 1, &self.remote_uri, "", "")
    }

    pub(crate) fn bye(&self) -> String {
        self.request("BYE", 2, &self.remote_uri, "", "")
    }

    fn request(&self, method: &str, cseq: u32, uri: &str, extra: &str, body: &str) -> String {
        let Self { local, call_id, to, call, .. } = self;
        // The ACK of a 2xx is a transaction of its own.
        let branch = format!("z9hG4bK-{}-{method}", call_id.replace('@', "-"));
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: \"Bench\" <sip:bench-{call}@{ip}>;tag=b{call}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n{extra}Content-Length: {length}\r\n\r\n{body}",
            ip = local.ip(),
            length = body.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialog, Message};

    fn dialog() -> Dialog {
        Dialog::new("127.0.0.1:5070".parse().unwrap(), "sip:1000@127.0.0.1:5060", 0xBE, 17, 3)
    }

    #[test]
    fn an_invite_can_be_read_back() {
        let text = dialog().invite(40_034);
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!((message.method(), message.status()), ("INVITE", None));
        assert_eq!(message.cseq(), Some((1, "INVITE")));
        assert_eq!(message.call(0xBE), Some((17, 3)));
        assert_eq!(message.call(0xBF), None);
        assert_eq!(message.contact(), Some("sip:bench@127.0.0.1:5070"));
        assert_eq!(message.media(), Some("127.0.0.1:40034".parse().unwrap()));
    }

    #[test]
    fn a_response_copies_the_transaction() {
        let bye = dialog().bye();
        let request = Message::parse(bye.as_bytes()).unwrap();
        let text = request.response("200 OK", "", "");
        let response = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(response.status(), Some(200));
        assert_eq!(response.header("Via"), request.header("Via"));
        assert_eq!(response.cseq(), Some((2, "BYE")));
    }
}
