//! Lets Prometheus ask for the numbers over HTTP.

use std::net::SocketAddr;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder};

/// The numbers cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error("cannot offer metrics at `{address}`")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    source: BuildError,
}

/// Answers `GET /metrics` at `address` until the program ends. To be called on a Tokio runtime, before anything is counted.
///
/// # Errors
/// The address is taken or is not ours.
pub fn listen(address: SocketAddr) -> Result<(), ListenError> {
    let refuse = |source| ListenError { address, source };
    // Bound here, so that an address that is taken is an error now and not a line in a log later.
    let (recorder, exporter) = PrometheusBuilder::new()
        .with_http_listener(address)
        .build()
        .map_err(refuse)?;
    // A second start in one process (tests) keeps the first.
    if metrics::set_global_recorder(recorder).is_ok() {
        tokio::spawn(exporter);
        super::describe();
    }
    Ok(())
}
