"""The command line answers fast, teaches, and never shows a traceback; the README and the configuration files agree with it."""

import importlib
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robo_dream import config
from robo_dream.cli import main
from robo_dream.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*/*.yaml"))
VERB_OF = {"hardware": "run"}  # folders of configs/ that are not named after their verb
MAX_HELP_SECONDS = 0.6  # 0.1 on an idle core; slack for a busy one


def readme_commands(program: str) -> list[str]:
    """The lines of the README's fenced blocks that run `program`, joined where they continue and without prompt or comment."""
    readme = ROOT / "README.md"
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", readme.read_text() if readme.exists() else "", re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.split(" ")[0] == program]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("command", readme_commands("robo-dream"))
def test_a_command_of_the_readme_is_one_that_the_program_takes(command: str) -> None:
    args = main.parse(shlex.split(command, comments=True)[1:])
    module = importlib.import_module(main.module_of(args.verb))
    if getattr(args, "config", None):
        config.load(module.CONFIG, ROOT / args.config, args.overrides)


@pytest.mark.parametrize("command", readme_commands("make"))
def test_a_make_command_of_the_readme_has_a_target(command: str) -> None:
    words = [word for word in shlex.split(command, comments=True)[1:] if "=" not in word]
    assert set(words) <= make_targets()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_configuration_file_loads_as_what_its_verb_wants(path: Path) -> None:
    module = importlib.import_module(f"robo_dream.cli.{VERB_OF.get(path.parent.name, path.parent.name)}")
    loaded = config.load(module.CONFIG, path, ())
    assert config.parse(module.CONFIG, config.dump(loaded), "dump") == loaded


@pytest.mark.parametrize("verb", main.VERBS, ids=lambda verb: verb.name)
def test_the_help_of_a_verb_has_an_example_and_says_where_results_go(verb: main.Verb, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.parse([verb.name, "--help"])
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    examples = [line.strip() for line in shown.splitlines() if line.strip().startswith(f"robo-dream {verb.name}")]
    assert "example" in shown and examples
    assert re.search(r"\b(goes?|writes?|written|leaves?|results?)\b", shown)


@pytest.mark.parametrize("verb", main.VERBS, ids=lambda verb: verb.name)
def test_the_examples_in_the_help_are_commands_that_the_program_takes(verb: main.Verb, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.parse([verb.name, "--help"])
    for line in capsys.readouterr().out.splitlines():
        if line.startswith(f"  robo-dream {verb.name}"):
            command = re.split(r"\s{2,}|[>|#]", line.strip())[0]
            assert main.parse(shlex.split(command)[1:]).verb == verb.name


def test_help_is_fast_and_loads_no_torch() -> None:
    code = "import sys; from robo_dream.cli import main\ntry: main.main(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert done.stdout.splitlines()[-1] == "False" and "doctor" in done.stdout
    assert min(seconds) < MAX_HELP_SECONDS


class Failing:
    """A verb that fails as asked."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def add_arguments(self, parser: object) -> None: ...

    def run(self, args: object) -> int:
        raise self.error


@pytest.mark.parametrize(("error", "code"), [(ConfigError("no such key; did you mean lens?"), 2), (KeyboardInterrupt(), 130)])
def test_an_error_is_one_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    monkeypatch.setattr(main.importlib, "import_module", lambda name: Failing(error))
    assert main.main(["doctor"]) == code
    assert capsys.readouterr().err == f"robo-dream doctor: {str(error) or 'interrupted'}\n"
    with pytest.raises(type(error)):
        main.main(["doctor", "--debug"])


@pytest.mark.parametrize("words", [["doctor", "--jsn"], ["doctor", "lens=1"], ["diagnose"], []])
def test_a_wrong_command_line_is_refused_with_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.parse(words)
    assert caught.value.code == 2 and "usage: robo-dream" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_any_other_failure_of_the_system_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(path: str) -> None:
        with open(path, "wb", buffering=0) as file:
            file.write(b"a result")

    module = importlib.import_module("robo_dream.cli.doctor")
    monkeypatch.setattr(module, "run", lambda _: write("/dev/full"))  # answers every write as a full disk does
    assert main.main(["doctor"]) == 1
    assert re.fullmatch(r"robo-dream doctor: the disk is full.*make room.*\n", capsys.readouterr().err)
    monkeypatch.setattr(module, "run", lambda _: write("/nowhere/at/all"))
    with pytest.raises(FileNotFoundError):
        main.main(["doctor"])


def test_a_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    module = importlib.import_module("robo_dream.cli.doctor")
    for path in ("/dev/null/runs", str(tmp_path / "file" / "runs"), "/proc/runs", str(tmp_path / ("x" * 300))):
        monkeypatch.setattr(module, "run", lambda _, path=path: Path(path).mkdir())
        try:
            Path(path).mkdir()
        except FileNotFoundError:  # where /proc takes no name at all
            continue
        except OSError as error:
            assert main.main(["doctor"]) == 2
            assert capsys.readouterr().err == f"robo-dream doctor: {path} cannot be used: {error.strerror}; give another place\n"


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(main.importlib, "import_module", lambda name: Failing(MemoryError()))
    assert main.main(["doctor"]) == 1
    assert re.fullmatch(r"robo-dream doctor: .*more memory.*\n", capsys.readouterr().err)


def test_a_line_is_red_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from robo_dream.cli.run import in_red

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert in_red("beyond") == "beyond"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert in_red("beyond") == "\033[31mbeyond\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert in_red("beyond") == "beyond"
