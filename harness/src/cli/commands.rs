//! What each command does.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};

use super::args::{CompareArgs, Format, ListArgs, RunArgs, ServeArgs, UpArgs};
use super::{End, Trouble};
use crate::client::{self, Stack};
use crate::compare;
use crate::live::Progress;
use crate::process::{Program, floor as floor_process, serve as serve_process};
use crate::report::{self, Paint, Report};
use crate::run::{Fleet, Options, drive};
use crate::scenario::{BUILT_IN, Mix, Redis, Scenario, Span};
use crate::verdict;

/// Between a run and the one beside it: the machine comes to rest.
const REST: Duration = Duration::from_secs(1);

pub(super) fn run(args: RunArgs) -> Result<End, Trouble> {
    let options = options(&args)?;
    let progress = Progress::stderr();
    if let Some(seed) = options.scenario.seed() {
        let steps = options.scenario.step.len();
        progress.phase(&format!("{steps} steps are drawn from --seed {seed}"));
    }
    let report = in_runtimes(&progress, async |publishers| {
        runs(&options, args.floor, publishers, &progress).await
    })?;
    if let Some(directory) = &args.report {
        write_report(directory, &report)?;
    }
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&report)?),
        Format::Human => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
            print!("{}", report::table(&report, Paint::for_terminal(terminal)));
        }
    }
    Ok(if report.pass { End::Pass } else { End::Fail })
}

/// Does some work that is over with Ctrl-C, with a second runtime for the clients that only publish.
pub(super) fn in_runtimes<T>(
    progress: &Progress,
    work: impl AsyncFnOnce(&Handle) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let runtime = runtime()?;
    let publishers =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = work(publishers.handle()) => result,
            _ = tokio::signal::ctrl_c() => Err("interrupted; the servers are stopped".into()),
        }
    });
    progress.finish();
    // Whatever still runs is of no more use: clients in the middle of a reconnect, for example.
    runtime.shutdown_background();
    publishers.shutdown_background();
    result
}

async fn runs(
    options: &Options,
    floor: bool,
    publishers: &Handle,
    progress: &Progress,
) -> Result<Report, Trouble> {
    let outcome = drive(options, publishers, progress).await?;
    let floor = if floor {
        progress.phase("the same against the bare write loop");
        tokio::time::sleep(REST).await;
        Some(drive(&beside(options), publishers, progress).await?)
    } else {
        None
    };
    Ok(verdict::report(options, outcome, floor))
}

/// The same scenario for the bare write loop, which speaks ws alone.
fn beside(options: &Options) -> Options {
    let mut beside = Options { program: Program::Floor, targets: Vec::new(), ..options.clone() };
    beside.scenario.instances = 1;
    beside.scenario.redis = Redis::None;
    beside.scenario.transport = Mix::Ws;
    beside.scenario.step.clear();
    for group in &mut beside.scenario.group {
        group.transport = None;
    }
    beside
}

fn options(args: &RunArgs) -> Result<Options, Trouble> {
    let mut scenario = Scenario::load(&args.scenario)?;
    scale(&mut scenario, args.connections, args.duration, args.rate)?;
    if let Some(transport) = args.transport {
        scenario.transport = transport;
        for group in &mut scenario.group {
            group.transport = None;
        }
    }
    let stack = stack(&scenario, args.client)?;
    if stack.only_socketio() {
        only_socketio(&mut scenario, args, stack)?;
    }
    if !args.target.is_empty() && args.instances.is_some() {
        return Err("--instances: no servers are started with --target".into());
    }
    if args.target.is_empty() {
        servers(&mut scenario, args.instances, args.redis.as_ref())?;
    } else if scenario.node.is_some() {
        return Err("--target: the scenario's servers on Node are started by the harness".into());
    } else if scenario.chaos.is_some()
        || scenario.step.iter().any(|step| step.action.needs_cluster())
    {
        return Err(
            "--target: the scenario breaks Redis, which the harness must have started".into()
        );
    }
    match (&mut scenario.chaos, args.seed) {
        (Some(chaos), Some(seed)) => chaos.seed = Some(seed),
        (None, Some(_)) => return Err("--seed: the scenario has no random faults".into()),
        _ => {}
    }
    scenario.draw_chaos();
    Ok(Options {
        scenario,
        stack,
        targets: args.target.clone(),
        program: Program::Serve,
        rest: None,
    })
}

/// What the command line says about the amount of load, put into the scenario.
pub(super) fn scale(
    scenario: &mut Scenario,
    connections: Option<usize>,
    duration: Option<Span>,
    rate: Option<f64>,
) -> Result<(), Trouble> {
    if let Some(connections) = connections {
        if connections == 0 {
            return Err("--connections: must be at least 1".into());
        }
        scenario.connections = connections;
    }
    if let Some(duration) = duration {
        if duration.duration().is_zero() {
            return Err("--duration: must be longer than 0s".into());
        }
        scenario.set_duration(duration);
    }
    if let Some(rate) = rate {
        if !(rate.is_finite() && rate > 0.0 && rate <= 1e6) {
            return Err("--rate: must be more than 0 and at most 1000000".into());
        }
        scenario.set_rate(rate);
    }
    Ok(())
}

/// The client that makes the load.
fn stack(scenario: &Scenario, wanted: Option<Stack>) -> Result<Stack, Trouble> {
    match (wanted, &scenario.node) {
        (Some(stack), _) if let Some(reason) = client::absent(stack) => {
            Err(format!("--client {}: {reason}", stack.as_str()).into())
        }
        (None | Some(Stack::SocketIo), Some(_)) => Ok(Stack::SocketIo),
        (Some(stack), Some(_)) => Err(format!(
            "--client {}: servers on Node know nothing of Tidings, use socketio",
            stack.as_str()
        )
        .into()),
        (Some(Stack::SocketIo), None) if let Some(wild) = scenario.wildcard() => Err(format!(
            "--client socketio: patterns are rooms, which have no wildcards as in {wild:?}"
        )
        .into()),
        (stack, None) => Ok(stack.unwrap_or_default()),
    }
}

fn only_socketio(scenario: &mut Scenario, args: &RunArgs, stack: Stack) -> Result<(), Trouble> {
    let stack = stack.as_str();
    if args.transport.is_some_and(|transport| transport != Mix::SocketIo) {
        return Err(format!("--transport: the client {stack} speaks socketio alone").into());
    }
    if args.floor {
        let text = format!("--floor: the bare write loop speaks ws, which {stack} does not");
        return Err(text.into());
    }
    scenario.transport = Mix::SocketIo;
    for group in &mut scenario.group {
        group.transport = None;
    }
    Ok(())
}

/// What the command line says about servers, put into the scenario.
fn servers(
    scenario: &mut Scenario,
    instances: Option<usize>,
    redis: Option<&Redis>,
) -> Result<(), Trouble> {
    if let Some(redis) = redis {
        scenario.redis = redis.clone();
    }
    match (instances, &scenario.redis) {
        (Some(0), _) => return Err("--instances: must be at least 1".into()),
        (Some(more @ 2..), Redis::None) => {
            return Err(format!(
                "--instances {more}: servers share events by Redis, add --redis cluster"
            )
            .into());
        }
        (Some(instances), _) => scenario.instances = instances,
        (None, Redis::None) if scenario.instances > 1 => {
            return Err(format!(
                "--redis none: the scenario has {} servers, add --instances 1",
                scenario.instances
            )
            .into());
        }
        (None, _) => {}
    }
    if scenario.chaos.is_some() && (scenario.redis != Redis::Cluster || scenario.instances < 2) {
        return Err(
            "--redis, --instances: random faults need --redis cluster and 2 servers or more".into(),
        );
    }
    if let Some(node) = &scenario.node {
        let (servers, redis) = (node.servers, &scenario.redis);
        if scenario.redis == Redis::None {
            return Err(format!("--redis {redis}: servers on Node are joined by Redis").into());
        }
        if servers > scenario.instances {
            let instances = scenario.instances;
            return Err(format!("--instances {instances}: {servers} on Node are among them").into());
        }
    }
    match scenario.step.iter().find(|step| step.action.needs_cluster()) {
        Some(step) if scenario.redis != Redis::Cluster => Err(format!(
            "--redis {}: step {} needs a cluster of the harness",
            scenario.redis,
            step.action.as_str()
        )
        .into()),
        _ => Ok(()),
    }
}

fn write_report(directory: &Path, report: &Report) -> Result<(), Trouble> {
    let failed = |what: &Path, e| format!("--report: cannot write {}: {e}", what.display());
    fs::create_dir_all(directory).map_err(|e| failed(directory, e))?;
    let (json, html) = (directory.join("report.json"), directory.join("report.html"));
    fs::write(&json, serde_json::to_vec_pretty(report)?).map_err(|e| failed(&json, e))?;
    fs::write(&html, report::page(report)).map_err(|e| failed(&html, e))?;
    eprintln!("wrote {} and {}", json.display(), html.display());
    Ok(())
}

pub(super) fn list(args: ListArgs) -> Result<End, Trouble> {
    let mut scenarios = Vec::with_capacity(BUILT_IN.len());
    for (name, _) in BUILT_IN {
        scenarios.push(Scenario::load(name)?);
    }
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&scenarios)?),
        Format::Human => {
            for scenario in scenarios {
                println!(
                    "{:<18}{} connections, {:.0} events/s, {}\n{:<18}{}\n",
                    scenario.name,
                    scenario.connections,
                    scenario.rate(),
                    scenario.duration,
                    "",
                    scenario.about
                );
            }
        }
    }
    Ok(End::Pass)
}

pub(super) fn up(args: UpArgs) -> Result<End, Trouble> {
    let mut scenario = Scenario::load(&args.scenario)?;
    servers(&mut scenario, args.instances, args.redis.as_ref())?;
    runtime()?.block_on(async {
        let mut fleet = Fleet::start(Program::Serve, &scenario).await?;
        for url in (0..fleet.len()).filter_map(|n| fleet.url(n)) {
            println!("{url}");
        }
        eprintln!("running until Ctrl-C");
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    break;
                }
                () = tokio::time::sleep(Duration::from_millis(200)) => {
                    if let Some(end) = fleet.unexpected_ends().pop() {
                        return Err(end.into());
                    }
                }
            }
        }
        fleet.stop().await;
        Ok(End::Pass)
    })
}

pub(super) fn compare(args: &CompareArgs) -> Result<End, Trouble> {
    if !(args.tolerance.is_finite() && args.tolerance >= 0.0) {
        return Err("--tolerance: must be 0 or more".into());
    }
    let comparison =
        compare::compare(&read_report(&args.a)?, &read_report(&args.b)?, args.tolerance / 100.0);
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&comparison)?),
        Format::Human => print!("{}", compare::table(&comparison)),
    }
    Ok(if comparison.regression { End::Fail } else { End::Pass })
}

fn read_report(path: &Path) -> Result<Report, Trouble> {
    let text = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_slice(&text)
        .map_err(|e| format!("{} is not a report of this harness: {e}", path.display()).into())
}

pub(super) fn serve(args: ServeArgs) -> Result<End, Trouble> {
    runtime()?.block_on(serve_process::run(args.listen, &args.settings))?;
    Ok(End::Pass)
}

pub(super) fn floor(args: ServeArgs) -> Result<End, Trouble> {
    floor_process::run(args.listen)?;
    Ok(End::Pass)
}

fn runtime() -> Result<Runtime, Trouble> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
