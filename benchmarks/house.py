"""Measures the house: how large the code is, how tangled, and how far a reader follows one picture to one action.

    python benchmarks/house.py                                      # prints the figures of this tree
    python benchmarks/house.py --before /tmp/base --write           # beside an older tree, into docs/results/house.json
    python benchmarks/house.py --duplicate-pairs 12 --duplicate-pairs-before 40 --before /tmp/base --write

`files`, `lines`: tracked Python files of robo_dream, sim and hardware, and their lines; by folder as `files/FOLDER`, `lines/FOLDER`.
`readme_lines`: lines of README.md. `import_circles`: groups of modules that import each other in a ring, imports in functions included.
`files_picture_to_action`: project files with a function that is executed, in the loop's own thread, from the reading of the first camera to
the return of the arm's `send`, in a control step of `robo-dream plan` in which a decision is made (the last of a few; the files of all that
imagines, scores, guards and records on the way); by folder as `files_picture_to_action/FOLDER`.
`files_episode_to_checkpoint`: project files with a function that is executed in the process of `robo-dream train`, command line included,
from a tiny dataset to the written checkpoint.
`duplicate_pairs` comes from a tool outside of the repository and is handed in. An older tree's figures end in `_before`.
"""

import argparse
import ast
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("robo_dream", "sim", "hardware")
_PROGRAMS = ("robo_dream.cli.main", "robo_dream.apps.main")  # now and before
RESULT = ROOT / "docs" / "results" / "house.json"

_TRACER = """
import importlib, inspect, sys, threading
tree, program, what, *arguments = sys.argv[1:]
places = tuple(f"{tree}/{package}/" for package in ("robo_dream", "sim", "hardware"))
window, depth, has_decided, steps, seen = None, 0, False, [], set()

def profile(frame, event, _):
    global window, depth, has_decided
    if event not in ("call", "return"):
        return
    code = frame.f_code
    is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")  # not a class that is being made
    if not is_function or not code.co_filename.startswith(places):
        return
    if event == "call":
        seen.add(code.co_filename)
    owner, _, name = code.co_qualname.rpartition(".")
    if event == "call" and window is None and owner.endswith("Camera") and name == "read":
        window, has_decided = set(), False
    if window is None:
        return
    window.add(code.co_filename)
    has_decided |= "Planner" in owner and name == "plan"
    if owner.endswith("Arm") and name == "send":
        depth += 1 if event == "call" else -1
        if event == "return" and depth == 0:
            if has_decided:
                steps.append(window)
            window = None

main = importlib.import_module(program).main
if what == "train":
    threading.setprofile(profile)
sys.setprofile(profile)
code = main(arguments)
sys.setprofile(None)
if what != "train" and not steps:
    sys.exit("no control step was seen that reads a Camera, asks a Planner and sends to an Arm; see the names in the tracer")
found = seen if what == "train" else steps[-1]
sys.stderr.flush()
print("\\nFILES", *sorted(file[len(tree) + 1:] for file in found))
sys.exit(code)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of an older tree")
    parser.add_argument("--duplicate-pairs", type=int)
    parser.add_argument("--duplicate-pairs-before", type=int)
    parser.add_argument("--names", action="store_true", help="print the files on the way, too")
    parser.add_argument("--write", action="store_true", help="write docs/results/house.json")
    args = parser.parse_args()
    figures: dict[str, object] = {
        "_commit": _git(ROOT, "rev-parse", "--short", "HEAD").strip(),
        "_date": datetime.now(UTC).date().isoformat(),
        "_command": "python " + " ".join(sys.argv),
        "_machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "_gflops": None,  # nothing here depends on it
    }
    if args.before is not None:
        figures["_commit_before"] = _git(args.before, "rev-parse", "--short", "HEAD").strip()
    trees = {"": (ROOT, args.duplicate_pairs), "_before": (args.before, args.duplicate_pairs_before)}
    for suffix, (tree, pairs) in trees.items():
        if tree is None:
            continue
        measured = {**sizes(tree), "import_circles": len(import_circles(tree)), **ways(tree, args.names)}
        if pairs is not None:
            measured["duplicate_pairs"] = pairs
        for name, value in measured.items():
            stem, slash, folder = name.partition("/")
            figures[f"{stem}{suffix}{slash}{folder}"] = value
    text = json.dumps(figures, indent=1) + "\n"
    if args.write:
        RESULT.write_text(text, encoding="utf-8")
    print(text)
    return 0


def sources(tree: Path) -> list[Path]:
    """The tracked Python files of the three packages."""
    return [tree / name for name in _git(tree, "ls-files", "*.py").splitlines() if name.split("/")[0] in PACKAGES]


def sizes(tree: Path) -> dict[str, int]:
    """Files and lines, in all and by folder (two levels deep), and lines of README.md."""
    lines = {file: file.read_text(encoding="utf-8").count("\n") for file in sources(tree)}
    by_files, by_lines = Counter(), Counter()
    for file, number in lines.items():
        inside = file.relative_to(tree)
        folder = "/".join(inside.parts[: min(2, len(inside.parts) - 1)])
        by_files[folder] += 1
        by_lines[folder] += number
    return {
        "files": len(lines),
        "lines": sum(lines.values()),
        "readme_lines": (tree / "README.md").read_text(encoding="utf-8").count("\n"),
        **{f"files/{folder}": number for folder, number in sorted(by_files.items())},
        **{f"lines/{folder}": number for folder, number in sorted(by_lines.items())},
    }


def import_circles(tree: Path) -> list[list[str]]:
    """Groups of modules that reach each other by imports, wherever the imports stand; a package's own file is left out."""
    modules = {".".join(file.relative_to(tree).with_suffix("").parts): file for file in sources(tree) if file.name != "__init__.py"}
    imports = {module: _imported(file) & modules.keys() - {module} for module, file in modules.items()}
    reached = {module: _reachable(module, imports) for module in modules}
    circles, placed = [], set[str]()
    for module in modules:
        if module in placed or module not in reached[module]:
            continue
        circle = sorted(other for other in reached[module] if module in reached[other])
        placed |= set(circle)
        circles.append(circle)
    return circles


def _imported(file: Path) -> set[str]:
    """Every name that may be a module."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _reachable(start: str, imports: dict[str, set[str]]) -> set[str]:
    """What `start` imports, directly or not; itself only where it is in a circle."""
    found, queue = set[str](), [start]
    while queue:
        for module in imports[queue.pop()] - found:
            found.add(module)
            queue.append(module)
    return found


def ways(tree: Path, names: bool = False) -> dict[str, int]:
    """How many files are on the way from a picture to an action, and from an episode to a checkpoint."""
    with tempfile.TemporaryDirectory() as scratch:
        data, cache, out = (Path(scratch) / name for name in ("data", "cache", "out"))
        plan = ["plan", "--config", "configs/plan/demo.yaml", "task=push", "goals=drawn", "loop.max_steps=11", f"out={out}"]
        action = _traced(tree, "plan", plan)
        _run(tree, "collect", ["collect", "--config", "configs/collect/jaco_tiny.yaml", "num_episodes=8", f"out={data}"])
        steps = ["training.representation.steps=4", "training.dream.steps=4", "training.dream.decoder_steps=2"]
        places = [f"datasets=[{data}]", f"cache={cache}", f"out={out}", "strips=1"]
        train = ["train", "--config", "configs/train/jaco_tiny.yaml", *places, *steps]
        checkpoint = _traced(tree, "train", train)
    if names:
        for title, files in (("from a picture to an action", action), ("from an episode to a checkpoint", checkpoint)):
            print(f"{tree}, {title}:", *files, sep="\n  ", file=sys.stderr)
    folders = Counter(_folder(file) for file in action)
    return {
        "files_picture_to_action": len(action),
        "files_episode_to_checkpoint": len(checkpoint),
        **{f"files_picture_to_action/{folder}": number for folder, number in sorted(folders.items())},
    }


def _folder(file: str) -> str:
    """Of robo_dream the folder, of the others the package."""
    package, *inside = file.split("/")[:-1]
    return "/".join([package, *inside[:1]]) if package == "robo_dream" else package


def _traced(tree: Path, what: str, arguments: list[str]) -> list[str]:
    """The files that a verb's functions are in, as the tracer above counts them."""
    return next(line.split()[1:] for line in _run(tree, what, arguments).splitlines() if line.startswith("FILES"))


def _run(tree: Path, what: str, arguments: list[str]) -> str:
    program = next(name for name in _PROGRAMS if (tree / f"{name.replace('.', '/')}.py").is_file())
    traced = ["-c", _TRACER, str(tree.resolve()), program, what]
    way = ["-m", program] if what == "collect" else traced  # the workers of collect are processes
    command = [sys.executable, *way, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve()), "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} in {tree} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _git(tree: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(tree), *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
