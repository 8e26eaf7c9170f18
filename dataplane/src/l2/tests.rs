use std::{
    future::{pending, ready},
    sync::mpsc,
};

use super::*;

/// A thread that ends when the shell does, and says so.
fn thread() -> (Thread, End, mpsc::Receiver<()>) {
    let (mailbox, inbox) = mailbox().unwrap();
    let (ending, ended) = mpsc::channel::<()>();
    let body = move || {
        let _ending: mpsc::Sender<()> = ending;
        while !matches!(inbox.take(), Some(Command::End)) {
            std::thread::yield_now();
        }
    };
    (Thread::run(body).unwrap(), End(mailbox), ended)
}

fn tasks(task: impl Future<Output = ()> + Send + 'static) -> JoinSet<&'static str> {
    let mut tasks = JoinSet::new();
    tasks.spawn(named("idle", pending()));
    tasks.spawn(named("links", task));
    tasks
}

#[tokio::test]
async fn a_task_that_ends_takes_the_others_with_it_and_is_named() {
    let (thread, end, ended) = thread();
    let result = own(tasks(ready(())), thread, end, CancellationToken::new()).await;
    assert!(matches!(result, Err(Error::Ended("links"))), "{result:?}");
    assert!(ended.recv().is_err(), "the thread has ended");
}

#[tokio::test]
async fn a_task_that_panics_is_an_error() {
    let (thread, end, _) = thread();
    let panics = async { panic!("on purpose") };
    let result = own(tasks(panics), thread, end, CancellationToken::new()).await;
    assert!(
        matches!(&result, Err(Error::Failed(error)) if error.is_panic()),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_thread_that_ends_or_panics_is_an_error() {
    let (mailbox, _inbox) = mailbox().unwrap();
    let stop = CancellationToken::new();
    let thread = Thread::run(|| {}).unwrap();
    let result = own(tasks(pending()), thread, End(mailbox.clone()), stop.clone()).await;
    assert!(matches!(result, Err(Error::Ended("announcer"))), "{result:?}");
    let thread = Thread::run(|| panic!("on purpose")).unwrap();
    let result = own(tasks(pending()), thread, End(mailbox), stop).await;
    assert!(matches!(result, Err(Error::Panicked(_))), "{result:?}");
}

#[tokio::test]
async fn a_stop_on_request_is_no_error_and_waits_for_the_thread() {
    let (thread, end, ended) = thread();
    let stop = CancellationToken::new();
    stop.cancel();
    own(tasks(pending()), thread, end, stop).await.unwrap();
    assert!(ended.recv().is_err());
}

#[tokio::test]
async fn the_thread_ends_when_the_future_is_dropped() {
    let (thread, end, ended) = thread();
    drop(own(tasks(pending()), thread, end, CancellationToken::new()));
    assert!(ended.recv().is_err());
}
