//! The commands of `metallb-lab`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::Programs;
use crate::entry::{INIT_PID, Inside, Launch, Role, entry, launch};
use crate::envtest::Kubernetes;
use crate::home::Home;
use crate::kind::ClusterKind;
use crate::lab::{Lab, Options, log_files};
use crate::real::{self, Proxy};
use crate::router::RouterKind;
use crate::steps::Steps;
use crate::{demo, products};

/// Exists in the home of a lab that is up, and holds what `up` prints.
const READY: &str = "ready";
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A cluster in a process, for trying and testing MetalLB-rs.
#[derive(Debug, Parser)]
#[command(name = "metallb-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show MetalLB at work, step by step, and remove everything again.
    Demo(Choices),
    /// Run a cluster with MetalLB until Ctrl-C or `down`.
    Up {
        #[command(flatten)]
        choices: Choices,
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
struct Choices {
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
    /// What the cluster is made of: all of it in this process, a real control plane with imitated nodes, or real nodes.
    /// Go builds the real programs once, or KUBEBUILDER_ASSETS names them.
    #[arg(long, value_enum, default_value_t)]
    cluster: Kind,
    /// Which Kubernetes `--cluster envtest` is; the newest when not given.
    #[arg(long, value_enum)]
    kubernetes: Option<Kubernetes>,
    /// What kube-proxy forwards with on real nodes; iptables when not given.
    #[arg(long, value_enum)]
    proxy: Option<Proxy>,
    /// The image for real nodes, an OCI archive; built as the Dockerfile does when not given.
    #[arg(long)]
    image: Option<PathBuf>,
    /// The loopback port of the API server; any free one when 0.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// What the lab itself logs: error, warn, info, debug or trace.
    #[arg(long, default_value = "warn")]
    log_level: tracing::Level,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Kind {
    #[default]
    Embedded,
    Envtest,
    Real,
}

impl Choices {
    fn kind(&self) -> Result<ClusterKind> {
        match (self.cluster, self.kubernetes, self.proxy) {
            (Kind::Embedded, None, None) => Ok(ClusterKind::Embedded),
            (Kind::Envtest, version, None) => Ok(ClusterKind::Envtest(version)),
            (Kind::Real, None, proxy) => Ok(ClusterKind::Real(proxy.unwrap_or_default())),
            (Kind::Embedded | Kind::Real, Some(_), _) => bail!("--kubernetes is for --cluster envtest"),
            (_, _, Some(_)) => bail!("--proxy is for --cluster real"),
        }
    }

    /// Builds what must be built, where its messages are seen; returns the image if one is needed.
    fn prepare(&self) -> Result<Option<PathBuf>> {
        let kind = self.kind()?;
        if let Some(dir) = &self.bin_dir {
            products::complete(dir)?;
        }
        ensure!(
            self.bin_dir.is_none() || !matches!(kind, ClusterKind::Real(_)),
            "--bin-dir is for imitated nodes: real ones run an image, see --image"
        );
        kind.prepare()?;
        match (&self.image, kind) {
            (Some(image), ClusterKind::Real(_)) => Ok(Some(image.clone())),
            (None, ClusterKind::Real(_)) => products::image().map(Some),
            (Some(_), _) => bail!("--image is for --cluster real"),
            (None, _) => Ok(None),
        }
    }
}

/// Runs the program. Must be called first thing in `main`.
#[must_use]
pub fn main() -> ExitCode {
    let ran = entry().and_then(|role| match role {
        Role::Outer => outer(&Cli::parse()),
        Role::Inside(inside) => run_inside(inside),
        Role::Ended(code) => Ok(code),
    });
    ran.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "metallb-lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn outer(cli: &Cli) -> Result<ExitCode> {
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
            choices,
            detach: true,
            bare,
        } => detach(choices, *bare),
        Task::Down => Home::of_this_user().end().map(|()| ExitCode::SUCCESS),
        Task::Logs => list_logs(Home::of_this_user().dir_of_running()?),
        Task::Exec { place, command } => exec(Home::of_this_user().dir_of_running()?, place, command),
    }
}

fn start(dir: &Path, choices: &Choices) -> Result<ExitCode> {
    let image = choices.prepare()?;
    if image.is_some() {
        real::refuse_place(dir)?;
    }
    let listener = TcpListener::bind(("127.0.0.1", choices.port)).with_context(|| {
        format!(
            "cannot listen on 127.0.0.1:{}: choose another --port, or 0 for any free one",
            choices.port
        )
    })?;
    launch(Launch {
        dir: dir.into(),
        listener,
        args: std::iter::once(image.map(|path| path.display().to_string()).unwrap_or_default())
            .chain(std::env::args().skip(1))
            .collect(),
    })
}

fn run_inside(mut inside: Inside) -> Result<ExitCode> {
    ensure!(!inside.args.is_empty(), "started without arguments");
    let image = Some(inside.args.remove(0)).filter(|image| !image.is_empty());
    let cli = Cli::try_parse_from(std::iter::once("metallb-lab").chain(inside.args.iter().map(String::as_str)))?;
    let (choices, bare) = match &cli.command {
        Task::Demo(choices) => (choices.clone(), None),
        Task::Up { choices, bare, .. } => (choices.clone(), Some(*bare)),
        other => bail!("{other:?} does not run inside"),
    };
    tracing_subscriber::fmt()
        .with_max_level(choices.log_level)
        .with_writer(std::io::stderr)
        .init();
    let options = Options {
        nodes: choices.nodes,
        router: choices.router,
        cluster: choices.kind()?,
        image: image.map(PathBuf::from),
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
                code = demo::run(inside, &options) => code,
                () = stopped => Ok(ExitCode::FAILURE),
            },
            Some(bare) => up(inside, &options, bare, stopped).await,
        }
    })
}

async fn up(inside: Inside, options: &Options, bare: bool, stopped: impl Future<Output = ()>) -> Result<ExitCode> {
    let ready = inside.dir.join(READY);
    let lab = Lab::start(inside, options).await?;
    let installing = async {
        install(&lab, bare).await?;
        let text = instructions(&lab);
        print!("{text}");
        fs::write(&ready, text)?;
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
fn detach(choices: &Choices, bare: bool) -> Result<ExitCode> {
    let home = Home::of_this_user();
    if let Some(pid) = home.running() {
        bail!("a lab is already running (process {pid}): `metallb-lab down` ends it");
    }
    let image = choices.prepare()?;
    let mut log = tempfile::tempfile()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("up");
    command.args(image.iter().flat_map(|path| [OsStr::new("--image"), path.as_os_str()]));
    command.args(
        choices
            .bin_dir
            .iter()
            .flat_map(|dir| [OsStr::new("--bin-dir"), dir.as_os_str()]),
    );
    command.args([
        "--port",
        &choices.port.to_string(),
        "--nodes",
        &choices.nodes.to_string(),
    ]);
    command.args(["--log-level", &choices.log_level.to_string()]);
    let chosen = [
        ("--router", choices.router.to_possible_value()),
        ("--cluster", choices.cluster.to_possible_value()),
        ("--proxy", choices.proxy.and_then(|proxy| proxy.to_possible_value())),
        (
            "--kubernetes",
            choices.kubernetes.and_then(|version| version.to_possible_value()),
        ),
    ];
    for (flag, value) in chosen {
        command.args(value.iter().flat_map(|value| [flag, value.get_name()]));
    }
    command.args(bare.then_some("--bare"));
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
