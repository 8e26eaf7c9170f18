//! Scheduling of one thread, see sched(7).

use std::io;

/// Before all threads that are not real-time, behind all others that are.
const REAL_TIME_PRIORITY: libc::c_int = 1;
/// Gets the processor soon after it asks for it.
const NICE: libc::c_int = -15;

/// How a thread is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Runs whenever it can (`SCHED_FIFO`).
    RealTime,
    /// Runs sooner than others.
    Preferred,
    /// As all others.
    Usual,
}

/// Has the calling thread run as soon as it can, as far as this process is allowed to ask for that (CAP_SYS_NICE, or
/// `RLIMIT_RTPRIO`).
#[must_use]
pub fn prefer_this_thread() -> Priority {
    if real_time().is_ok() {
        Priority::RealTime
    } else if nice().is_ok() {
        Priority::Preferred
    } else {
        Priority::Usual
    }
}

fn real_time() -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: REAL_TIME_PRIORITY,
    };
    // SAFETY: 0 is the calling thread; the kernel reads the structure, which lives until the call returns.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    outcome(result)
}

fn nice() -> io::Result<()> {
    // SAFETY: takes and returns integers only; 0 is the calling thread, as Linux has priorities by thread.
    outcome(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) })
}

fn outcome(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
