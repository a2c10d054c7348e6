//! The client's opening handshake, RFC 6455 section 4.1.

use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};

use crate::base64;

/// Longest response head that is read; a server with a longer one is refused.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What to ask the server for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Value of `Host`: name or address, with the port unless it is the scheme's own.
    pub host: String,
    /// Path and query; `/` when empty.
    pub target: String,
    /// Further header fields, as they are; `Authorization` belongs here.
    pub headers: Vec<(String, String)>,
    /// Subprotocols in order of preference.
    pub subprotocols: Vec<String>,
}

/// A request that cannot be written as HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Control characters or other bytes that would end or split the field.
    #[error("{0} contains characters that HTTP does not allow")]
    BadField(String),
    /// A header that the handshake sets by itself.
    #[error("header {0} belongs to the handshake and cannot be set")]
    Reserved(String),
}

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server answered with another status than 101.
    #[error("the server refused the WebSocket handshake with status {status}{}", .reason.as_deref().map(|text| format!(" {text}")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// Reason phrase, when there was one.
        reason: Option<String>,
        /// Value of `Retry-After`, as it came.
        retry_after: Option<String>,
    },
    /// The head is longer than [`MAX_HEAD_BYTES`].
    #[error("the handshake response is longer than {MAX_HEAD_BYTES} bytes")]
    TooLong,
    /// Not an HTTP/1.1 response.
    #[error("the handshake response is not HTTP/1.1")]
    NotHttp,
    /// `Upgrade`, `Connection` or `Sec-WebSocket-Accept` is missing or wrong.
    #[error("the handshake response has a missing or wrong {0} header")]
    BadHeader(&'static str),
    /// A subprotocol or an extension that was not asked for.
    #[error("the server chose {0:?}, which was not offered")]
    NotOffered(String),
}

impl Request {
    /// Writes the request with the given nonce as key.
    ///
    /// # Errors
    /// A field that would break or override the request.
    pub fn encode(&self, nonce: [u8; 16]) -> Result<Vec<u8>, RequestError> {
        let target = if self.target.is_empty() { "/" } else { &self.target };
        check_token(target, "the URL")?;
        check_token(&self.host, "the host")?;
        let mut text = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n",
            host = self.host,
            key = key_of(nonce),
        );
        for name in &self.subprotocols {
            check_token(name, "a subprotocol")?;
        }
        if !self.subprotocols.is_empty() {
            let _ = write!(text, "Sec-WebSocket-Protocol: {}\r\n", self.subprotocols.join(", "));
        }
        for (name, value) in &self.headers {
            check_header(name, value)?;
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        Ok(text.into_bytes())
    }
}

/// What the server agreed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Chosen subprotocol; empty when none.
    pub subprotocol: String,
}

/// Looks for a complete response head in `bytes`.
///
/// Returns the number of bytes of the head and what was agreed, or `None` when more is needed.
///
/// # Errors
/// See [`HandshakeError`].
pub fn parse_response(
    bytes: &[u8],
    nonce: [u8; 16],
    offered: &[String],
) -> Result<Option<(usize, Accepted)>, HandshakeError> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        let plausible = bytes.iter().zip(b"HTTP/1.1 ").all(|(a, b)| a == b);
        return match (plausible, bytes.len() >= MAX_HEAD_BYTES) {
            (false, _) => Err(HandshakeError::NotHttp),
            (true, true) => Err(HandshakeError::TooLong),
            (true, false) => Ok(None),
        };
    };
    if end + 4 > MAX_HEAD_BYTES {
        return Err(HandshakeError::TooLong);
    }
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let (status, reason) = parse_status(lines.next().unwrap_or_default())?;
    let fields: Vec<(&str, &str)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
    let field = |wanted: &str| {
        fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|&(_, value)| value)
    };
    if status != 101 {
        return Err(HandshakeError::Refused {
            status,
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            retry_after: field("retry-after").map(str::to_owned),
        });
    }
    let has_token = |value: Option<&str>, token: &str| {
        value.is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if !has_token(field("upgrade"), "websocket") {
        return Err(HandshakeError::BadHeader("Upgrade"));
    }
    if !has_token(field("connection"), "upgrade") {
        return Err(HandshakeError::BadHeader("Connection"));
    }
    if field("sec-websocket-accept") != Some(accept_of(nonce).as_str()) {
        return Err(HandshakeError::BadHeader("Sec-WebSocket-Accept"));
    }
    if let Some(extension) = field("sec-websocket-extensions").filter(|value| !value.is_empty()) {
        return Err(HandshakeError::NotOffered(extension.to_owned()));
    }
    let subprotocol = field("sec-websocket-protocol").unwrap_or_default().to_owned();
    if !subprotocol.is_empty() && !offered.contains(&subprotocol) {
        return Err(HandshakeError::NotOffered(subprotocol));
    }
    Ok(Some((end + 4, Accepted { subprotocol })))
}

fn parse_status(line: &str) -> Result<(u16, &str), HandshakeError> {
    let rest = line.strip_prefix("HTTP/1.1 ").ok_or(HandshakeError::NotHttp)?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HandshakeError::NotHttp);
    }
    Ok((code.parse().map_err(|_| HandshakeError::NotHttp)?, reason.trim()))
}

fn key_of(nonce: [u8; 16]) -> String {
    let mut out = Vec::new();
    base64::encode(&nonce, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// `Sec-WebSocket-Accept` for a nonce.
pub fn accept_of(nonce: [u8; 16]) -> String {
    let digest = Sha1::new().chain_update(key_of(nonce)).chain_update(GUID).finalize();
    let mut out = Vec::new();
    base64::encode(&digest, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn check_token(text: &str, what: &str) -> Result<(), RequestError> {
    if text.is_empty() || text.bytes().any(|byte| !(0x21..0x7F).contains(&byte)) {
        return Err(RequestError::BadField(what.to_owned()));
    }
    Ok(())
}

fn check_header(name: &str, value: &str) -> Result<(), RequestError> {
    const RESERVED: [&str; 7] = [
        "host",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
    ];
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(RequestError::Reserved(name.to_owned()));
    }
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name_ok = !name.is_empty() && name.bytes().all(token);
    let value_ok = value.bytes().all(|byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7F));
    // The value may be a credential: the error names the header only.
    if name_ok && value_ok { Ok(()) } else { Err(RequestError::BadField(format!("header {name:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 16] = *b"the sample nonce";

    fn response(lines: &[&str]) -> Vec<u8> {
        format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    fn good(extra: &[&str]) -> Vec<u8> {
        let accept = format!("sec-websocket-accept: {}", accept_of(NONCE));
        let mut lines = vec![
            "HTTP/1.1 101 Switching Protocols",
            "UPGRADE: WebSocket",
            "Connection: keep-alive, Upgrade",
            &accept,
        ];
        lines.extend(extra);
        response(&lines)
    }

    #[test]
    fn accept_key_is_that_of_rfc_6455_section_1_3() {
        assert_eq!(accept_of(NONCE), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn request_has_the_required_fields_and_ours() {
        let request = Request {
            host: "engine.example:8080".into(),
            target: "/v1?model=a".into(),
            headers: vec![("Authorization".into(), "Bearer k".into())],
            subprotocols: vec!["a".into(), "b".into()],
        };
        let text = String::from_utf8(request.encode(NONCE).unwrap()).unwrap();
        assert!(text.starts_with("GET /v1?model=a HTTP/1.1\r\nHost: engine.example:8080\r\n"));
        assert!(text.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        assert!(text.contains("\r\nSec-WebSocket-Protocol: a, b\r\n"));
        assert!(text.ends_with("\r\nAuthorization: Bearer k\r\n\r\n"));
    }

    #[test]
    fn fields_that_would_split_the_request_are_refused() {
        let base = Request { host: "h".into(), ..Request::default() };
        let with =
            |name: &str, value: &str| Request { headers: vec![(name.into(), value.into())], ..base.clone() };
        assert!(with("X", "a\r\nEvil: b").encode(NONCE).is_err());
        assert!(with("X Y", "a").encode(NONCE).is_err());
        assert_eq!(with("HOST", "a").encode(NONCE), Err(RequestError::Reserved("HOST".into())));
        let error = with("Authorization", "secret\n").encode(NONCE).unwrap_err();
        assert!(!error.to_string().contains("secret"));
        assert!(Request { target: "/a b".into(), ..base }.encode(NONCE).is_err());
    }

    #[test]
    fn response_is_taken_only_when_whole_and_leaves_what_follows() {
        let mut bytes = good(&["Sec-WebSocket-Protocol: b"]);
        let head = bytes.len();
        bytes.extend_from_slice(b"\x81\x00");
        let offered = ["a".to_owned(), "b".to_owned()];
        for cut in 0..head {
            assert_eq!(parse_response(&bytes[..cut], NONCE, &offered), Ok(None));
        }
        let (used, accepted) = parse_response(&bytes, NONCE, &offered).unwrap().unwrap();
        assert_eq!((used, accepted.subprotocol.as_str()), (head, "b"));
    }

    #[test]
    fn refusals_keep_status_and_retry_after() {
        let bytes = response(&["HTTP/1.1 429 Too Many Requests", "Retry-After: 7"]);
        assert_eq!(
            parse_response(&bytes, NONCE, &[]),
            Err(HandshakeError::Refused {
                status: 429,
                reason: Some("Too Many Requests".into()),
                retry_after: Some("7".into())
            })
        );
    }

    #[test]
    fn wrong_answers_are_errors() {
        let other = response(&[
            "HTTP/1.1 101 X",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Accept: AAAA",
        ]);
        assert_eq!(
            parse_response(&other, NONCE, &[]),
            Err(HandshakeError::BadHeader("Sec-WebSocket-Accept"))
        );
        assert!(parse_response(&good(&["Sec-WebSocket-Protocol: x"]), NONCE, &[]).is_err());
        assert!(parse_response(&good(&["Sec-WebSocket-Extensions: x"]), NONCE, &[]).is_err());
        assert_eq!(parse_response(b"SSH-2.0-x", NONCE, &[]), Err(HandshakeError::NotHttp));
        let endless = [b"HTTP/1.1 101 ".as_slice(), &[b'a'; MAX_HEAD_BYTES]].concat();
        assert_eq!(parse_response(&endless, NONCE, &[]), Err(HandshakeError::TooLong));
    }
}
