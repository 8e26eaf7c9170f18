//! Two nodes under a virtual clock, and what goes over the wire between them.

mod datagram;
mod demultiplex;
mod echo;
mod lab;
mod life;
mod packet;
mod rates;

use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
