//! Events as tuples: call, kind, time, then the fields of the Python class of that kind.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use trunkline_reactor::{Event, EventKind};
use trunkline_session::{Heard, Stats};

pub(crate) fn tuple(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    let (call, at) = (event.call, event.at.0);
    macro_rules! event {
        ($kind:literal $(, $field:expr)*) => {
            (call, pyo3::intern!(py, $kind), at $(, $field)*).into_pyobject(py)
        };
    }
    match event.kind {
        EventKind::FirstPacket { source } => event!("first_packet", source),
        EventKind::CallerSpeech { started, lag_ms } => event!("caller_speech", started, lag_ms),
        EventKind::Digit { digit, duration_ms } => event!("digit", digit, duration_ms),
        EventKind::PlayStarted { item } => event!("play_started", item),
        EventKind::PlayEnded { heard } => event!("play_ended", fields(heard)),
        EventKind::Flushed { heard } => {
            event!("flushed", heard.into_iter().map(fields).collect::<Vec<_>>())
        }
        EventKind::MaskStarted { name } => event!("mask_started", name),
        EventKind::MaskEnded { name, played_ms } => event!("mask_ended", name, played_ms),
        EventKind::EngineOpened { subprotocol } => event!("engine_opened", subprotocol),
        EventKind::EngineText { text } => event!("engine_text", text),
        EventKind::EngineClosed { code, reason, status, by_us } => {
            event!("engine_closed", code, reason, status, by_us)
        }
        EventKind::Tap { pcm, rate } => event!("tap", PyBytes::new(py, &pcm), rate),
        EventKind::RtpSilence { quiet_ms } => event!("rtp_silence", quiet_ms),
        EventKind::MediaFailed { detail, bug } => event!("media_failed", detail, bug),
        EventKind::MediaClosed { last_rtp_sent_at, stats } => {
            event!("media_closed", last_rtp_sent_at.0, self::stats(py, &stats)?)
        }
    }
}

fn fields(heard: Heard) -> (String, u32, u32) {
    (heard.item, heard.heard_ms, heard.total_ms)
}

pub(crate) fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("rtp_received", stats.rtp_received)?;
    dict.set_item("rtp_sent", stats.rtp_sent)?;
    dict.set_item("rtp_lost", stats.rtp_lost)?;
    dict.set_item("rtp_late", stats.rtp_late)?;
    dict.set_item("rtp_duplicate", stats.rtp_duplicate)?;
    dict.set_item("rtp_rejected", stats.rtp_rejected)?;
    dict.set_item("concealed_ms", stats.concealed_ms)?;
    dict.set_item("jitter_ms", stats.jitter.as_millis_f64())?;
    dict.set_item("round_trip_ms", stats.round_trip.as_millis_f64())?;
    dict.set_item("buffer_ms", stats.buffer.as_millis_f64())?;
    dict.set_item("engine_dropped_ms", stats.engine_dropped_ms)?;
    dict.set_item("engine_bad_messages", stats.engine_bad_messages)?;
    dict.set_item("playout_dropped_ms", stats.playout_dropped_ms)?;
    Ok(dict)
}
