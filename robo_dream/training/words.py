"""A later stage, on a finished model: goals in words (`GoalWords`). Nothing else is learned.

What happened in recordings says what could have been asked: two times at which things lay still, as the model itself believes, and what
was elsewhere at the second. (Hindsight: Andrychowicz et al. 2017, arXiv 1707.01495; in words: Chan et al. 2019, arXiv 1902.04546.)
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ConfigError, DataError
from robo_dream.models import checkpoint
from robo_dream.models.config import WordsSize, require_words
from robo_dream.models.heads import GRIPPER
from robo_dream.models.words import TextEncoder, plain, strangeness, text_encoder
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import TrainingConfig, WordsStage
from robo_dream.training.frames import Frames
from robo_dream.training.inspection import require_fitting
from robo_dream.training.instructions import RELATIONS, Asked, asked_in_hindsight, holds, said
from robo_dream.training.latents import encode_frames
from robo_dream.training.stage import MetricsLog, OnProgress, TrainingRun, run_stage, stage_of

STAGE = "words"
MODEL_FILE = "model.safetensors"
_CHANGED, _REFUSED = 2000, 0.95  # texts in which one word was replaced, and the share of them that is refused
_SAYS_SOMETHING = 6.0  # length of the vector of such a word
_GAP = 0.02  # quantile of how far apart things lay, nearer than which none is put
_TRIED = 8  # texts of each kind, of each thing that was asked for in held-out episodes


@dataclass(frozen=True)
class Heard:
    """One row for each text, or kind of text, and each move that it fits: where things lay before and after; metres."""

    kinds: tuple[tuple[str, ...], ...]  # texts that mean the same
    kind: np.ndarray  # of each row
    before: Float[np.ndarray, "row thing 3"]
    after: Float[np.ndarray, "row thing 3"]
    asked: tuple[Asked | None, ...] = ()  # of each kind; None: a text of the recording's own


def scenes_at_rest(
    model: LatentVideoModel, cache: Frames, latents: Float[Tensor, "frame channel"], stage: WordsStage
) -> list[list[Float[np.ndarray, "thing 3"]]]:
    """Of each episode, where things lay whenever they lay still and the gripper was open, as the model believes; the same once."""
    with torch.no_grad():
        pos = model.poses(latents).object_pos.cpu().numpy()
    closure, found = np.asarray(cache.proprio)[:, GRIPPER], []
    for first, end in itertools.pairwise(np.asarray(cache.episode_starts, np.int64)):
        looks = np.arange(first, end, cache.picture_every)
        steps = np.linalg.norm(np.diff(pos[looks], axis=0), axis=-1).max(-1)
        calm = (closure[looks] < stage.open_below) & (np.maximum(np.append(steps, 0.0), np.insert(steps, 0, 0.0)) < stage.says.still)
        spans = np.flatnonzero(np.diff(calm, prepend=False, append=False)).reshape(-1, 2)
        scenes: list[np.ndarray] = []
        for begin, stop in spans[spans[:, 1] - spans[:, 0] > 1]:
            scene = np.median(pos[looks[begin:stop]], axis=0)
            if not scenes or np.linalg.norm(scene - scenes[-1], axis=-1).max() > stage.says.still:
                scenes.append(scene)
        found.append(scenes)
    return found


def heard_in(scenes: Sequence[Sequence[np.ndarray]], tasks: Sequence[str], stage: WordsStage) -> Heard:
    """What could have been asked for, or was, in episodes with these `scenes`; raises `DataError` where nothing was."""
    kinds: dict[Asked | str, int] = {}
    rows: list[tuple[int, np.ndarray, np.ndarray]] = []
    for episode, task in zip(scenes, tasks, strict=True):
        if stage.texts == "tasks":
            pairs = [(before, episode[-1], [plain(task)]) for before in episode[:-1] if plain(task)]
        else:
            pairs = [(one, other, list(asked_in_hindsight(stage.says, one, other))) for one, other in itertools.permutations(episode, 2)]
        for before, after, meant in pairs:
            rows += [(kinds.setdefault(one, len(kinds)), before, after) for one in meant if not _is_unsaid(one, stage)]
    if not rows:
        raise DataError(
            f"in {len(scenes)} episodes nothing was moved from rest to rest that could have been asked for; record play in which things "
            "are picked up and set down, or set training.words.open_below and training.words.says otherwise"
        )
    texts = tuple(said(stage.things, one) if isinstance(one, Asked) else (one,) for one in kinds)
    number, before, after = (np.array(part) for part in zip(*rows, strict=True))
    return Heard(texts, number, before, after, tuple(one if isinstance(one, Asked) else None for one in kinds))


def _is_unsaid(meant: Asked | str, stage: WordsStage) -> bool:
    return isinstance(meant, Asked) and f"{stage.things[meant.thing]}: {meant.relation}" in stage.unsaid


def require_words_stage(stage: WordsStage, num_objects: int) -> None:
    """Raises `ConfigError` for names of other things than the model's, and for what is unsaid of none of them."""
    if len(set(map(plain, stage.things))) != num_objects or not all(map(plain, stage.things)):
        raise ConfigError(
            f"training.words.things is {list(stage.things)}, and the model tells poses of {num_objects}; name each of them, apart from the "
            "others, in the model's order: such as '[red cube, blue cube]'"
        )
    known = [f"{thing}: {relation.name}" for thing in stage.things for relation in RELATIONS]
    if odd := [one for one in stage.unsaid if one not in known]:
        raise ConfigError(f"training.words.unsaid names {odd[0]!r}; allowed: {', '.join(known)}")


def train_words(
    cache: Frames,
    tasks: Sequence[str],
    config: TrainingConfig,
    run_dir: Path,
    init: Path,
    *,
    progress: OnProgress | None = None,
    resume: bool = True,
) -> LatentVideoModel:
    """The model of `init` that is told goals in words, also written with held-out metrics to `run_dir`/model.safetensors; all else is as
    it was.

    `progress` counts twice: frames encoded, and steps. Raises `DataError` for frames that are none of this model's, or in which nothing is
    moved, and `MissingExtraError` without word vectors.
    """
    stage, encoder = config.words, text_encoder()
    assert stage is not None, "say how words are learned"
    about, model = checkpoint.read_info(init), checkpoint.load(init, config.device)
    require_words_stage(stage, model.spec.num_objects)
    require_fitting(model, cache)
    scenes = scenes_at_rest(model, cache, encode_frames(model, cache, progress=progress), stage)
    is_train = np.asarray(cache.is_train, bool)
    learned, held_out = ([number for number in range(len(is_train)) if is_train[number] == kept] for kept in (True, False))
    heard = heard_in([scenes[number] for number in learned], [tasks[number] for number in learned], stage)
    with MetricsLog(run_dir, config.tensorboard) as log:
        run = TrainingRun(config, run_dir, log, progress, resume)
        model = learn_words(run, model, heard, encoder, cache.dataset_id, checkpoint.sha256(init))
        metrics = {**about.metrics, STAGE: understood(model, encoder, [scenes[number] for number in held_out], stage, config.seed)}
        log.write("held_out", stage.steps, metrics[STAGE])
    checkpoint.save(model, run_dir / MODEL_FILE, about.recipe, about.dataset_id, metrics, settings=about.settings)
    return checkpoint.load(run_dir / MODEL_FILE, config.device)


def learn_words(
    run: TrainingRun, model: LatentVideoModel, heard: Heard, encoder: TextEncoder, dataset_id: str, init: str | None = None
) -> LatentVideoModel:
    """A copy of `model` that has learned from what was `heard`, all else as it was. `init` as in `run_stage`."""
    config, stage = run.config, run.config.words
    assert stage is not None
    known = _telling([text for kind in heard.kinds for text in kind], heard.kinds)
    size = require_words(WordsSize(tuple(map(plain, stage.things)), known, stage.width, stage.modes))
    model = model.extended(replace(model.spec, words=size), config.seed)
    words = model.words
    assert words is not None
    words.requires_grad_(True)
    words.name_things(encoder)
    if heard.after.shape[1] > 1:
        words.gap.copy_(torch.from_numpy(_apart(heard.after)).quantile(_GAP))
    words.strangest.copy_(_strangest(encoder, known, config.seed))
    meant = heard.asked or (None,) * len(heard.kinds)
    by_kind = [np.flatnonzero(heard.kind == kind) for kind in range(len(heard.kinds))]

    def losses(step: int) -> Mapping[str, Tensor]:
        rng = np.random.default_rng((config.seed, 70, step))
        kinds = rng.integers(len(by_kind), size=stage.batch)
        rows = np.array([rng.choice(by_kind[kind]) for kind in kinds])
        texts = [heard.kinds[kind][rng.integers(len(heard.kinds[kind]))] for kind in kinds]
        before, after = heard.before[rows].copy(), heard.after[rows]
        elsewhere = heard.before[rng.integers(len(heard.kind), size=stage.batch)]
        for row, kind in enumerate(kinds):  # beside another thing is there, wherever it was brought from
            if (asked := meant[kind]) is not None and asked.other is not None and rng.random() < stage.from_elsewhere:
                before[row, asked.thing] = elsewhere[row, rng.integers(before.shape[1])]
        is_moved = np.linalg.norm(after - before, axis=-1) > stage.says.still
        here = torch.from_numpy(before + stage.noise * rng.normal(size=before.shape)).float()
        return words(encoder.tokens(texts), here).loss(torch.from_numpy(after).float(), torch.from_numpy(is_moved))

    run_stage(run, stage_of(STAGE, stage), words, [words], losses, dataset_id, init=init)
    return model.requires_grad_(False)


@torch.no_grad()
def understood(
    model: LatentVideoModel, encoder: TextEncoder, scenes: Sequence[Sequence[np.ndarray]], stage: WordsStage, seed: int
) -> dict[str, Any]:
    """Of what came true in held-out episodes, by kind of text: how many were tried, and the percentages that were refused, and at whose
    goal, of what was not, what was asked is true; both by where the model believes things to be. With texts of recordings: counts alone.
    """
    words = model.words
    assert words is not None
    rng, tried = np.random.default_rng((seed, 72)), {"known": [], "paraphrased": [], "unsaid": []}
    for episode in scenes if stage.texts == "templates" else ():
        for before, after in itertools.combinations(episode, 2):
            for asked in asked_in_hindsight(stage.says, before, after):
                unsaid = _is_unsaid(asked, stage)
                for name in ("unsaid",) if unsaid else ("known", "paraphrased"):
                    texts = said(stage.things, asked, held_out=name == "paraphrased")
                    tried[name] += [(asked, before, texts[i]) for i in rng.integers(len(texts), size=_TRIED)]
    found: dict[str, Any] = {"texts": len(words.size.texts), "strangest": round(float(words.strangest), 3)}
    for name, some in tried.items():
        found[name] = {"tried": len(some)}
        if some:
            before, texts = np.stack([one for _, one, _ in some]), [text for *_, text in some]
            refused = (strangeness(encoder, texts, words.size.texts) > words.strangest).numpy()
            here = torch.from_numpy(before).float()
            told = words(encoder.tokens(texts), here).likeliest(here, words.gap).numpy()
            after = np.where(np.isnan(told), before, told)
            true = np.array([
                holds(stage.says, one.relation, one.thing, one.other, was, now) for (one, was, _), now in zip(some, after, strict=True)
            ])  # fmt: skip
            found[name] |= {"refused_percent": _percent(refused), "true_percent": _percent(true[~refused])}
    return found


def in_words(found: Mapping[str, Any]) -> str:
    """What was `understood`, for people."""
    parts = [
        f"{name} {some.get('true_percent')} % of {some['tried']} ({some['refused_percent']} % refused)"
        for name, some in found.items() if isinstance(some, Mapping) and some["tried"]
    ]  # fmt: skip
    return f"Held out, goals at which what was asked is true, as the model believes: {', '.join(parts) or 'none was tried'}."


def _apart(scenes: Float[np.ndarray, "scene thing 3"]) -> Float[np.ndarray, " scene"]:
    """How far the two nearest things of each scene are apart."""
    apart = np.linalg.norm(scenes[:, :, None] - scenes[:, None], axis=-1)
    return (apart + np.where(np.eye(scenes.shape[1]), np.inf, 0.0)).min((1, 2))


def _percent(values: np.ndarray) -> float | None:
    return round(100 * float(values.mean()), 1) if len(values) else None


def _telling(texts: Sequence[str], kinds: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Some of `texts` with all of their words: the first of each kind, and each that says a word for the first time."""
    heard: set[str] = set()
    first, kept = {kind[0] for kind in kinds}, []
    for text in texts:
        if text in first or not heard.issuperset(text.split()):
            heard.update(plain(text).split())
            kept.append(text)
    return tuple(dict.fromkeys(kept))


def _strangest(encoder: TextEncoder, known: Sequence[str], seed: int) -> Float[Tensor, ""]:
    """The strangeness above which most texts are in which one word that says something was replaced by any other word."""
    rng, all_words = np.random.default_rng((seed, 71)), np.array(encoder.words())
    heard = {word for text in known for word in plain(text).split()}
    others = [word for word in all_words if word not in heard]
    telling = {word for word in heard if float(encoder.tokens([word]).vectors.sum(1).norm()) > _SAYS_SOMETHING}
    changed = []
    for text in rng.choice(np.array(known), _CHANGED):
        words = plain(text).split()
        found = [number for number, word in enumerate(words) if word in telling]
        if found:
            words[rng.choice(found)] = str(rng.choice(others))
            changed.append(" ".join(words))
    if not changed:
        return torch.tensor(torch.inf)
    return strangeness(encoder, changed, known).quantile(1 - _REFUSED)
