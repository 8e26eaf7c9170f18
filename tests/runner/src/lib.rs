//! Runs tests that not every machine can run.
//!
//! The usual harness knows no test that turns out at run time to be impossible here; such a test would pass. A target
//! with `harness = false` names its tests to [`main`] instead, and a test that lacks something calls [`skip`]: it is
//! counted as ignored, and the reason is printed. The flags are those of the usual harness.
//!
//! ```no_run
//! fn helm_likes_the_chart() {
//!     if !std::path::Path::new("/usr/bin/helm").exists() {
//!         metallb_test_runner::skip("Helm is not installed");
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     metallb_test_runner::main(metallb_test_runner::tests![helm_likes_the_chart])
//! }
//! ```

pub mod frr;
mod namespace;
pub mod tools;

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

pub use namespace::{Way, in_namespace, run_inside};

/// A test: its name, a claim, and what it does.
pub struct Test {
    name: &'static str,
    body: Box<dyn FnOnce() + Send>,
}

impl Test {
    /// Names a function, which may be `async`.
    pub fn new<Kind>(name: &'static str, body: impl Body<Kind>) -> Self {
        Self {
            name,
            body: Box::new(move || body.run()),
        }
    }

    fn trial(self) -> Trial {
        let Self { name, body } = self;
        Trial::ignorable_test(name, move || {
            CURRENT.set(name);
            match catch_unwind(AssertUnwindSafe(body)) {
                Ok(()) => Ok(Completion::Completed),
                Err(payload) => match payload.downcast::<Skip>() {
                    Ok(skip) => Ok(Completion::ignored_with(skip.0)),
                    Err(payload) => Err(Failed::from(message(&*payload))),
                },
            }
        })
    }
}

/// Tests by the paths of their functions.
#[macro_export]
macro_rules! tests {
    ($($path:path),* $(,)?) => {
        [$($crate::Test::new(stringify!($path), $path)),*]
    };
}

/// What a test may be: a function, or an `async` one.
pub trait Body<Kind>: Send + 'static {
    /// Does it.
    fn run(self);
}

impl<F: FnOnce() + Send + 'static> Body<()> for F {
    fn run(self) {
        self();
    }
}

impl<F, R> Body<(R,)> for F
where
    F: FnOnce() -> R + Send + 'static,
    R: Future<Output = ()>,
{
    fn run(self) {
        runtime().block_on(self());
    }
}

/// Like that of the products: what a test starts goes on while the test itself is busy.
fn runtime() -> tokio::runtime::Runtime {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    built.expect("this machine has threads")
}

/// Why a test cannot be run.
struct Skip(String);

thread_local! {
    /// The name of the test that this thread runs.
    static CURRENT: Cell<&'static str> = const { Cell::new("") };
}

fn current() -> &'static str {
    CURRENT.get()
}

/// Ends the test that calls it: it is counted as ignored, for this reason.
pub fn skip(reason: impl Into<String>) -> ! {
    resume_unwind(Box::new(Skip(reason.into())))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panicked; see above")
}

/// Runs the tests that the command line asks for.
#[must_use]
pub fn main(tests: impl IntoIterator<Item = Test>) -> ExitCode {
    let trials = tests.into_iter().map(Test::trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
