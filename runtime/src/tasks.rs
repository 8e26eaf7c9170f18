//! The long-lived tasks of a process: none may end unnoticed.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

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

/// Owns the tasks of a process and the token that stops them.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
    /// How a task ended while [`Tasks::during`] waited.
    early: Option<Result<(), Error>>,
}

impl Tasks {
    /// Creates an empty set; `stop` is what asks its tasks to end.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            names: HashMap::new(),
            stop,
            early: None,
        }
    }

    /// Starts a task, which must run until the stop signal.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
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
        self.stop.cancel();
        let late = tokio::time::timeout(grace, self.drain()).await.unwrap_or(Ok(()));
        early.and(late)
    }

    /// Waits for the stop signal, or a task that does not.
    async fn first(&mut self) -> Result<(), Error> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            Some(end) = self.set.join_next_with_id() => match self.verdict(end) {
                Ok(name) if !stop.is_cancelled() => Err(Error::Ended(name)),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }

    async fn drain(&mut self) -> Result<(), Error> {
        let mut first = Ok(());
        while let Some(end) = self.set.join_next_with_id().await {
            let verdict = self.verdict(end);
            if first.is_ok() {
                first = verdict.map(drop);
            }
        }
        first
    }

    fn verdict(&self, end: Result<(Id, anyhow::Result<()>), tokio::task::JoinError>) -> Result<&'static str, Error> {
        let name = |id| self.names.get(&id).copied().unwrap_or("unnamed");
        match end {
            Ok((id, Ok(()))) => Ok(name(id)),
            Ok((id, Err(error))) => Err(Error::Failed(name(id), error)),
            Err(join) => Err(Error::Panicked(name(join.id()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

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
}
