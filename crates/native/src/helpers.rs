//! Pure audio helpers for tests, phones and local engines.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use trunkline_dsp::g711::Law;
use trunkline_dsp::{l16, level};

fn law_of(name: &str) -> PyResult<Law> {
    match name {
        "PCMU" => Ok(Law::Mu),
        "PCMA" => Ok(Law::A),
        _ => Err(PyValueError::new_err(format!("unknown law {name:?}: PCMU or PCMA"))),
    }
}

fn samples_of(pcm: &[u8]) -> PyResult<Vec<i16>> {
    if pcm.len() % 2 == 1 {
        return Err(PyValueError::new_err("PCM of 16-bit samples has an even number of bytes"));
    }
    let mut samples = vec![0; pcm.len() / 2];
    l16::decode_le(pcm, &mut samples);
    Ok(samples)
}

fn bytes_of(samples: &[i16]) -> Vec<u8> {
    let mut bytes = vec![0; samples.len() * 2];
    l16::encode_le(samples, &mut bytes);
    bytes
}

#[pyfunction]
pub(crate) fn g711_encode<'py>(py: Python<'py>, pcm: &[u8], law: &str) -> PyResult<Bound<'py, PyBytes>> {
    let samples = samples_of(pcm)?;
    let mut codes = vec![0; samples.len()];
    law_of(law)?.encode(&samples, &mut codes);
    Ok(PyBytes::new(py, &codes))
}

#[pyfunction]
pub(crate) fn g711_decode<'py>(py: Python<'py>, codes: &[u8], law: &str) -> PyResult<Bound<'py, PyBytes>> {
    let mut samples = vec![0; codes.len()];
    law_of(law)?.decode(codes, &mut samples);
    Ok(PyBytes::new(py, &bytes_of(&samples)))
}

#[pyfunction]
pub(crate) fn resample<'py>(
    py: Python<'py>,
    pcm: &[u8],
    from_rate: u32,
    to_rate: u32,
) -> PyResult<Bound<'py, PyBytes>> {
    Resampler::new(from_rate, to_rate)?.process(py, pcm)
}

#[pyfunction]
pub(crate) fn rms_dbfs(pcm: &[u8]) -> PyResult<f32> {
    Ok(level::rms_dbfs(&samples_of(pcm)?))
}

/// A rate converter that keeps its state from call to call.
#[pyclass(module = "trunkline._native")]
pub(crate) struct Resampler(trunkline_dsp::Resampler);

#[pymethods]
impl Resampler {
    #[new]
    fn new(from_rate: u32, to_rate: u32) -> PyResult<Self> {
        trunkline_dsp::Resampler::new(from_rate, to_rate)
            .map(Self)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn process<'py>(&mut self, py: Python<'py>, pcm: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let input = samples_of(pcm)?;
        let mut output = vec![0; self.0.max_output(input.len())];
        let written = py.detach(|| self.0.process(&input, &mut output));
        Ok(PyBytes::new(py, &bytes_of(&output[..written])))
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
