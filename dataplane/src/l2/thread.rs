//! The thread that answers. It blocks on its sockets, its mailbox and its next deadline, and on nothing else: no runtime and
//! no lock is between a request and its answer.

use std::{
    any::Any,
    io,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use metallb_l2::{Event, Protocol};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use tokio::sync::oneshot;

use super::{Command, Error, announcer::Announcer};
use crate::mailbox::Inbox;

/// So many frames are judged before what else there is to do; a flood of them must delay neither a withdrawal nor a burst.
const FRAMES_AT_A_TIME: usize = 64;
/// After a socket error, so that a broken socket does not become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// One byte more than any frame that is understood has, so that a longer one is known as such.
const BUFFER_LEN: usize = 1515;
/// Far more than an answer takes, and a fraction of what busy threads have.
const TURN: Duration = Duration::from_micros(100);
/// Shown by `top -H`.
const NAME: &str = "l2-answers";

/// The running thread.
pub(super) struct Thread {
    ended: oneshot::Receiver<()>,
    handle: thread::JoinHandle<()>,
}

impl Thread {
    /// Runs `announcer` until it is told [`Command::End`].
    pub(super) fn start(announcer: Announcer, inbox: Inbox<Command>) -> io::Result<Self> {
        Self::run(move || run(announcer, &inbox))
    }

    pub(super) fn run(body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (ending, ended) = oneshot::channel();
        let handle = thread::Builder::new().name(NAME.to_owned()).spawn(move || {
            // Dropped when the thread ends, however it does.
            let _ending: oneshot::Sender<()> = ending;
            let _span = tracing::info_span!("l2").entered();
            if let Err(error) = metallb_net::shorten_turns(TURN) {
                tracing::debug!(%error, "on a busy node answers wait longer");
            }
            body();
        })?;
        Ok(Self { ended, handle })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it has panicked.
    pub(super) async fn ended(self) -> Result<(), Error> {
        // Nothing is ever sent.
        let _ = self.ended.await;
        self.handle.join().map_err(|panic| Error::Panicked(message(&*panic)))
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

fn run(mut announcer: Announcer, inbox: &Inbox<Command>) {
    let mut buffer = [0; BUFFER_LEN];
    let mut commands = false;
    loop {
        let wait = if commands {
            Some(Duration::ZERO)
        } else {
            left(announcer.next_deadline())
        };
        let ready = wait_for(&announcer, inbox, wait);
        for (protocol, ready) in [(Protocol::Arp, ready.arp), (Protocol::Ndp, ready.ndp)] {
            if ready {
                receive(&mut announcer, protocol, &mut buffer);
            }
        }
        if ready.told {
            inbox.acknowledge();
            commands = true;
        }
        if commands {
            match inbox.take() {
                Some(Command::End) => return,
                Some(command) => announcer.obey(command),
                None => commands = false,
            }
        } else if left(announcer.next_deadline()).is_some_and(|left| left.is_zero()) {
            announcer.feed(Event::Tick);
        }
    }
}

fn left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    arp: bool,
    ndp: bool,
    told: bool,
}

/// Waits for so long at the most, for ever without a limit.
fn wait_for(announcer: &Announcer, inbox: &Inbox<Command>, limit: Option<Duration>) -> Ready {
    let fd = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let sockets = announcer.sockets();
    let ndp = sockets.ndp.as_ref().map_or_else(|| inbox.as_fd(), AsFd::as_fd);
    let mut fds = [fd(sockets.arp.as_fd()), fd(inbox.as_fd()), fd(ndp)];
    let polled = if sockets.ndp.is_some() {
        &mut fds[..]
    } else {
        &mut fds[..2]
    };
    match ppoll(polled, limit.map(TimeSpec::from_duration), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => {
            tracing::error!(%error, "waiting for frames");
            thread::sleep(ERROR_PAUSE);
        }
    }
    // An error of a socket is told by the next call that reads from it.
    let [arp, told, ndp] = fds.map(|fd| fd.any().unwrap_or_default());
    Ready {
        arp,
        ndp: ndp && announcer.sockets().ndp.is_some(),
        told,
    }
}

fn receive(announcer: &mut Announcer, protocol: Protocol, buffer: &mut [u8]) {
    for _ in 0..FRAMES_AT_A_TIME {
        let Some(socket) = announcer.sockets().get(protocol) else {
            return;
        };
        match socket.receive(buffer) {
            Ok(received) => announcer.on_frame(received, &buffer[..received.len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                tracing::warn!(%error, "receiving frames");
                thread::sleep(ERROR_PAUSE);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_thread_is_an_error_with_its_message() {
        let ended = Thread::run(|| panic!("on purpose")).unwrap().ended().await;
        assert!(
            matches!(&ended, Err(Error::Panicked(why)) if why == "on purpose"),
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn an_end_on_request_is_no_error() {
        Thread::run(|| {}).unwrap().ended().await.unwrap();
    }
}
