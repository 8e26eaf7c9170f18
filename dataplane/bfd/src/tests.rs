//! Two nodes under a virtual clock, and what goes over the wire between them.

mod datagram;
mod demultiplex;
mod echo;
mod lab;
mod life;
mod packet;
mod rates;

use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; its value does not matter"
)]
fn some_time() -> Instant {
    Instant::now()
}
