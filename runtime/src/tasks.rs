//! The long-lived tasks of a process: none may end unnoticed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A task that ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The task returned without error.
    #[error("task {0} ended unexpectedly")]
    Ended(&'static str),
    /// The task returned an error.
    #[error("task {0} failed")]
    Failed(&'static str, #[source] anyhow::Error),
    /// The task panicked.
    #[error("task {0} panicked")]
    Panicked(&'static str),
}

/// Returns what `work` came to, or `None` if `stop` came first.
///
/// Tasks that stop drop what others wait for, so an error that meets the stop signal is part of stopping and not told.
///
/// # Errors
/// Those of `work`, before the signal.
pub async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    match stop.run_until_cancelled(work).await {
        None => Ok(None),
        Some(Err(_)) if stop.is_cancelled() => Ok(None),
        Some(done) => done.map(Some),
    }
}

/// Waits until `deadline`, or for ever if there is none. Cancel-safe.
pub async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Owns the tasks of a process and the token that stops them.
///
/// Those that a [`Spawner`] starts count from the next [`Tasks::during`] or [`Tasks::join`] on; they run before.
#[derive(Debug)]
pub struct Tasks {
    running: FuturesUnordered<Running>,
    started: mpsc::UnboundedReceiver<Running>,
    spawner: Spawner,
    /// How a task ended while [`Tasks::during`] waited.
    early: Option<Result<(), Error>>,
}

/// Starts tasks that [`Tasks`] owns, from anywhere; clones share it.
///
/// Tasks started after their owner is gone are aborted at once.
#[derive(Clone, Debug)]
pub struct Spawner {
    started: mpsc::UnboundedSender<Running>,
    stop: CancellationToken,
}

impl Spawner {
    /// Starts a task, which must run until the stop signal. Must be called inside a tokio runtime.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.start(name, Some(self.stop.clone()), task);
    }

    /// Starts a task that may end before the stop signal, but neither with an error nor in a panic.
    pub fn spawn_brief(&self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.start(name, None, task);
    }

    /// A spawner of the same owner whose tasks may also end once `stop` is cancelled, be it before all others.
    #[must_use]
    pub fn until(&self, stop: CancellationToken) -> Self {
        Self {
            started: self.started.clone(),
            stop,
        }
    }

    /// What asks the tasks to end.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    fn start(
        &self,
        name: &'static str,
        stop: Option<CancellationToken>,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let handle = AbortOnDropHandle::new(tokio::spawn(task));
        // Without an owner the handle comes back, and its end is the end of the task.
        let _ = self.started.send(Running { name, stop, handle });
    }
}

/// A task and what its end means.
#[derive(Debug)]
struct Running {
    name: &'static str,
    /// What may end it; nothing if it may end by itself.
    stop: Option<CancellationToken>,
    handle: AbortOnDropHandle<anyhow::Result<()>>,
}

impl Future for Running {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let end = ready!(Pin::new(&mut self.handle).poll(cx));
        Poll::Ready(match end {
            Ok(Ok(())) if self.stop.as_ref().is_none_or(CancellationToken::is_cancelled) => Ok(()),
            Ok(Ok(())) => Err(Error::Ended(self.name)),
            Ok(Err(error)) => Err(Error::Failed(self.name, error)),
            Err(_) => Err(Error::Panicked(self.name)),
        })
    }
}

impl Tasks {
    /// Creates an empty set; `stop` is what asks its tasks to end.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        let (sender, started) = mpsc::unbounded_channel();
        Self {
            running: FuturesUnordered::new(),
            started,
            spawner: Spawner { started: sender, stop },
            early: None,
        }
    }

    /// For whoever starts tasks later or elsewhere.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Starts a task, which must run until the stop signal.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.spawner.spawn(name, task);
    }

    /// Does what has to be done before more tasks can start; `None` if the stop signal comes first, or the end of a
    /// task, which [`Tasks::join`] then returns.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            early = self.first() => {
                self.early = Some(early);
                None
            }
            done = work => Some(done),
        }
    }

    /// Waits for the stop signal, then for the tasks, at most `grace`.
    ///
    /// A task that ends before the signal stops the others and is the error. What does not end in time is aborted.
    ///
    /// # Errors
    /// The first task that failed or ended before the signal.
    pub async fn join(mut self, grace: Duration) -> Result<(), Error> {
        let early = match self.early.take() {
            Some(early) => early,
            None => self.first().await,
        };
        self.spawner.stop.cancel();
        let late = tokio::time::timeout(grace, self.drain()).await.unwrap_or(Ok(()));
        early.and(late)
    }

    /// Waits for the stop signal, or a task that does not. Cancel-safe.
    async fn first(&mut self) -> Result<(), Error> {
        let stop = self.spawner.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(task) = self.started.recv() => self.running.push(task),
                Some(end) = self.running.next() => end?,
            }
        }
    }

    async fn drain(&mut self) -> Result<(), Error> {
        let mut first = Ok(());
        loop {
            while let Ok(task) = self.started.try_recv() {
                self.running.push(task);
            }
            let Some(end) = self.running.next().await else {
                return first;
            };
            first = first.and(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_waited_for_and_none_is_for_ever() {
        let begin = tokio::time::Instant::now();
        until(Some((begin + GRACE).into_std())).await;
        assert_eq!(begin.elapsed(), GRACE);
        tokio::time::timeout(GRACE, until(None)).await.unwrap_err();
    }

    #[tokio::test]
    async fn what_stopping_breaks_is_no_error_and_what_breaks_before_is() {
        let failure = async || Err::<(), _>(anyhow::anyhow!("the other side is gone"));
        let stop = CancellationToken::new();
        unless_stopped(&stop, failure()).await.unwrap_err();
        assert_eq!(unless_stopped(&stop, async { Ok(1) }).await.unwrap(), Some(1));
        // The signal comes while the work is looked at, after the signal was.
        let meeting = async {
            stop.cancel();
            failure().await
        };
        assert_eq!(unless_stopped(&stop, meeting).await.unwrap(), None);
        let never = std::future::pending::<anyhow::Result<()>>();
        assert_eq!(unless_stopped(&stop, never).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_by_itself_stops_the_others_and_is_an_error() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        let other = stop.clone();
        tasks.spawn("steady", async move {
            other.cancelled().await;
            Ok(())
        });
        tasks.spawn("fleeting", async { Ok(()) });
        assert!(matches!(tasks.join(GRACE).await, Err(Error::Ended("fleeting"))));
        assert!(stop.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_on_request_is_no_error() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        let other = stop.clone();
        tasks.spawn("steady", async move {
            other.cancelled().await;
            Ok(())
        });
        stop.cancel();
        assert!(tasks.join(GRACE).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_the_signal_is_left_behind_after_the_grace() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.spawn("deaf", std::future::pending());
        stop.cancel();
        assert!(tasks.join(GRACE).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_after_a_task_has_failed() {
        let mut tasks = Tasks::new(CancellationToken::new());
        assert_eq!(tasks.during(async { 7 }).await, Some(7));
        tasks.spawn("broken", async { anyhow::bail!("no socket") });
        assert_eq!(tasks.during(std::future::pending::<()>()).await, None);
        let error = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "task broken failed");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_after_a_stop_on_request() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        stop.cancel();
        assert_eq!(tasks.during(std::future::pending::<()>()).await, None);
        assert!(tasks.join(GRACE).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_names_the_task() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("broken", async { anyhow::bail!("no socket") });
        let error = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "task broken failed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_of_what_a_spawner_started_fails_the_process() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let spawner = tasks.spawner();
        tasks.spawn("parent", async move {
            let stop = spawner.stop().clone();
            spawner.spawn("child", async { panic!("out of luck") });
            stop.cancelled().await;
            Ok(())
        });
        assert!(matches!(tasks.join(GRACE).await, Err(Error::Panicked("child"))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_may_end_with_its_own_stop_signal_and_a_brief_one_at_any_time() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let own = CancellationToken::new();
        let (spawner, brief) = (tasks.spawner().until(own.clone()), tasks.spawner());
        let end = own.clone();
        spawner.spawn("part", async move {
            end.cancelled().await;
            Ok(())
        });
        brief.spawn_brief("brief", async { Ok(()) });
        own.cancel();
        let long = tokio::time::sleep(GRACE);
        assert!(tasks.during(long).await.is_some());
        spawner.spawn("another", async { Ok(()) });
        brief.spawn_brief("broken", async { anyhow::bail!("no luck") });
        assert!(matches!(tasks.join(GRACE).await, Err(Error::Failed("broken", _))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_started_without_an_owner_does_not_run() {
        let spawner = Tasks::new(CancellationToken::new()).spawner();
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        spawner.spawn("orphan", async move {
            std::future::pending::<()>().await;
            drop(sender);
            Ok(())
        });
        receiver.await.unwrap_err();
    }
}
