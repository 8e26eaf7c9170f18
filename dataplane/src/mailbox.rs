//! Messages to a thread that waits for sockets: a queue, and a descriptor that is readable while it may hold
//! anything.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, mpsc},
};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Puts in; never waits. Clones share the queue.
pub(crate) struct Mailbox<T> {
    /// Unbounded, so that senders never wait: the thread takes messages out at once, and they hold only what has changed.
    queue: mpsc::Sender<T>,
    wake: Arc<EventFd>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            wake: Arc::clone(&self.wake),
        }
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// Takes out. Its descriptor is to be polled, and [`Inbox::acknowledge`] called when it is readable.
pub(crate) struct Inbox<T> {
    queue: mpsc::Receiver<T>,
    wake: Arc<EventFd>,
}

/// Makes a pair.
///
/// # Errors
/// If there is no descriptor to be had.
pub(crate) fn mailbox<T>() -> io::Result<(Mailbox<T>, Inbox<T>)> {
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, queue) = mpsc::channel();
    let mailbox = Mailbox {
        queue: sender,
        wake: Arc::clone(&wake),
    };
    Ok((mailbox, Inbox { queue, wake }))
}

impl<T> Mailbox<T> {
    /// The owner of a thread that has ended learns of it otherwise.
    pub(crate) fn send(&self, message: T) {
        let _ = self.queue.send(message);
        // Fails only after 2⁶⁴ wake-ups without acknowledgement.
        let _ = self.wake.write(1);
    }
}

impl<T> Inbox<T> {
    /// Makes the descriptor unreadable until the next message; those sent before are in the queue.
    pub(crate) fn acknowledge(&self) {
        let _ = self.wake.read();
    }

    /// The next message, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        self.queue.try_recv().ok()
    }
}

impl<T> AsFd for Inbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_readable(inbox: &Inbox<u8>) -> bool {
        let mut polled = [PollFd::new(inbox.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn the_descriptor_is_readable_until_acknowledged_and_no_message_is_lost() {
        let (mailbox, inbox) = mailbox().unwrap();
        assert!(!is_readable(&inbox));
        mailbox.send(1);
        mailbox.clone().send(2);
        assert!(is_readable(&inbox));
        inbox.acknowledge();
        assert!(!is_readable(&inbox));
        assert_eq!([inbox.take(), inbox.take(), inbox.take()], [Some(1), Some(2), None]);
    }
}
