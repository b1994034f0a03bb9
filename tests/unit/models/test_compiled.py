"""Compiled imagination: the same numbers as plain, whatever the number of rows, and in words where it cannot be."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from small import small_model

from robo_dream.errors import ConfigError
from robo_dream.imagination import Belief
from robo_dream.models import compiled
from robo_dream.models.compiled import Compiled, Plain, RowFunction, padded_rows, precision_here, row_runner
from robo_dream.models.config import Precision

TOLERANCE = 1e-4  # other kernels add in another order
ROUNDING = 0.03  # of what moves, in half precision: 8 bits
PLAIN_AND_COMPILED = """
import torch
from small import small_model
from robo_dream.imagination import Belief
from robo_dream.models.compiled import row_runner
plain, generator = small_model(), torch.Generator().manual_seed(0)
model = plain.running(row_runner(compiled=True))
assert model.dynamics is plain.dynamics
for samples in (3, 5):  # 6 and 10 rows: filled up to 8 and 16
    belief = Belief(torch.randn(2, 256, generator=generator))
    actions = 0.01 * torch.randn(2, samples, 10, 5, generator=generator)
    with torch.inference_mode():
        fast, slow = model.imagine(belief, actions), plain.imagine(belief, actions)
    torch.testing.assert_close(fast.latents, slow.latents, atol=TOLERANCE, rtol=TOLERANCE)
    torch.testing.assert_close(fast.disagreement, slow.disagreement, atol=TOLERANCE, rtol=TOLERANCE)
print(len(model.run._codes), "compiled")
half = plain.running(row_runner(compiled=True, precision="bfloat16"))
with torch.inference_mode():
    rounded, moved = half.imagine(belief, actions), slow.latents - belief.latent[:, None, None]
error = (rounded.latents - slow.latents).norm() / moved.norm()
assert 1e-5 < error < ROUNDING and rounded.latents.dtype == torch.float32, error


def more(rows):
    return (rows + 1,)


torch._dynamo.config.recompile_limit = 2  # of torch's own; 8 unless told otherwise, and a planner has more shapes
with torch.inference_mode():
    for rows in (8, 16, 24, 32):
        assert torch.equal(model.run(more, torch.zeros(rows, 2))[0], torch.ones(rows, 2))


def both(first, second):
    return (first + 2 * second,)


made_there = {}
for mode in (torch.inference_mode, torch.no_grad, torch.inference_mode, torch.no_grad):  # a planner's and the loop's
    with mode():
        made_there[mode] = torch.zeros(8, 2)
        for rows in made_there.values():
            assert torch.equal(model.run(more, rows)[0], torch.ones(8, 2))
            assert torch.equal(model.run(both, rows, rows)[0], torch.zeros(8, 2))  # one tensor, and later two
            assert torch.equal(model.run(both, rows, rows + 1)[0], torch.full((8, 2), 2.0))
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
def test_compiled_imagination_is_plain_imagination(tmp_path: Path) -> None:
    """In a process of its own: the checks of shapes in this one cannot be compiled."""
    code = PLAIN_AND_COMPILED.replace("TOLERANCE", str(TOLERANCE)).replace("ROUNDING", str(ROUNDING))
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": f"{here}:{here.parents[2]}", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "2 compiled\n"


def test_half_precision_rounds_what_is_imagined_and_lets_gradients_through() -> None:
    def product(rows: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor]:
        return (rows @ others.T,)

    rows, others = torch.randn(5, 64, requires_grad=True), torch.randn(7, 64)
    (exact,) = row_runner()(product, rows, others)
    (rounded,) = row_runner(precision="bfloat16")(product, rows, others)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.3, rtol=ROUNDING)
    rounded.sum().backward()
    assert rows.grad is not None and torch.isfinite(rows.grad).all()


def test_where_gradients_are_asked_for_nothing_is_compiled() -> None:
    def twice(rows: torch.Tensor) -> tuple[torch.Tensor]:
        return (2 * rows,)

    runner = Compiled()
    rows = torch.ones(3, 2, requires_grad=True)
    (out,) = runner(twice, rows)
    assert out.requires_grad and not runner._codes


def test_equal_owners_share_the_code_of_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Scaled:
        by: float

        def of(self, rows: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.by * rows,)

    runner, made = Compiled(), []
    monkeypatch.setattr(runner, "_compile", lambda function, *rows: made.append(function) or function)
    with torch.inference_mode():
        outs = [runner(Scaled(by).of, torch.ones(8, 2))[0][0, 0].item() for by in (2.0, 2.0, 3.0)]
    assert outs == [2.0, 2.0, 3.0] and len(made) == 2


@pytest.mark.parametrize(("times_faster", "chosen"), [(0.1, "float32"), (1.0, "float32"), (1.1, "float32"), (3.0, "bfloat16")])
def test_auto_takes_half_precision_only_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, times_faster: float, chosen: str
) -> None:
    now = [0.0]

    def slowed(function: RowFunction, precision: Precision) -> RowFunction:
        def run(*rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
            now[0] += 1.0 if precision == "float32" else 1.0 / times_faster
            return function(*rows)

        return run

    monkeypatch.setattr(compiled.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(compiled, "in_precision", slowed)
    device = torch.device("cpu")
    assert precision_here("auto", device) == chosen
    assert precision_here("float32", device) == "float32" and precision_here("bfloat16", device) == "bfloat16"


def test_steps_that_are_compiled_one_by_one_are_those_of_one_call() -> None:
    """Every number of one unrolled call, in steps whose code another horizon shares."""

    class Stepwise(Plain):
        compiles = True

        def __call__(self, function: RowFunction, *rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
            assert rows[1].shape[1] == 1
            return function(*rows)

    plain, generator = small_model(), torch.Generator().manual_seed(0)
    belief = Belief(torch.randn(2, 256, generator=generator), disagreement=torch.rand(2, generator=generator))
    actions = 0.01 * torch.randn(2, 3, 20, 5, generator=generator)
    with torch.inference_mode():
        at_once, stepwise = plain.imagine(belief, actions), plain.running(Stepwise()).imagine(belief, actions)
    assert stepwise.latents.shape == at_once.latents.shape == (2, 3, 4, 256)
    torch.testing.assert_close(stepwise.latents, at_once.latents, atol=TOLERANCE, rtol=TOLERANCE)
    torch.testing.assert_close(stepwise.disagreement, at_once.disagreement, atol=TOLERANCE, rtol=TOLERANCE)


def test_rows_are_filled_up_to_few_sizes_and_never_by_much() -> None:
    sizes = [padded_rows(num) for num in range(1, 20_000)]
    assert all(num <= size for num, size in enumerate(sizes, 1))
    assert all(size - num < max(8, 0.5 * num) for num, size in enumerate(sizes, 1))
    assert len({size for size in sizes if size <= 1024}) == 8 + 30


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match=r"file/cache.*TORCHINDUCTOR_CACHE_DIR"):
        Compiled()


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="no-such-compiler is not here"):
        Compiled()
