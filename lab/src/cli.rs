//! The commands of `metallb-lab`.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::Programs;
use crate::entry::{INIT_PID, Inside, Launch, Role, entry, launch};
use crate::home::Home;
use crate::lab::{Lab, Options, log_files};
use crate::router::RouterKind;
use crate::steps::Steps;
use crate::{demo, products};

/// Exists in the home of a lab that is up, and holds what `up` prints.
const READY: &str = "ready";
const READY_WITHIN: Duration = Duration::from_secs(120);

/// What a lab's cluster may be made of, as the command line says it.
pub trait Clusters: Args + Clone {
    /// Plays the part that this process was re-executed for, see [`crate::entry`].
    ///
    /// # Errors
    /// When the part cannot be played.
    fn entry() -> Result<Role> {
        entry()
    }

    /// Runs inside new namespaces, see [`crate::launch`].
    ///
    /// # Errors
    /// When the first process cannot be started.
    fn launch(it: Launch) -> Result<ExitCode> {
        launch(it)
    }

    /// Makes what must be made before a lab starts in `dir`, where its messages are seen; returns the arguments that say
    /// where it is. `foreign` says that pods are to run other programs than what is linked in.
    ///
    /// # Errors
    /// When it cannot be made, or the choices do not fit together.
    fn prepare(&self, dir: &Path, foreign: bool) -> Result<Vec<String>>;

    /// Starts the lab.
    ///
    /// # Errors
    /// When something is missing; the message says what, and how to mend it.
    fn start<'a>(&'a self, inside: Inside, options: &'a Options) -> LocalBoxFuture<'a, Result<Lab>>;
}

/// The lab's own cluster, without any choice.
#[derive(Clone, Copy, Debug, Args)]
pub struct Embedded {}

impl Clusters for Embedded {
    fn prepare(&self, _: &Path, _: bool) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn start<'a>(&'a self, inside: Inside, options: &'a Options) -> LocalBoxFuture<'a, Result<Lab>> {
        Lab::start(inside, options).boxed_local()
    }
}

/// A cluster in a process, for trying and testing MetalLB-rs.
#[derive(Debug, Parser)]
#[command(name = "metallb-lab", version)]
struct Cli<C: Args> {
    #[command(subcommand)]
    command: Task<C>,
}

#[derive(Debug, Subcommand)]
enum Task<C: Args> {
    /// Show MetalLB at work, step by step, and remove everything again.
    Demo(Choices<C>),
    /// Run a cluster with MetalLB until Ctrl-C or `down`.
    Up {
        #[command(flatten)]
        choices: Choices<C>,
        /// Return as soon as the cluster is ready.
        #[arg(long)]
        detach: bool,
        /// Install the operator only: no MetalLB resource, no pools, no Services.
        #[arg(long)]
        bare: bool,
    },
    /// End the cluster that `up` started.
    Down,
    /// Name the log files of the pods.
    Logs,
    /// Run a command inside: in `lab`, `router`, `client` or a node.
    Exec {
        /// lab, router, client, node-1, …
        place: String,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

#[derive(Clone, Debug, Args)]
struct Choices<C: Args> {
    /// A folder of other builds of metallb-operator, metallb-controller and metallb-speaker; those that are linked into
    /// this program when not given.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// The router that the nodes peer with.
    #[arg(long, value_enum, default_value_t)]
    router: RouterKind,
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(crate::topology::MAX_NODES)))]
    nodes: u8,
    /// The loopback port of the API server; any free one when 0.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// What the lab itself logs: error, warn, info, debug or trace.
    #[arg(long, default_value = "warn")]
    log_level: tracing::Level,
    #[command(flatten)]
    clusters: C,
}

impl<C: Clusters> Choices<C> {
    /// Makes what must be made, where its messages are seen; returns the arguments that say where it is.
    fn prepare(&self, dir: &Path) -> Result<Vec<String>> {
        if let Some(dir) = &self.bin_dir {
            products::complete(dir)?;
        }
        self.clusters.prepare(dir, self.bin_dir.is_some())
    }
}

/// Runs the program. Must be called first thing in `main`.
#[must_use]
pub fn main<C: Clusters>() -> ExitCode {
    let ran = C::entry().and_then(|role| match role {
        Role::Outer => outer(&Cli::<C>::parse()),
        Role::Inside(inside) => run_inside::<C>(inside),
        Role::Ended(code) => Ok(code),
    });
    ran.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "metallb-lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn outer<C: Clusters>(cli: &Cli<C>) -> Result<ExitCode> {
    match &cli.command {
        Task::Demo(choices) => {
            let dir = tempfile::Builder::new()
                .prefix("metallb-lab-")
                .tempdir()
                .context("cannot make a work directory")?;
            start(dir.path(), choices)
        }
        Task::Up {
            choices, detach: false, ..
        } => {
            let home = Home::of_this_user();
            home.claim()?;
            let code = start(&home.dir, choices);
            home.remove();
            code
        }
        Task::Up {
            choices, detach: true, ..
        } => detach(choices),
        Task::Down => Home::of_this_user().end().map(|()| ExitCode::SUCCESS),
        Task::Logs => list_logs(Home::of_this_user().dir_of_running()?),
        Task::Exec { place, command } => exec(Home::of_this_user().dir_of_running()?, place, command),
    }
}

fn start<C: Clusters>(dir: &Path, choices: &Choices<C>) -> Result<ExitCode> {
    let made = choices.prepare(dir)?;
    let listener = TcpListener::bind(("127.0.0.1", choices.port)).with_context(|| {
        format!(
            "cannot listen on 127.0.0.1:{}: choose another --port, or 0 for any free one",
            choices.port
        )
    })?;
    C::launch(Launch {
        dir: dir.into(),
        listener,
        args: std::env::args().skip(1).chain(made).collect(),
    })
}

fn run_inside<C: Clusters>(inside: Inside) -> Result<ExitCode> {
    let own = std::iter::once("metallb-lab");
    let cli = Cli::<C>::try_parse_from(own.chain(inside.args.iter().map(String::as_str)))?;
    let (choices, bare) = match cli.command {
        Task::Demo(choices) => (choices, None),
        Task::Up { choices, bare, .. } => (choices, Some(bare)),
        _ => bail!("only demo and up run inside"),
    };
    tracing_subscriber::fmt()
        .with_max_level(choices.log_level)
        .with_writer(std::io::stderr)
        .init();
    let options = Options {
        nodes: choices.nodes,
        router: choices.router,
        ..Options::new(Programs::of(&inside.dir, choices.bin_dir.as_deref())?)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::terminate())?;
        let mut keyboard = signal(SignalKind::interrupt())?;
        let stopped = async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = keyboard.recv() => {}
            }
        };
        match bare {
            None => tokio::select! {
                code = play(inside, &choices.clusters, &options) => code,
                () = stopped => Ok(ExitCode::FAILURE),
            },
            Some(bare) => {
                let ready = inside.dir.join(READY);
                up(choices.clusters.start(inside, &options).await?, &ready, bare, stopped).await
            }
        }
    })
}

async fn play<C: Clusters>(inside: Inside, clusters: &C, options: &Options) -> Result<ExitCode> {
    let dir = inside.dir.clone();
    demo::run(&dir, options.nodes, clusters.start(inside, options)).await
}

async fn up(lab: Lab, ready: &Path, bare: bool, stopped: impl Future<Output = ()>) -> Result<ExitCode> {
    let installing = async {
        install(&lab, bare).await?;
        let text = instructions(&lab);
        print!("{text}");
        fs::write(ready, text)?;
        std::future::pending::<Result<ExitCode>>().await
    };
    let code = tokio::select! {
        failed = installing => failed,
        () = stopped => Ok(ExitCode::SUCCESS),
    };
    lab.stop().await;
    code
}

async fn install(lab: &Lab, bare: bool) -> Result<()> {
    let steps = Steps::new(lab);
    steps.apply_crds().await?;
    steps.install_operator().await?;
    if !bare {
        steps.create_metallb().await?;
        steps.configure().await?;
        steps.start_backends().await?;
        steps.create_services().await?;
    }
    Ok(())
}

fn instructions(lab: &Lab) -> String {
    let kubeconfig = lab.kubeconfig().display();
    format!(
        "The cluster is up; its router is {router}, its logs are in {logs}.

  export KUBECONFIG={kubeconfig}
  kubectl get nodes,pods -A
  kubectl get metallb,ipaddresspools,svc -A
  kubectl describe svc web-layer2

  metallb-lab exec client -- curl -s http://172.30.0.200
  metallb-lab exec router -- ip route
  metallb-lab exec node-1 -- tcpdump -ni eth0 arp
  metallb-lab down
",
        router = lab.router().name(),
        logs = lab.logs().display(),
    )
}

/// Starts `up` again without a terminal, and waits until it is ready.
fn detach<C: Clusters>(choices: &Choices<C>) -> Result<ExitCode> {
    let home = Home::of_this_user();
    if let Some(pid) = home.running() {
        bail!("a lab is already running (process {pid}): `metallb-lab down` ends it");
    }
    let made = choices.prepare(&home.dir)?;
    let mut log = tempfile::tempfile()?;
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1).filter(|arg| arg != "--detach"));
    command.args(made);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.try_clone()?)
        .spawn()?;
    let began = std::time::Instant::now();
    while began.elapsed() < READY_WITHIN {
        if let Ok(text) = fs::read_to_string(home.dir.join(READY)) {
            print!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(status) = child.try_wait()? {
            std::io::Seek::rewind(&mut log)?;
            std::io::copy(&mut log, &mut std::io::stderr())?;
            bail!("the lab ended ({status}) before it was ready");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    home.end()?;
    bail!("the lab was not ready within {READY_WITHIN:?}")
}

fn list_logs(dir: &Path) -> Result<ExitCode> {
    let paths = log_files(dir);
    ensure!(!paths.is_empty(), "no logs yet");
    paths.iter().for_each(|path| println!("{}", path.display()));
    Ok(ExitCode::SUCCESS)
}

fn exec(dir: &Path, place: &str, command: &[OsString]) -> Result<ExitCode> {
    let pid = fs::read_to_string(dir.join(INIT_PID)).context("the lab is still starting")?;
    crate::entry::enter(pid.trim(), &dir.join("netns").join(place), command)
}
