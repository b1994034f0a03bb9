"""stable-worldmodel 0.1.1 in an environment of its own, and processes there that answer line by line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "runs/stable_worldmodel_env"
VERSION = "0.1.1"
TRAINING = "0.1.8"  # of stable-pretraining: encoder, optimiser and schedule of their training scripts
UNDECLARED = ("opencv-python-headless", "imageio")  # imported by the package, declared only by its extras


class Side:
    """A process in the other environment: a line of JSON in, a line of JSON out; between them it waits without computing.

    `about` is the line that it says unasked, once it is ready.
    """

    def __init__(self, python: Path, script: str, *arguments: str) -> None:
        command = [str(python), "-W", "ignore", str(Path(__file__).with_name(script)), *arguments]
        kept = {"TORCHINDUCTOR_CACHE_DIR": str(python.parents[1] / "inductor")}  # so that only the first run compiles
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **kept})
        self.about = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def ask(self, **wanted: Any) -> dict[str, Any]:
        """The answer; raises `RuntimeError` with what it ended in."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"their side ended with status {self._process.wait()}; what it said stands above")
        return json.loads(line)


def environment(folder: Path) -> Path:
    """The interpreter of an environment with stable-worldmodel and what it trains with, made in `folder` where there is none yet."""
    python = folder / "bin/python"
    ours = torch.__version__.partition("+")[0]
    wanted = {"stable-worldmodel": VERSION, "torch": ours, "stable-pretraining": TRAINING}
    if python.exists() and _versions(python, list(wanted)) == list(wanted.values()):
        return python
    print(f"Making an environment with stable-worldmodel {VERSION} in {folder} (some minutes, once) ...", flush=True)
    _run([sys.executable, "-m", "venv", str(folder)], "no environment could be made; Debian has it in python3-venv")
    pip = [str(python), "-m", "pip", "install", "--quiet", f"--constraint={ROOT / 'configs/constraints.txt'}"]
    hint = "pip could not install it: is there a network, or an index in PIP_INDEX_URL, PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS?"
    theirs = [f"stable-worldmodel[train]=={VERSION}", f"stable-pretraining=={TRAINING}", *UNDECLARED]
    for packages in ([f"torch=={ours}"], [f"torch=={ours}", *theirs]):
        _run([*pip, *packages], hint)
    return python


def _versions(python: Path, packages: list[str]) -> list[str]:
    """Of those packages, without what stands after a +; empty when one is missing."""
    code = "import sys; from importlib.metadata import version as v; print(*[v(name) for name in sys.argv[1:]])"
    found = subprocess.run([str(python), "-c", code, *packages], capture_output=True, text=True, check=False).stdout.split()
    return [version.partition("+")[0] for version in found]


def _run(command: list[str], hint: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise SystemExit(f"{tail}\n{' '.join(command)}\nended with status {done.returncode}; {hint}")
