//! How long the scheduler lets a thread run at a time.

use std::{io, mem, time::Duration};

/// Has the scheduler give the calling thread shorter turns, and in return the next one sooner: a thread that sleeps most of
/// the time, and answers when it wakes, waits less behind busy ones. It gets no greater share of the processor, and needs
/// no privilege. Kernels before 6.12 take no notice.
///
/// # Errors
/// If the kernel or a filter of system calls refuses.
pub fn shorten_turns(turn: Duration) -> io::Result<()> {
    let size = u32::try_from(mem::size_of::<libc::sched_attr>()).expect("a small structure");
    // SAFETY: `sched_attr` consists of integers, for which all zeros is a valid value.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most `size` bytes, which `attributes` has; 0 is the calling thread.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.size = size;
    attributes.sched_runtime = u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the kernel reads `attributes.size` bytes, which `attributes` has; 0 is the calling thread.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_thread_may_shorten_its_turns() {
        shorten_turns(Duration::from_micros(100)).unwrap();
    }
}
