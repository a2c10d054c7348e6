//! The engine and its calls as Python classes.

use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use pyo3::exceptions::{PyException, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use trunkline_reactor::{CallHandle, EngineConfig, EngineError, SocketSpec};
use trunkline_session::{EngineFormat, Nanos, Parameters};
use trunkline_wire::{Dialect, JsonKeys};

use crate::{events, values};

pyo3::create_exception!(trunkline._native, NoPortError, PyException, "Every RTP port pair is in use.");

fn python_error(error: EngineError) -> PyErr {
    match error {
        EngineError::Config(what) => PyValueError::new_err(what),
        EngineError::NoPort { .. } => NoPortError::new_err(error.to_string()),
        EngineError::Io(error) => PyErr::from(error),
        _ => PyRuntimeError::new_err(error.to_string()),
    }
}

#[pyclass(module = "trunkline._native", frozen)]
pub(crate) struct Engine(trunkline_reactor::Engine);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, host, port_low, port_high, threads, quarantine_ms, rtp_silence_ms))]
    fn new(
        py: Python<'_>,
        host: &str,
        port_low: u16,
        port_high: u16,
        threads: usize,
        quarantine_ms: u64,
        rtp_silence_ms: u64,
    ) -> PyResult<Self> {
        let config = EngineConfig {
            host: values::ip(host)?,
            port_low,
            port_high,
            threads,
            quarantine: Nanos::from_millis(quarantine_ms),
            rtp_silence: Nanos::from_millis(rtp_silence_ms),
        };
        py.detach(|| trunkline_reactor::Engine::start(config)).map(Self).map_err(python_error)
    }

    fn event_fd(&self) -> i32 {
        self.0.event_fd().as_raw_fd()
    }

    #[pyo3(signature = (limit = 256))]
    fn drain<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        let mut drained = Vec::new();
        py.detach(|| self.0.drain(limit, &mut drained));
        let list = PyList::empty(py);
        for event in drained {
            list.append(events::tuple(py, event)?)?;
        }
        Ok(list)
    }

    fn open(&self, py: Python<'_>) -> PyResult<Call> {
        py.detach(|| self.0.open()).map(Call).map_err(python_error)
    }

    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let totals = py.detach(|| self.0.totals());
        let dict = PyDict::new(py);
        dict.set_item("calls", totals.calls)?;
        dict.set_item("opened", totals.opened)?;
        dict.set_item("free_ports", totals.free_ports)?;
        dict.set_item("panics", totals.panics)?;
        dict.set_item("send_errors", totals.send_errors)?;
        dict.set_item("late_ticks", totals.late_ticks)?;
        dict.set_item("worst_lag_us", totals.worst_lag.as_micros())?;
        dict.set_item("dropped_taps", totals.dropped_taps)?;
        dict.set_item("dropped_plays", totals.dropped_plays)?;
        dict.set_item("recording_dropped_ms", totals.recording_dropped_ms)?;
        dict.set_item("recording_failures", totals.recording_failures)?;
        Ok(dict)
    }

    fn shut_down(&self, py: Python<'_>) {
        py.detach(|| self.0.shut_down());
    }
}

#[pyclass(module = "trunkline._native", frozen)]
pub(crate) struct Call(CallHandle);

#[pymethods]
impl Call {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.port()
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of RtpParameters, by keyword")]
    #[pyo3(signature = (*, host, port, codec, payload_type, clock_rate, ptime_ms, dtmf_payload_type, rtcp_port,
        rtcp_mux, direction))]
    fn connect(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        codec: &str,
        payload_type: u8,
        clock_rate: u32,
        ptime_ms: u32,
        dtmf_payload_type: Option<u8>,
        rtcp_port: Option<u16>,
        rtcp_mux: bool,
        direction: &str,
    ) -> PyResult<()> {
        let codec = values::codec(codec)?;
        let rtcp_port = if rtcp_mux { port } else { rtcp_port.unwrap_or(port.saturating_add(1)) };
        let parameters = Parameters {
            remote: values::address(host, port)?,
            remote_rtcp: values::address(host, rtcp_port)?,
            rtcp_mux,
            codec,
            payload_type: values::payload_type(payload_type)?,
            clock_rate: values::clock_rate(codec, clock_rate)?,
            ptime_ms: values::ptime(ptime_ms)?,
            dtmf_payload_type: dtmf_payload_type.map(values::payload_type).transpose()?,
            direction: values::direction(direction)?,
        };
        py.detach(|| self.0.connect(parameters));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of SocketSpec, by keyword")]
    #[pyo3(signature = (*, url, headers, subprotocols, json, up_encoding, up_rate, down_encoding, down_rate,
        batch_ms, connect_timeout_ms, max_message_bytes, ca_file))]
    fn open_socket(
        &self,
        py: Python<'_>,
        url: String,
        headers: Vec<(String, String)>,
        subprotocols: Vec<String>,
        json: Option<(String, Vec<String>, String, String, String, String)>,
        up_encoding: &str,
        up_rate: u32,
        down_encoding: &str,
        down_rate: u32,
        batch_ms: u32,
        connect_timeout_ms: u64,
        max_message_bytes: usize,
        ca_file: Option<PathBuf>,
    ) -> PyResult<()> {
        let (up_encoding, up_rate) = values::encoding(up_encoding, up_rate)?;
        let (down_encoding, down_rate) = values::encoding(down_encoding, down_rate)?;
        let format = EngineFormat {
            up_encoding,
            up_rate,
            down_encoding,
            down_rate,
            batch_ms: values::batch(batch_ms)?,
        };
        let dialect = match json {
            None => Dialect::Binary,
            Some((type_key, types, audio_key, item_key, up_prefix, up_suffix)) => Dialect::Json {
                down: JsonKeys { type_key, types, audio_key, item_key },
                up_prefix,
                up_suffix,
            },
        };
        let spec = SocketSpec {
            url,
            headers,
            subprotocols,
            dialect,
            format,
            connect_timeout: Nanos::from_millis(connect_timeout_ms),
            max_message_bytes,
            ca_file,
        };
        py.detach(|| self.0.open_socket(spec));
        Ok(())
    }

    fn close_engine(&self, py: Python<'_>) {
        py.detach(|| self.0.close_engine());
    }

    fn open_tap(&self, py: Python<'_>, rate: u32, batch_ms: u32) -> PyResult<()> {
        let (rate, batch_ms) = (values::rate(rate)?, values::batch(batch_ms)?);
        py.detach(|| self.0.open_tap(rate, batch_ms));
        Ok(())
    }

    fn send_text(&self, py: Python<'_>, text: String) {
        py.detach(|| self.0.send_text(text));
    }

    fn play(&self, py: Python<'_>, item: String, pcm: Vec<u8>, rate: u32) -> PyResult<()> {
        values::even(&pcm)?;
        let rate = values::rate(rate)?;
        py.detach(|| self.0.play(item, pcm, rate));
        Ok(())
    }

    fn end_item(&self, py: Python<'_>, item: String) {
        py.detach(|| self.0.end_item(item));
    }

    fn drop_item(&self, py: Python<'_>, item: String) {
        py.detach(|| self.0.drop_item(item));
    }

    fn flush(&self, py: Python<'_>, fade_ms: u32) {
        py.detach(|| self.0.flush(fade_ms));
    }

    fn mask(
        &self,
        py: Python<'_>,
        name: String,
        pcm: Vec<u8>,
        rate: u32,
        mode: &str,
        looped: bool,
    ) -> PyResult<()> {
        values::even(&pcm)?;
        let (rate, mode) = (values::rate(rate)?, values::mask_mode(mode)?);
        py.detach(|| self.0.mask(name, pcm, rate, mode, looped));
        Ok(())
    }

    fn unmask(&self, py: Python<'_>, fade_ms: u32) {
        py.detach(|| self.0.unmask(fade_ms));
    }

    fn send_dtmf(&self, py: Python<'_>, digits: String, duration_ms: u64, gap_ms: u64) -> PyResult<()> {
        values::digits(&digits)?;
        let (duration, gap) = (Nanos::from_millis(duration_ms), Nanos::from_millis(gap_ms));
        py.detach(|| self.0.send_dtmf(digits, duration, gap));
        Ok(())
    }

    fn record(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(move || self.0.record(&path)).map_err(PyErr::from)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.0.stats());
        events::stats(py, &stats)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}
