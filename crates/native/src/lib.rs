//! `trunkline._native`: the media engine for Python. Conversions only, no logic.
//!
//! `src/trunkline/_native.pyi` says what Python sees. Nothing here holds the interpreter's lock
//! while it waits for a lock of the engine, a thread or the disk.

use pyo3::prelude::*;

mod engine;
mod events;
mod helpers;
mod values;

/// Changes whenever Python code written for another value would not work.
const ABI_VERSION: u32 = 1;

#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("abi_version", ABI_VERSION)?;
    module.add("version", env!("CARGO_PKG_VERSION"))?;
    module.add("debug_build", cfg!(debug_assertions))?;
    module.add("NoPortError", module.py().get_type::<engine::NoPortError>())?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<engine::Call>()?;
    module.add_class::<helpers::Resampler>()?;
    module.add_function(wrap_pyfunction!(helpers::g711_encode, module)?)?;
    module.add_function(wrap_pyfunction!(helpers::g711_decode, module)?)?;
    module.add_function(wrap_pyfunction!(helpers::resample, module)?)?;
    module.add_function(wrap_pyfunction!(helpers::rms_dbfs, module)?)?;
    Ok(())
}
