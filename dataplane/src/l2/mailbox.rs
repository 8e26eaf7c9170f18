//! How the thread that answers is told something: a queue, and a bell that wakes it.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, mpsc},
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Command;

/// Puts commands in; never waits. Cheap to clone.
#[derive(Clone)]
pub(super) struct Mailbox {
    /// Unbounded, so that nobody has to wait: what is told is taken out at once, and it is no more than what has changed.
    queue: mpsc::Sender<Command>,
    bell: Arc<EventFd>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// Takes commands out.
pub(super) struct Inbox {
    queue: mpsc::Receiver<Command>,
    bell: Arc<EventFd>,
}

/// Makes a pair.
pub(super) fn mailbox() -> io::Result<(Mailbox, Inbox)> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, queue) = mpsc::channel();
    let mailbox = Mailbox {
        queue: sender,
        bell: Arc::clone(&bell),
    };
    Ok((mailbox, Inbox { queue, bell }))
}

impl Mailbox {
    /// Whoever owns the shell's future sees it when the thread has ended.
    pub(super) fn send(&self, command: Command) {
        let _ = self.queue.send(command);
        // Fails only if it has rung 2⁶⁴ times since it was heard.
        let _ = self.bell.write(1);
    }
}

impl Inbox {
    /// Readable when there may be commands.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Stops the bell; commands put in before are in the queue.
    pub(super) fn hear(&self) {
        let _ = self.bell.read();
    }

    pub(super) fn take(&self) -> Option<Command> {
        self.queue.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn rings(inbox: &Inbox) -> bool {
        let mut bell = [PollFd::new(inbox.bell(), PollFlags::POLLIN)];
        poll(&mut bell, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn the_bell_rings_until_it_is_heard_and_no_command_is_lost() {
        let (mailbox, inbox) = mailbox().unwrap();
        assert!(!rings(&inbox));
        mailbox.send(Command::Reannounce);
        mailbox.clone().send(Command::End);
        assert!(rings(&inbox));
        inbox.hear();
        assert!(!rings(&inbox));
        assert!(matches!(inbox.take(), Some(Command::Reannounce)));
        assert!(matches!(inbox.take(), Some(Command::End)));
        assert!(inbox.take().is_none());
    }
}
