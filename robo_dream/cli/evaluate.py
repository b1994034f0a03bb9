"""`robo-dream evaluate`: how often planning succeeds, on frozen held-out pairs, beside the methods that give the figures meaning."""

import argparse
import os
import platform
from datetime import date

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.evaluation.manifest import write_manifest
from robo_dream.evaluation.table import markdown_table
from robo_dream.runtime.environment import build_environment
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts, results_file
from robo_dream.runtime.planner import rollouts_a_decision
from robo_dream.runtime.progress import Bars
from sim.environment import task_named
from sim.pairs import build_manifest

_DESCRIPTION = """\
Runs every method on every pair of the frozen manifests: `zero_action` (the arm holds still), `random`, `policy_alone` (the learned
policy without a search), `planner` (as the checkpoint says, changed by `planning`), `oracle_dynamics` (search and proposals at true poses,
imagined by the true simulator: the ceiling), and the searches that `extra_planners` names, with the planner's costs and proposals. A
pair's outcome depends on nothing but the pair, the method and the seed; stop it and start it again as you like."""

_EPILOG = """\
example:
  robo-dream evaluate --config configs/evaluate/jaco.yaml
  robo-dream evaluate --config configs/evaluate/jaco.yaml tasks='[push]' methods='[planner]' num_pairs=20 out=runs/quick
  robo-dream evaluate --config configs/evaluate/jaco.yaml --make-manifests    (held-out pairs anew; the same seeds give the same file)

Results go to `out`: results.jsonl (a line a pair and method) and table.md, which shows all that was measured there with these settings."""

CONFIG = EvaluateConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("--make-manifests", action="store_true", help="make the pairs of `tasks` anew and stop")
    add_config_arguments(parser, "evaluate")


def run(args: argparse.Namespace) -> int:
    config = load_config(EvaluateConfig, args)
    evaluation = Evaluation.of(config)
    if args.make_manifests:
        return _make_manifests(evaluation)
    evaluation.require()
    file, left = results_file(evaluation)
    num = sum(1 for _ in evaluation.jobs())
    if file.num_other:
        print(f"{file.path} has {file.num_other} results of other settings, code or libraries; they are kept there and left out here.")
    with Bars({}, "evaluating", unit="pair") as bars:
        for done, result in enumerate(attempts(evaluation.config, left), start=num - len(left) + 1):
            file.add(result)
            bars(done, num)
            rates = [other.moderate for other in file.results.values() if (other.task, other.method) == (result.task, result.method)]
            bars.note(f"{result.task} {result.method} {100 * sum(rates) / len(rates):.0f} %")
    results, methods = sorted(file.results.values(), key=lambda one: (evaluation.tasks.index(one.task), one.key)), config.known_methods
    rollouts = {
        (task, name): rollouts_a_decision(evaluation.planning_of(name, task).planner) for task in evaluation.tasks for name in methods
    }
    table = markdown_table(results, methods, rollouts)  # of all that was measured with these settings, in this call or before
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {config.workers} workers, {date.today().isoformat()}"
    (config.out / "table.md").write_text(f"{table}\n\n{where}\n")
    print(f"{table}\n\n{where}\nresults: {config.out}")
    return 0


def _make_manifests(evaluation: Evaluation) -> int:
    with build_environment(evaluation.world) as environment:
        for name in evaluation.tasks:
            task_named(environment, name)
        for name in evaluation.tasks:
            with Bars({}, name, unit="pair") as bars:
                manifest = build_manifest(environment, name, evaluation.config.num_pairs, bars)
            write_manifest(evaluation.path(name), manifest)
            apart = f"{manifest.steps.mean():.0f} steps apart on average"
            print(f"{evaluation.path(name)}: {len(manifest)} pairs, {apart}, {manifest.sha256[:12]}")
    return 0
