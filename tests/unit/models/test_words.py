"""Goals in words: what is said in hindsight is true, names can be exchanged, and what is learned can be asked for."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_dream.config import load
from robo_dream.errors import ConfigError, DataError, MissingExtraError
from robo_dream.models import checkpoint, words
from robo_dream.models.config import ModelConfig, ModelSpec, Normaliser, WordsSize
from robo_dream.models.words import GoalWords, Placement, Tokens, text_encoder
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.plan import PlanConfig
from robo_dream.runtime.planner import PlanningConfig
from robo_dream.runtime.run import RunConfig, TextGoal, require_policy
from robo_dream.runtime.words import goal_in_words, require_moves
from robo_dream.training.config import TrainingConfig, WordsStage
from robo_dream.training.instructions import RELATIONS, Asked, InstructionConfig, asked_in_hindsight, holds, said
from robo_dream.training.stage import MetricsLog, TrainingRun
from robo_dream.training.words import Heard, heard_in, learn_words, require_words_stage
from tests.unit.data.episodes import make_spec

THINGS = ("blue cube", "red cube")
SAYS = InstructionConfig()
needs_words = pytest.mark.skipif(find_spec("wordllama") is None, reason="needs the extra `words`")
places = st.floats(-0.3, 0.3)


def spec_of(words: WordsSize | None) -> ModelSpec:
    arm, pose = Normaliser((0.0,) * 11, (1.0,) * 11), Normaliser((0.0,) * 16, (1.0,) * 16)
    return ModelSpec(ModelConfig(image_size=32, latent_dim=16), ("front", "side"), make_spec().action_spec, arm, pose, words=words)


def scenes(rng: np.random.Generator, count: int) -> list[list[np.ndarray]]:
    """Episodes in which one of two things is moved; both lie on the table."""
    found = []
    for _ in range(count):
        before = np.column_stack([rng.uniform(-0.3, 0.3, (2, 2)), np.full(2, 0.02)])
        after = before.copy()
        after[rng.integers(2), :2] = rng.uniform(-0.3, 0.3, 2)
        found.append([before, after])
    return found


@given(places, places, places, places)
@settings(deadline=None)
def test_one_lies_left_where_the_other_lies_right(ax: float, ay: float, bx: float, by: float) -> None:
    now = np.array([[ax, ay, 0.02], [bx, by, 0.02]])
    for one, other in (("left_of", "right_of"), ("in_front_of", "behind"), ("beside", "beside")):
        assert holds(SAYS, one, 0, 1, now, now) == holds(SAYS, other, 1, 0, now, now)
    assert sum(holds(SAYS, side, 0, 1, now, now) for side in ("left_of", "right_of", "in_front_of", "behind")) <= 2  # on a diagonal two


def test_nothing_is_said_of_two_things_that_moved_and_only_what_is_true_of_one() -> None:
    rng = np.random.default_rng(0)
    said_of = []
    for before, after in scenes(rng, 200):
        both = after + np.array([0.1, 0.0, 0.0])
        assert not list(asked_in_hindsight(SAYS, before, np.where(np.isclose(after, before), both, after)))
        some = list(asked_in_hindsight(SAYS, before, after))
        assert all(holds(SAYS, one.relation, one.thing, one.other, before, after) for one in some)
        said_of += [one.relation for one in some]
    assert set(said_of) == {one.name for one in RELATIONS} - {"on"}
    stacked = [np.array([[0.0, 0.0, 0.02], [0.2, 0.0, 0.02]]), np.array([[0.2, 0.01, 0.06], [0.2, 0.0, 0.02]])]
    assert Asked("on", 0, 1) in list(asked_in_hindsight(SAYS, *stacked))


def test_held_out_sentences_are_not_among_those_that_are_learned() -> None:
    for relation in RELATIONS:
        for thing in (0, 1):
            asked = Asked(relation.name, thing, 1 - thing if relation.with_other else None)
            told, new = said(THINGS, asked), said(THINGS, asked, held_out=True)
            assert told and new and not set(told) & set(new)
            assert all(THINGS[thing].split()[0] in one for one in (*told, *new))


def test_exchanging_the_names_exchanges_the_things() -> None:
    words = GoalWords(spec_of(WordsSize(THINGS, ("move",), width=8)))
    words.names.copy_(torch.eye(256)[:2])
    generator = torch.Generator().manual_seed(0)
    verbs = torch.randn(1, 3, 256, generator=generator)
    verbs[..., :2] = 0.0
    vectors = torch.cat([verbs[:, :1], 9 * torch.eye(256)[None, :1], verbs[:, 1:], 9 * torch.eye(256)[None, 1:2]], 1)
    there, here = torch.ones(1, 5, dtype=torch.bool), torch.randn(1, 2, 3, generator=generator)
    swapped = vectors.clone()
    swapped[..., [0, 1]] = vectors[..., [1, 0]]
    one, other = words(Tokens(vectors, there), here), words(Tokens(swapped, there), here.flip(1))
    for name in ("moved", "logits", "means", "log_stds"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name).flip(1))
    assert not torch.allclose(one.means, words(Tokens(swapped, there), here).means)  # who is named matters


def test_what_is_moved_keeps_its_distance_and_what_is_not_has_no_place() -> None:
    here = torch.tensor([[[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]])
    means = torch.tensor([[[[0.51, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]])
    told = Placement(torch.tensor([[1.0, -1.0]]), torch.zeros(1, 2, 1), means, torch.zeros(1, 2, 1, 3)).likeliest(here, torch.tensor(0.04))
    torch.testing.assert_close(told[0, 0], torch.tensor([0.54, 0.0, 0.0]))
    assert told[0, 1].isnan().all()


def test_a_checkpoint_keeps_its_words(tmp_path: Path) -> None:
    model = LatentVideoModel(spec_of(WordsSize(THINGS, ("put the red cube left",), width=8)))
    left = checkpoint.load(checkpoint.save(model, tmp_path / "model.safetensors", half=False))
    assert left.spec.words == model.spec.words
    assert left.words is not None and all(
        torch.equal(a, b) for a, b in zip(left.state_dict().values(), model.state_dict().values(), strict=True)
    )
    with pytest.raises(ConfigError, match="name 1 things, and it tells poses of 2"):
        ModelSpec.from_json({**model.spec.to_json(), "words": {**WordsSize(("cube",), ("move",)).to_json()}})


def test_without_word_vectors_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "find_spec", lambda name: None)
    text_encoder.cache_clear()
    with pytest.raises(MissingExtraError, match=r"robo-dream\[words\]"):
        text_encoder()


def test_a_goal_may_be_a_text_or_how_it_is_shown() -> None:
    assert load(PlanConfig, None, ["goal.text=put it left"]).goal == TextGoal(text="put it left")
    assert load(PlanConfig, None, ["goal=picture"]).goal == "picture"
    with pytest.raises(ConfigError, match="picture_arm_at_start"):
        load(PlanConfig, None, ["goal=left"])
    assert load(RunConfig, None, ["goal.kind=text", "goal.text=put it left"]).goal == TextGoal(text="put it left")


def test_what_cannot_be_asked_is_said() -> None:
    model = LatentVideoModel(spec_of(None))
    with pytest.raises(ConfigError, match="has learned none; add them with `robo-dream train stage=words"):
        goal_in_words(model, "put it left", torch.zeros(1, 16))
    with pytest.raises(ConfigError, match=r"proposals\.moves"):
        require_moves(PlanningConfig(), model)
    with pytest.raises(ConfigError, match="asked for no goal in words"):
        require_policy(load(RunConfig, None, ["goal.kind=text", "planner.kind=remote"]))
    with pytest.raises(ConfigError, match=r"tells poses of 2; name each"):
        require_words_stage(WordsStage(things=("red cube",)), 2)
    with pytest.raises(ConfigError, match=r"unsaid names 'red cube: under'"):
        require_words_stage(WordsStage(things=THINGS, unsaid=("red cube: under",)), 2)
    with pytest.raises(DataError, match="nothing was moved"):
        heard_in([[np.zeros((2, 3))]], ["play"], WordsStage(things=THINGS))


def test_texts_of_recordings_ask_for_how_they_ended() -> None:
    episodes = scenes(np.random.default_rng(0), 3)
    heard = heard_in(episodes, ["Tidy up!", "tidy up", "sort"], WordsStage(things=THINGS, texts="tasks"))
    assert heard.kinds == (("tidy up",), ("sort",)) and heard.kind.tolist() == [0, 0, 1]
    assert np.array_equal(heard.after, np.stack([after for _, after in episodes]))


@needs_words
def test_instructions_are_learned_also_of_pairs_that_were_never_said(tmp_path: Path) -> None:
    stage = WordsStage(things=THINGS, steps=400, unsaid=("red cube: left_of", "blue cube: nearer"))
    config = TrainingConfig(model=ModelConfig(image_size=32), words=stage)
    heard: Heard = heard_in(scenes(np.random.default_rng(0), 300), [""] * 300, stage)
    assert not any(one in heard.asked for one in (Asked("left_of", 1, 0), Asked("nearer", 0, None)))
    before = LatentVideoModel(spec_of(None))
    with MetricsLog(tmp_path) as log:
        model = learn_words(TrainingRun(config, tmp_path, log), before, heard, text_encoder(), "here")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.state_dict().items())
    words, rng, right = model.words, np.random.default_rng(1), []
    assert words is not None
    for here, _ in scenes(rng, 40):
        for asked in (Asked("left_of", 1, 0), Asked("nearer", 0, None), Asked("right_of", 1, 0)):
            sentence = said(THINGS, asked, held_out=True)[rng.integers(20)]
            now = torch.from_numpy(here[None]).float()
            told = words(text_encoder().tokens([sentence]), now).likeliest(now, words.gap)[0].detach().numpy()
            after, loose = np.where(np.isnan(told), here, told), replace(SAYS, moved=0.02, apart=0.02)
            right.append(holds(loose, asked.relation, asked.thing, asked.other, here, after))
    assert np.mean(right) > 0.8  # a goal drawn anywhere: 0.2
    with pytest.raises(ConfigError, match=r"never heard .* the nearest it knows: .*left"):
        goal_in_words(model, "put the green mug left of the plate", torch.zeros(1, 16))
