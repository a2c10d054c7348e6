//! `ws://` and `wss://` addresses (RFC 6455 section 3).

/// The parts of an engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WsUrl {
    pub(crate) secure: bool,
    /// Name or literal address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Value of `Host`.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

impl WsUrl {
    /// Splits an address; the error says what is wrong with it without repeating it, as its query
    /// may hold a key.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (secure, rest) = match text.split_once("://") {
            Some(("ws", rest)) => (false, rest),
            Some(("wss", rest)) => (true, rest),
            _ => return Err("the engine's URL does not begin with ws:// or wss://"),
        };
        if rest.contains('#') {
            return Err("the engine's URL has a fragment");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err("the engine's URL has a user name; use a header");
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None if secure => 443,
            None => 80,
            Some(port) => {
                port.parse().ok().filter(|&port| port > 0).ok_or("the engine's URL has a bad port")?
            }
        };
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        Ok(Self { secure, host: host.to_owned(), port, authority: authority.to_owned(), target })
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the engine's URL has an unclosed [")?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err("the engine's URL has a bad host"),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() { Err("the engine's URL has no host") } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        let url = WsUrl::parse("wss://api.example/v1?model=a").unwrap();
        assert_eq!((url.secure, url.host.as_str(), url.port), (true, "api.example", 443));
        assert_eq!((url.authority.as_str(), url.target.as_str()), ("api.example", "/v1?model=a"));
        let url = WsUrl::parse("ws://[::1]:8080?x").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.target.as_str()), ("::1", 8080, "/?x"));
        assert_eq!(WsUrl::parse("ws://h").unwrap().target, "");
    }

    #[test]
    fn refuses_without_repeating() {
        for bad in [
            "http://h",
            "ws://",
            "ws://h:0",
            "ws://h:99999",
            "ws://u:secret@h",
            "ws://h/#f",
            "ws://[::1",
            "ws://[::1]x",
        ] {
            let error = WsUrl::parse(bad).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
