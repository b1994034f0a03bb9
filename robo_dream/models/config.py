"""What a model is: its size, and every number of the world that its checkpoint must carry."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import Field

from robo_dream.embodiment import PROPRIO_NAMES, ActionSpec
from robo_dream.errors import ConfigError
from robo_dream.foreign import BUDGET
from robo_dream.renamed import with_new_keys
from robo_dream.schema import Unit, configuration, shown

Size = Literal["S", "B", "L"]
Precision = Literal["float32", "bfloat16"]  # of matrix products
PrecisionChoice = Literal["float32", "bfloat16", "auto"]  # auto: the faster of them here
NUM_TOOL, NUM_OBJECT = 6, 5  # numbers of a pose: of the tool and of each object, see `pose_head.pose_names`


@dataclass(frozen=True)
class Widths:
    """Widths and depths that a size letter stands for."""

    latent: int
    stem: int  # channels at 16 x 16
    fine: int  # channels at 32 x 32, about as many products as the stem's
    body: int  # channels at 8 x 8
    body_layers: int
    view: int  # numbers that one view contributes
    fuse: int
    decoder: int
    decoder_layers: int
    dynamics: int  # hidden width of the dynamics: imagining is what planning waits for
    dynamics_layers: int
    trunk: int  # hidden width of the policy
    trunk_layers: int
    head: int  # hidden width of one ensemble head
    mlp: int  # hidden width of the small heads


WIDTHS: Mapping[str, Widths] = {
    "S": Widths(256, 48, 32, 96, 1, 192, 512, 48, 1, 256, 2, 512, 3, 64, 384),
    "B": Widths(384, 96, 64, 192, 2, 384, 1024, 96, 2, 1024, 4, 1024, 4, 256, 512),
    "L": Widths(768, 192, 128, 384, 4, 768, 2048, 192, 4, 2048, 6, 2048, 6, 512, 1024),
}


@configuration
class ModelConfig:
    """How the model is built. `latent_dim` 0 takes the size's own."""

    size: Size = "S"
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=16), Unit("px")] = 96  # pixels; a multiple of 16
    latent_dim: Annotated[int, Field(ge=0, le=8192)] = 0
    num_keypoints: Annotated[int, Field(ge=0, le=1024)] = 0  # picked out of each view by attention; 0: the whole view is flattened
    feature_grid: Literal[16, 32] = 16  # along the side of a view, among which it picks: 16, or 32 for things of few pixels
    num_heads: Annotated[int, Field(ge=1, le=64)] = 4  # dynamics heads in the ensemble
    action_block: Annotated[int, Field(ge=1, le=100)] = 5  # control steps in one imagined step (LeWM, arXiv 2603.19312)
    object_symmetry: Annotated[int, Field(ge=1, le=360)] = 4  # equal looks in one turn of the object: 4 for a box
    num_modes: Annotated[int, Field(ge=1, le=256)] = 6  # Gaussians of the policy
    policy_input: Literal["poses", "latents", "poses_and_latents"] = "poses"  # poses need labels: see `GoalConditionedPolicy`
    picture_goals: bool = False  # a goal may be a picture alone: latents are also learned without proprioception (NaN)
    prior_scale: Annotated[float, Field(ge=0, le=100)] = 0.1  # randomised priors (Osband et al. 2018), in std of the latent
    distance_dim: Annotated[int, Field(ge=1, le=4096)] = 64
    discount: Annotated[float, Field(gt=0, lt=1)] = 0.98  # a control step; distances saturate far beyond 1 / (1 - discount)
    memory: Annotated[int, Field(ge=0, le=4096)] = 0  # numbers that are remembered beside a latent; 0: a belief is what one frame shows
    outcomes: Annotated[int, Field(ge=0, le=64)] = 0  # among which chance chooses at each imagined step; 0: one future is imagined

    def __post_init__(self) -> None:
        if self.feature_grid == 32 and (not self.num_keypoints or self.image_size % 32):
            raise ConfigError(
                f"feature_grid is 32 with num_keypoints {self.num_keypoints} and image_size {self.image_size}; it needs "
                f"num_keypoints above 0, such as 32, and an image_size that is a multiple of 32"
            )

    @property
    def widths(self) -> Widths:
        return WIDTHS[self.size]

    @property
    def latent(self) -> int:
        return self.latent_dim or self.widths.latent


@dataclass(frozen=True)
class Normaliser:
    """Mean and standard deviation of each number of a vector."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


MAX_LABEL_WINDOW = 8  # looks, before and after together


@dataclass(frozen=True)
class LabelWindow:
    """Which neighbouring looks tell an action: so many before its own and after it, `every` control steps apart."""

    before: int = 0
    after: int = 1
    every: int = 1  # control steps from look to look, and of which one look tells the actions

    @property
    def num_looks(self) -> int:
        return self.before + 1 + self.after

    def to_json(self) -> dict[str, int]:
        return asdict(self)


MAX_VIDEO_STEPS, MAX_VIDEO_WIDTH, MAX_VIDEO_LAYERS, MAX_VIDEO_STRIP = 64, 4096, 64, 1024


@dataclass(frozen=True)
class VideoSize:
    """Of the network that tells how the video goes on (`VideoFlow`)."""

    steps: int = 6  # looks of a video, an action block apart
    numbers: int = 64  # principal directions in which latents are told to move
    width: int = 128
    layers: int = 4
    heads: int = 4
    strip: int = 0  # principal directions in which the strip of commands below a picture is drawn; 0: pictures have none

    def to_json(self) -> dict[str, int]:
        """Without a strip where there is none: as it was before there was any."""
        return {name: value for name, value in asdict(self).items() if name != "strip" or value}


MAX_WORDS_WIDTH, MAX_WORDS_MODES, MAX_TEXTS, MAX_TEXT = 1024, 32, 20_000, 400


@dataclass(frozen=True)
class WordsSize:
    """Of the reader of instructions (`GoalWords`): what things are called, in the model's order, and the texts that it learned from."""

    things: tuple[str, ...]
    texts: tuple[str, ...]
    width: int = 48
    modes: int = 4

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to rebuild and use a model, weights aside."""

    config: ModelConfig
    cameras: tuple[str, ...]
    action_spec: ActionSpec
    proprio: Normaliser
    pose: Normaliser  # of `pose_head.pose_names`
    proprio_names: tuple[str, ...] = PROPRIO_NAMES
    local_goals: tuple[int, ...] = ()  # control steps ahead for which it tells local goals; none: it has learned none
    waypoints: int = 0  # known ones of each thing, where it has learned what can be moved (`Affordances`); 0: it has not
    label_window: LabelWindow | None = None  # of the looks that tell actions, where it has learned to (`ActionLabeller`); None: it has not
    video: VideoSize | None = None  # where it has learned how video goes on (`VideoFlow`); None: it has not
    words: WordsSize | None = None  # where it has learned goals in words (`GoalWords`); None: it has not

    @property
    def num_objects(self) -> int:
        """Whose poses the model tells."""
        return (len(self.pose.mean) - NUM_TOOL) // NUM_OBJECT

    @property
    def block_size(self) -> int:
        """Numbers in one action block."""
        return self.config.action_block * self.action_spec.size

    @property
    def num_seen(self) -> int:
        """Numbers that the policy sees (`LatentVideoModel.seen`)."""
        poses, latents = len(self.pose.mean), self.config.latent
        return {"poses": poses, "latents": latents, "poses_and_latents": poses + latents}[self.config.policy_input]

    def to_json(self) -> dict[str, Any]:
        """Without what was added to no model of before: as they are written."""
        return {
            "config": asdict(self.config),
            "cameras": list(self.cameras),
            "action_spec": self.action_spec.to_json(),
            "proprio": {"mean": list(self.proprio.mean), "std": list(self.proprio.std)},
            "pose": {"mean": list(self.pose.mean), "std": list(self.pose.std)},
            "proprio_names": list(self.proprio_names),
            "history": 1,
            **({"local_goals": list(self.local_goals)} if self.local_goals else {}),
            **({"waypoints": self.waypoints} if self.waypoints else {}),
            **({} if self.label_window is None else {"label_window": self.label_window.to_json()}),
            **({} if self.video is None else {"video": self.video.to_json()}),
            **({} if self.words is None else {"words": self.words.to_json()}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelSpec":
        known = {field.name for field in fields(ModelConfig)}
        if not isinstance(data["config"], Mapping):
            raise ConfigError(f"the model configuration is {shown(data['config'])}; expected a block")
        config = with_new_keys(data["config"], known)
        unknown = set(config) - known
        if unknown:
            raise ConfigError(f"the model configuration has unknown keys {sorted(unknown)}; known: {sorted(known)}")
        spec = cls(
            ModelConfig(**config), tuple(data["cameras"]), ActionSpec.from_json(data["action_spec"]),
            _normaliser(data["proprio"], "proprio"), _normaliser(data["pose"], "pose"), tuple(data["proprio_names"]),
            require_local_goals(data.get("local_goals", ()), config.get("action_block", ModelConfig.action_block)),
            _require_waypoints(data.get("waypoints", 0)), _require_label_window(data.get("label_window")),
            _require_video(data.get("video")), _require_words(data.get("words")),
        )  # fmt: skip
        if spec.words is not None and len(spec.words.things) != spec.num_objects:
            raise ConfigError(f"the model's words name {len(spec.words.things)} things, and it tells poses of {spec.num_objects}")
        named = all(isinstance(name, str) for name in (*spec.cameras, *spec.proprio_names))
        if not named or not 1 <= len(set(spec.cameras)) == len(spec.cameras) <= BUDGET.cameras:
            raise ConfigError(f"the model has the cameras {shown(data['cameras'])}; expected names of 1 to {BUDGET.cameras}")
        if len(spec.proprio.mean) != len(spec.proprio_names):
            raise ConfigError(f"the model knows {len(spec.proprio.mean)} numbers of the arm and {len(spec.proprio_names)} names of them")
        if (len(spec.pose.mean) - NUM_TOOL) % NUM_OBJECT or not 0 <= spec.num_objects <= BUDGET.objects:
            raise ConfigError(
                f"the model knows {len(spec.pose.mean)} numbers of poses; expected {NUM_TOOL}, and {NUM_OBJECT} for each object"
            )
        return spec


MAX_WAYPOINTS = 16  # of each thing
MAX_AHEAD, MAX_LOCAL_GOALS = 1000, 16  # control steps, and how many


def require_local_goals(ahead: Any, block: int) -> tuple[int, ...]:
    """`ahead` as it is. Raises `ConfigError` unless it is whole numbers of control steps, growing, each a multiple of the action block."""
    usable = isinstance(ahead, list | tuple) and len(ahead) <= MAX_LOCAL_GOALS and all(type(steps) is int for steps in ahead)
    if not usable or sorted(set(ahead)) != list(ahead) or any(steps % block or not 0 < steps <= MAX_AHEAD for steps in ahead):
        raise ConfigError(
            f"local goals are asked for {shown(ahead)} control steps ahead; allowed are up to {MAX_LOCAL_GOALS} growing multiples of "
            f"the action block, {block}, of at most {MAX_AHEAD}"
        )
    return tuple(ahead)


def _require_waypoints(waypoints: Any) -> int:
    if type(waypoints) is not int or not 0 <= waypoints <= MAX_WAYPOINTS:
        raise ConfigError(f"the model knows {shown(waypoints)} waypoints of each thing; allowed are whole numbers up to {MAX_WAYPOINTS}")
    return waypoints


def _require_label_window(data: Any) -> LabelWindow | None:
    if data is None:
        return None
    names = {"before", "after", "every"}
    if not isinstance(data, Mapping) or set(data) != names or any(type(value) is not int for value in data.values()):
        raise ConfigError(f"the model's label_window is {shown(data)}; expected whole numbers named {', '.join(sorted(names))}")
    window = LabelWindow(**data)
    if not (window.before >= 0 and window.after >= 1 and window.num_looks <= MAX_LABEL_WINDOW and 1 <= window.every <= 100):
        raise ConfigError(
            f"the model's label_window is {shown(data)}; allowed are before from 0, after from 1, up to {MAX_LABEL_WINDOW} looks in all, "
            f"and every from 1 to 100 control steps"
        )
    return window


def _require_video(data: Any) -> VideoSize | None:
    if data is None:
        return None
    names = {field.name for field in fields(VideoSize)}
    is_whole = isinstance(data, Mapping) and set(data) | {"strip"} == names
    if not is_whole or any(type(value) is not int or value < 1 for value in data.values()):
        raise ConfigError(f"the model's video is {shown(data)}; expected whole numbers from 1 named {', '.join(sorted(names))}")
    return require_video(VideoSize(**data))


def require_video(size: VideoSize) -> VideoSize:
    """`size` as it is. Raises `ConfigError` for one that no network can have."""
    is_known = size.steps <= MAX_VIDEO_STEPS and size.width <= MAX_VIDEO_WIDTH and size.layers <= MAX_VIDEO_LAYERS
    is_known = is_known and size.strip <= MAX_VIDEO_STRIP
    if not is_known or size.width % size.heads:
        raise ConfigError(
            f"a video network of {shown(size.to_json())} is asked for; allowed are up to {MAX_VIDEO_STEPS} steps, {MAX_VIDEO_LAYERS} "
            f"layers, a width of {MAX_VIDEO_WIDTH}, which must be a multiple of heads, and a strip of {MAX_VIDEO_STRIP}"
        )
    return size


def _require_words(data: Any) -> WordsSize | None:
    if data is None:
        return None
    names = {field.name for field in fields(WordsSize)}
    if not isinstance(data, Mapping) or set(data) != names:
        raise ConfigError(f"the model's words are {shown(data)}; expected {', '.join(sorted(names))}")
    return require_words(WordsSize(_texts(data["things"]), _texts(data["texts"]), data["width"], data["modes"]))


def _texts(data: Any) -> tuple[str, ...]:
    is_list = isinstance(data, list | tuple) and len(data) <= MAX_TEXTS
    if not is_list or not all(isinstance(one, str) and 0 < len(one) <= MAX_TEXT for one in data):
        raise ConfigError(f"the model's words name {shown(data)}; expected up to {MAX_TEXTS} texts of up to {MAX_TEXT} letters")
    return tuple(data)


def require_words(size: WordsSize) -> WordsSize:
    """`size` as it is. Raises `ConfigError` for one that no network can have."""
    numbers = ((size.width, MAX_WORDS_WIDTH), (size.modes, MAX_WORDS_MODES))
    if not size.things or not size.texts or any(type(number) is not int or not 0 < number <= most for number, most in numbers):
        raise ConfigError(
            f"a reader of words of width {shown(size.width)} and {shown(size.modes)} modes, of {len(size.things)} things and "
            f"{len(size.texts)} texts, is asked for; allowed are a width up to {MAX_WORDS_WIDTH}, up to {MAX_WORDS_MODES} modes, and at "
            f"least one thing and one text"
        )
    return size


def _normaliser(data: Mapping[str, Any], name: str) -> Normaliser:
    normaliser = Normaliser(tuple(float(x) for x in data["mean"]), tuple(float(x) for x in data["std"]))
    if len(normaliser.mean) != len(normaliser.std) or not all(map(math.isfinite, (*normaliser.mean, *normaliser.std))):
        raise ConfigError(f"means and standard deviations of {name} are not finite numbers, as many of each")
    return normaliser
