"""`robo-dream bench plan`: how long decisions take on this machine, how much work they are, and how both grow."""

import argparse

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.runtime.bench import BenchConfig, bench
from robo_dream.runtime.progress import Bars

_DESCRIPTION = """\
Times decisions of a checkpoint on this machine, plain and compiled, in single and in half precision, and prints p50, p95 and p99 with the
floating-point operations and bytes of each, and what share of the processors a hypervisor gave to other machines meanwhile; then how time
grows with candidates, horizon and problems, and what a very large search needs in memory. What the cameras show is noise: the time does
not depend on it. Nothing else should run meanwhile."""

_EPILOG = """\
example:
  robo-dream bench plan
  robo-dream bench plan decisions=200 compiled='[true]'
  robo-dream bench plan --config configs/bench/plan.yaml device=cuda

The result goes to stdout."""

CONFIG = BenchConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("what", choices=["plan"], help="what is timed")
    add_config_arguments(parser, "bench")


def run(args: argparse.Namespace) -> int:
    config = load_config(BenchConfig, args)
    with Bars({}, "timing", unit="decision") as bars:
        for line in bench(config, bars):
            print(line, flush=True)
    return 0
