"""Evaluate a policy in simulated real time: task success, with its uncertainty, under a latency."""

import platform
import sys
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlatency.experiments.parallel.open_engine import EngineName
from vlatency.experiments.shared import command

if TYPE_CHECKING:
    from vlatency.experiments.evaluation.episodes import Facts
    from vlatency.experiments.evaluation.run_folder import RunFolder
    from vlatency.experiments.evaluation.setting import Setting
    from vlatency.experiments.parallel.engine import Engine

RUNS = Path("runs")
FILM_ORDER = ("async", "sync", "pause")


@dataclass(frozen=True)
class Args:
    """Run a vision-language-action policy on a pick task in simulated real time, and say how often it succeeds.

    What decides a result is the seed and these options, never how fast the machine is.
    """

    task: str = "static"
    """Pick task: static, shape, small, clutter, occluded, conveyor, turntable, disturbed, switched."""
    speed: float | None = None
    """conveyor, turntable: speed of the belt or of the rim [m/s], instead of one drawn for each episode."""
    views: int = 3
    """Use the first N of the cameras top, wrist, front, left, right."""
    cameras: str = ""
    """Use these cameras instead, joined by commas: top,front."""
    res: str = "224"
    """What the encoder gets of each 640x360 view: 224 for 224x224, or WIDTHxHEIGHT."""
    encoding: str = "batched"
    """All views in one sequence (joint), one sequence a view side by side (batched), one call a view one after the
    other (separate), or each on a CUDA stream of its own (streams)."""
    pool: str = "attention"
    """How the views' features are combined: mean, max, attention."""
    attention: str = "sdpa"
    """Attention kernel: eager, sdpa; on CUDA also varlen, flash_attention_2, flash_attention_4."""
    quant: str = "none"
    """Linear layers with fewer bits: none, bnb-int8, bnb-nf4, int8-dynamic, fp8."""
    compile: str = "none"
    """How the encode is launched: none (kernel by kernel); cuda-graph (recorded once); compile (torch.compile writes
    new kernels; on CUDA these are recorded, too)."""
    shortcuts: str = ""
    """Work saved without changing what is computed, joined by commas: prefix (text before the views is read once),
    fused (projections of the same input are one product), device-views (views are resized where the policy runs)."""
    preset: str = ""
    """fast: attention varlen, quant fp8, compile compile and all shortcuts, where these options are left out;
    expected to be the fastest on an H100, not measured."""
    mode: str = "all"
    """pause (the world stops while the model thinks), sync, async, several joined by commas, or all."""
    reuse: str = "latest"
    """async: encode again as soon as the last encode is done (latest), every K control ticks (K), when the fingers
    stop, the force jumps or the instruction changes (event; event:K also every K ticks), just in time for the control
    tick that serves it first (deadline; deadline:MARGIN_MS), or as soon as the last one is done, but the wrist view
    always and each static view at every third encode (stagger; stagger:N at every N-th)."""
    execution: str = "hold"
    """What becomes of a chunk: hold its first set-point; carry it out, then think again (chunk); carry it out until the
    next one arrives, from its start (switch), without what is past (delay-aware), averaged with the older ones
    (ensemble), with the hand rolled forward for the head (roll-forward), or sampled to continue the last one
    (rtc; --head flow). With :N behind: N set-points of a chunk, or the head at every N-th control tick."""
    head: str = "regression"
    """What turns features into chunks: the head that states one (regression) or the one that samples (flow)."""
    latency: str = "insertion_vla"
    """What the clock charges: none, fixed:VL_MS,HEAD_MS, a profile (a name in assets/latency or a path), or a device's
    best, modelled (roofline:DEVICE)."""
    perf_factor: float = 1.0
    """Multiply every latency: 0.5 is a device twice as fast."""
    servers: str = "two"
    """Encoder and head: each on its own GPU (two), both on one (shared), there with priority for the head
    (shared-priority)."""
    camera_hz: float = 0.0
    """Frame rate of free-running cameras [Hz]; 0: they expose when an encode wants views."""
    camera_phase_ms: float = 0.0
    """Their first exposure [ms]."""
    camera_delay_ms: float = 0.0
    """From exposure until the images are with the encoder [ms]."""
    actuation_ms: float = 0.0
    """From the end of the head until its command takes effect [ms]."""
    late: str = "apply"
    """async: what happens to a command that comes after the next control tick: apply, or drop."""
    control_hz: float = 10.0
    """Control ticks a second of simulated time [Hz]."""
    episodes: int = 20
    """Episodes of each mode, on the same seeds."""
    seed: int = 10_000
    """Seed of the first episode, below 1000000, where the training seeds begin."""
    model: str = ""
    """The policy that ships for this model: tiny, tiny-s; qwen2-vl-2b, qwen2.5-vl-3b, qwen2.5-vl-7b, qwen3-vl-2b need
    a --policy trained on them instead, which itself says which model it has."""
    policy: str = "tiny"
    """A policy in assets/policies, or the folder of another one."""
    workers: int = 0
    """Processes; 0 takes one a CPU core. Results do not depend on it."""
    engine: EngineName = "local"
    """Where episodes run: processes here (local), or a Ray cluster (ray), each of whose nodes needs this checkout at
    the same path, installed, and for --videos and --trace the folder of the run. Results do not depend on it."""
    address: str = ""
    """--engine ray: host:port of the cluster, on a node of which this runs; default is one of this machine alone."""
    batch: int = 1
    """Episodes that advance together in a worker and share forward passes on a GPU. On a CPU nothing is gained:
    there the policy answers one by one. Rows are kept when their batch is done."""
    device: str = "cpu"
    """Where the policy runs: cpu, whose results are the same on every batch size and host, or cuda."""
    videos: int = 2
    """Film so many episodes, successes and failures in turn."""
    trace: bool = False
    """Write a timeline of each episode that is run now to traces/, for https://ui.perfetto.dev."""
    out: str = ""
    """Folder of this run; default is runs/NAME with a name made from these options."""
    resume: bool = False
    """Continue the run in that folder (or raise its --episodes)."""
    blackout: bool = False
    """Control: the policy sees black images."""
    swap_instruction: bool = False
    """Control: the policy is told another object of the scene, and the row says which one it lifted."""


def main(args: Args) -> None:
    """Check everything, run what is missing, write and print the summary."""
    # Imported here, so that --help answers at once.
    from vlatency.experiments.evaluation.episodes import Job, probe
    from vlatency.experiments.evaluation.run_folder import RunFolder, find_run
    from vlatency.experiments.parallel.open_engine import open_engine
    from vlatency.experiments.reporting import run_summary
    from vlatency.experiments.reporting.run_header import header

    setting, policy = resolve(args)
    out = Path(args.out) if args.out else None
    place = find_run(out, RUNS, setting.name, setting.as_json(), args.episodes, args.resume)
    with open_engine(args.engine, args.address, args.workers, gpu=setting.device == "cuda") as workers:
        # A worker opens the world and loads the policy, so that what is wrong with them is said before we write.
        facts = workers.call(probe, Job(setting, str(policy), setting.modes[0], setting.seed))
        config = describe(setting, policy, facts) | {"episodes": args.episodes}
        if isinstance(place, RunFolder):
            place.extend(args.episodes)
            _warn_of_changes(place.config, config)
        folder = place if isinstance(place, RunFolder) else RunFolder.create(place, config)
        print("\n".join(header(config)), flush=True)
        _run_missing(workers, folder, setting, str(policy), args.trace, args.batch)
        _film(workers, folder, setting, str(policy), args.videos)
    run_summary.write_summary(folder.path, folder.config, folder.rows)
    print(f"\n{run_summary.text(folder.config, folder.rows)}")
    print(_closing(folder))


def resolve(args: Args) -> tuple["Setting", Path]:
    """The setting that the options ask for, and the policy's folder. UsageError if one of them is wrong."""
    from vlatency.agent.optimization import Optimization, check_device, parse_res, with_preset
    from vlatency.agent.realtime.cost.latency import parse_latency
    from vlatency.agent.realtime.execution import parse_execution
    from vlatency.agent.realtime.reuse import parse_reuse
    from vlatency.agent.realtime.robot_timing import Rig
    from vlatency.agent.realtime.servers import parse_servers
    from vlatency.experiments.evaluation import setting
    from vlatency.sim.errors import UsageError

    command.check_range("episodes", args.episodes, 1)
    command.check_range("batch", args.batch, 1)
    setting.check_device(args.device)
    command.check_range("videos", args.videos, 0)
    command.check_range("seed", args.seed, 0, setting.FIRST_TRAINING_SEED - args.episodes)
    command.check_range("control-hz", args.control_hz, setting.MIN_CONTROL_HZ, setting.MAX_CONTROL_HZ)
    reuse = parse_reuse(args.reuse)
    head = setting.parse_head(args.head, parse_execution(args.execution))
    rig = Rig(args.camera_hz, args.camera_phase_ms, args.camera_delay_ms, args.actuation_ms, args.late)
    width, height = parse_res(args.res)
    cameras = setting.parse_cameras(args.cameras, args.views)
    shortcuts = tuple(args.shortcuts.split(",")) if args.shortcuts else ()
    optimization = Optimization(  # it checks
        cameras,
        width,
        height,
        args.encoding,  # type: ignore[arg-type]
        args.pool,  # type: ignore[arg-type]
        args.attention,  # type: ignore[arg-type]
        args.quant,  # type: ignore[arg-type]
        args.compile,  # type: ignore[arg-type]
        shortcuts,  # type: ignore[arg-type]
    )
    optimization = with_preset(optimization, args.preset) if args.preset else optimization
    check_device(optimization, args.device)
    setting.check_reuse(reuse, optimization)
    latency = parse_latency(args.latency, optimization, args.perf_factor)
    parse_servers(args.servers, latency.contention)
    modes = setting.parse_modes(args.mode)
    if args.model and args.policy != Args.policy:
        raise UsageError("give --model or --policy, not both: the folder of a policy says which model it has")
    policy = setting.find_policy_of(args.model) if args.model else setting.find_policy(args.policy)
    resolved = setting.Setting(
        task=args.task,
        optimization=optimization,
        modes=modes,
        reuse=args.reuse,
        latency=args.latency,
        vl_ms=latency.vl_ms,
        head_ms=latency.head_ms,
        control_hz=args.control_hz,
        seed=args.seed,
        policy_sha256=setting.hash_policy(policy),
        blackout=args.blackout,
        swap_instruction=args.swap_instruction,
        execution=args.execution,
        servers=args.servers,
        perf_factor=args.perf_factor,
        rig=rig,
        speed=args.speed,
        device=args.device,
        head=head,
    )
    return resolved, policy


def describe(setting: "Setting", policy: Path, facts: "Facts") -> dict[str, Any]:
    """What config.json holds, beside the number of episodes."""
    from dataclasses import asdict

    from vlatency.experiments.shared import provenance

    return {
        "name": setting.name,
        "hash": setting.hash,
        "setting": setting.as_json(),
        "command": provenance.command_line(sys.argv),
        "instruction": facts.instruction,
        "camera_px": facts.camera_px,
        "policy": {"folder": str(policy), "parameters": facts.parameters, "stand_in": facts.stand_in},
        "feature_error": facts.feature_error,
        "latency": setting.latency_model.describe(),
        "charged": asdict(setting.latency_model.charged),
        "gl_renderer": facts.gl_renderer,
        "machine": {"cores": provenance.cores(), "platform": platform.platform()},
        "versions": provenance.versions(),
        "git_revision": provenance.git_revision(),
    }


def _warn_of_changes(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Say that a run goes on under other software than it began with: its episodes may not repeat there."""
    changed = [key for key in ("versions", "git_revision", "gl_renderer") if then.get(key) != now[key]]
    if changed:
        print(f"warning: {', '.join(changed)} changed since this run began; see its config.json", file=sys.stderr)


def _run_missing(
    workers: "Engine", folder: "RunFolder", setting: "Setting", policy: str, trace: bool, batch: int
) -> None:
    """Run the episodes that have no row yet, and append their rows in order: mode by mode, seed by seed."""
    from vlatency.experiments.evaluation.episodes import Job, run_together
    from vlatency.experiments.evaluation.run_folder import TRACES
    from vlatency.experiments.shared.progress import bars

    def job(mode: str, seed: int) -> Job:
        path = str(folder.path / TRACES / f"{mode}-{seed}.json") if trace else None
        return Job(setting, policy, mode, seed, trace=path)

    done = {(row["mode"], row["seed"]) for row in folder.rows}
    seeds = range(setting.seed, setting.seed + folder.config["episodes"])
    jobs = [job(mode, seed) for mode in setting.modes for seed in seeds if (mode, seed) not in done]
    with bars() as progress:
        for mode in setting.modes:
            progress.add(mode, len(seeds), len(seeds) - sum(missing.mode == mode for missing in jobs))
        for rows in workers.map(run_together, [jobs[start : start + batch] for start in range(0, len(jobs), batch)]):
            for row in rows:
                folder.append(row)
                progress.advance(row["mode"])


def choose_films(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The rows of the episodes to film: success, failure, success, ..., the modes in turn.

    Async comes first, because there the timeline has most to show; within a mode the lowest seeds do.
    """
    rows = sorted(rows, key=lambda row: row["seed"])
    queues = []
    for success in (True, False):
        kinds = [[row for row in rows if row["mode"] == mode and row["success"] is success] for mode in FILM_ORDER]
        queues.append([row for turn in zip_longest(*kinds) for row in turn if row])
    return [row for turn in zip_longest(*queues) for row in turn if row][:count]


def _film(workers: "Engine", folder: "RunFolder", setting: "Setting", policy: str, count: int) -> None:
    """Run the chosen episodes once more, from their seeds, under film."""
    from vlatency.experiments.evaluation.episodes import Job, run
    from vlatency.experiments.evaluation.run_folder import VIDEOS
    from vlatency.experiments.shared.progress import bars

    wanted = {}
    for row in choose_films(folder.rows, count):
        outcome = "success" if row["success"] else "failure"
        path = folder.path / VIDEOS / f"{row['mode']}-{row['seed']}-{outcome}.mp4"
        if not path.exists():
            wanted[path] = row
    if not wanted:
        return
    jobs = [Job(setting, policy, row["mode"], row["seed"], str(path)) for path, row in wanted.items()]
    with bars() as progress:
        progress.add("film", len(jobs))
        for again, row in zip(workers.map(run, jobs), wanted.values(), strict=True):
            progress.advance("film")
            if again["trajectory_hash"] != row["trajectory_hash"]:
                print(f"warning: {row['mode']}, seed {row['seed']} did not repeat when filmed", file=sys.stderr)


def _closing(folder: "RunFolder") -> str:
    """Where the results are, and what to type next."""
    from vlatency.experiments.evaluation.run_folder import EPISODES, SUMMARY_JSON, SUMMARY_MD, TRACES, VIDEOS
    from vlatency.experiments.shared import provenance

    films = len(list((folder.path / VIDEOS).glob("*.mp4")))
    traces = len(list((folder.path / TRACES).glob("*.json")))
    more = provenance.with_episodes(sys.argv, 10 * folder.config["episodes"])
    return (
        f"{folder.path}/  {SUMMARY_MD} · {SUMMARY_JSON} · {EPISODES}{f' · {VIDEOS}/ ({films})' if films else ''}"
        f"{f' · {TRACES}/ ({traces})' if traces else ''}\n"
        f"next: {more}     python experiments/report.py {folder.path}"
    )


if __name__ == "__main__":
    command.run(main, Args)
