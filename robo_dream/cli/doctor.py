"""`robo-dream doctor`: what works on this machine, and how to fix what does not."""

import argparse
import json
import textwrap
from dataclasses import asdict
from pathlib import Path

from robo_dream.runtime.doctor import Check, Status, all_checks

_MARKS = {Status.OK: "ok", Status.ABSENT: "--", Status.FAULTY: "!!", Status.BROKEN: "XX"}

_DESCRIPTION = """\
Tries what robo_dream needs on this machine and says how to fix what does not work: Python, memory, the processor and its speed in fp32,
whether bf16 is worth it, GPU, MuJoCo, rendering (a small scene is really drawn, in a process of its own), extras, cameras, checkpoints."""

_EPILOG = """\
example:
  robo-dream doctor                         a table: ok works, -- optional, !! optional and faulty, XX broken
  robo-dream doctor --json > doctor.json    the same for a program, or to attach to a bug report

The result goes to stdout. Exit code 0 unless something that planning needs is broken (XX), then 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="try to load this checkpoint; default: the released ones")


def run(args: argparse.Namespace) -> int:
    checks = []
    for check in all_checks(args.checkpoint):
        checks.append(check)
        if not args.json:
            print(row(check), flush=True)  # as they come: some take seconds
    broken = [check.name for check in checks if check.status is Status.BROKEN]
    if args.json:
        print(json.dumps({"ok": not broken, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        print(f"\nBroken: {', '.join(broken)}." if broken else "\nEverything that planning needs works.")
    return 1 if broken else 0


def row(check: Check, width: int = 118) -> str:
    """A check as a line of the table, and a second one where there is something to do."""
    indent = " " * 26
    head = f"  {_MARKS[check.status]}  {check.name:<20} "
    lines = [textwrap.fill(check.finding, width, initial_indent=head, subsequent_indent=indent)]
    if check.fix:
        fix = f"-> {check.fix}"
        lines.append(textwrap.fill(fix, width, initial_indent=indent, subsequent_indent=f"{indent}   ", break_on_hyphens=False))
    return "\n".join(lines)
