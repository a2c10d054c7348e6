//! Checks and conversions of what Python hands in.

use std::net::{IpAddr, SocketAddr};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use trunkline_session::{Codec, Direction, Encoding, MaskMode};

fn wrong(what: String) -> PyErr {
    PyValueError::new_err(what)
}

pub(crate) fn address(host: &str, port: u16) -> PyResult<SocketAddr> {
    Ok(SocketAddr::new(ip(host)?, port))
}

pub(crate) fn ip(host: &str) -> PyResult<IpAddr> {
    host.parse().map_err(|_| wrong(format!("{host:?} is not an IP address")))
}

pub(crate) fn codec(name: &str) -> PyResult<Codec> {
    match name {
        "PCMU" => Ok(Codec::Pcmu),
        "PCMA" => Ok(Codec::Pcma),
        "L16" => Ok(Codec::L16),
        _ => Err(wrong(format!("unknown codec {name:?}"))),
    }
}

pub(crate) fn clock_rate(codec: Codec, rate: u32) -> PyResult<u32> {
    match (codec, rate) {
        (_, 8000) | (Codec::L16, 16_000 | 24_000) => Ok(rate),
        _ => Err(wrong(format!("clock rate {rate} is not supported for this codec"))),
    }
}

pub(crate) fn ptime(ms: u32) -> PyResult<u32> {
    match ms {
        10 | 20 | 30 | 40 | 60 => Ok(ms),
        _ => Err(wrong(format!("packet time {ms} ms: 10, 20, 30, 40 and 60 are supported"))),
    }
}

pub(crate) fn payload_type(number: u8) -> PyResult<u8> {
    if number < 128 { Ok(number) } else { Err(wrong(format!("payload type {number} is above 127"))) }
}

pub(crate) fn direction(name: &str) -> PyResult<Direction> {
    match name {
        "sendrecv" => Ok(Direction::SendRecv),
        "sendonly" => Ok(Direction::SendOnly),
        "recvonly" => Ok(Direction::RecvOnly),
        "inactive" => Ok(Direction::Inactive),
        _ => Err(wrong(format!("unknown direction {name:?}"))),
    }
}

pub(crate) fn rate(rate: u32) -> PyResult<u32> {
    match rate {
        8000 | 16_000 | 24_000 => Ok(rate),
        _ => Err(wrong(format!("sample rate {rate}: 8000, 16000 and 24000 are supported"))),
    }
}

/// Encoding and rate together: G.711 is 8 kHz whatever is asked for.
pub(crate) fn encoding(name: &str, hertz: u32) -> PyResult<(Encoding, u32)> {
    match name {
        "pcm16" => Ok((Encoding::Pcm16, rate(hertz)?)),
        "pcmu" => Ok((Encoding::Pcmu, 8000)),
        "pcma" => Ok((Encoding::Pcma, 8000)),
        _ => Err(wrong(format!("unknown encoding {name:?}: pcm16, pcmu or pcma"))),
    }
}

pub(crate) fn batch(ms: u32) -> PyResult<u32> {
    match ms {
        20 | 40 | 60 | 80 | 100 => Ok(ms),
        _ => Err(wrong(format!("batch of {ms} ms: a multiple of 20 up to 100 is needed"))),
    }
}

pub(crate) fn mask_mode(name: &str) -> PyResult<MaskMode> {
    match name {
        "mix" => Ok(MaskMode::Mix),
        "turn" => Ok(MaskMode::Turn),
        _ => Err(wrong(format!("unknown mask mode {name:?}"))),
    }
}

pub(crate) fn even(pcm: &[u8]) -> PyResult<()> {
    if pcm.len() % 2 == 1 {
        return Err(wrong("PCM of 16-bit samples has an even number of bytes".into()));
    }
    Ok(())
}

pub(crate) fn digits(text: &str) -> PyResult<()> {
    let known = |digit: char| "0123456789*#ABCDabcd".contains(digit);
    match text.chars().find(|&digit| !known(digit)) {
        Some(digit) => Err(wrong(format!("{digit:?} is not a DTMF digit"))),
        None if text.len() > 64 => Err(wrong("at most 64 digits can be sent at once".into())),
        None => Ok(()),
    }
}
