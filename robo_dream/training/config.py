"""How a model is trained: sizes, weights and budgets of both stages, with where the numbers come from."""

from dataclasses import asdict, field
from typing import Annotated, Any, Literal

from pydantic import Field

from robo_dream.data.camera_effects import CameraEffectRanges
from robo_dream.errors import ConfigError
from robo_dream.models.config import (
    MAX_LABEL_WINDOW,
    MAX_VIDEO_LAYERS,
    MAX_VIDEO_STEPS,
    MAX_VIDEO_STRIP,
    MAX_VIDEO_WIDTH,
    MAX_WAYPOINTS,
    MAX_WORDS_MODES,
    MAX_WORDS_WIDTH,
    ModelConfig,
    Precision,
    require_local_goals,
)
from robo_dream.schema import Device, Fraction, Seed, Unit, configuration
from robo_dream.training.grasps import GraspConfig
from robo_dream.training.instructions import InstructionConfig
from robo_dream.training.looking import LookConfig
from robo_dream.training.screens import ScreenConfig
from robo_dream.training.slides import SlideConfig
from robo_dream.training.switches import SwitchConfig

Steps = Annotated[int, Field(ge=1, le=10_000_000)]
Batch = Annotated[int, Field(ge=1, le=100_000)]
Unroll = Annotated[int, Field(ge=1, le=1000), Unit("imagined steps")]
LearningRate = Annotated[float, Field(gt=0, le=1)]
MuonRate = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
_ELSEWHERE = ("hand_elsewhere", "others_elsewhere")
GoalSteps = Annotated[int, Field(ge=1, le=100_000), Unit("control steps")]


@configuration
class RepresentationConfig:
    """Stage 1: encoder and decoder, shaped by everything that the latent must serve.

    Every loss is in units of the variance of what it predicts, so a weight of 1 means: as important as explaining the pictures.
    """

    steps: Steps = 3000
    batch_windows: Batch = 48
    unroll: Unroll = 2  # imagined steps in a window
    decoded_frames: Annotated[int, Field(ge=1, le=1000)] = 2  # real frames decoded of each window; all of them cost more than they teach
    learning_rate: LearningRate = 1e-3
    muon_lr: MuonRate = 0.0  # Muon's, for matrices; 0: AdamW learns them too
    warmup: Fraction = 0.03  # fraction of the steps
    weight_decay: Weight = 1e-2
    reconstruction: Weight = 1.0
    prediction: Weight = 0.3  # pictures of an imagined latent
    latent: Weight = 1.0  # unrolled latent dynamics
    inverse_dynamics: Weight = 0.5  # keeps what matters for acting (RWM, arXiv 2609.29171)
    bridge: Weight = 0.3  # the same, off interpolated latents between a frame and a later one
    bridge_consistency: Weight = 0.0  # interpolated latents against encoded ones: straightens the ways
    goal_policy: Weight = 0.1
    pose: Weight = 1.0  # 0 switches the labels off
    covariance: Weight = 0.02  # VICReg (arXiv 2105.04906); its variance term is the encoder's normalisation
    pixel_focus: Weight = 4.0  # extra weight of pixels unlike the mean picture, where objects and arm are
    color_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.05  # brightness and contrast, of the input only
    shift: Annotated[int, Field(ge=0, le=64)] = 0  # pixels, of the input and the target alike
    camera_effects: CameraEffectRanges = field(default_factory=CameraEffectRanges)  # of the input only, one draw a window and camera


@configuration
class Schedule:
    """How long a stage learns, from how much at once, and how fast."""

    steps: Steps = 3000
    batch: Batch = 384
    learning_rate: LearningRate = 1e-3
    muon_lr: MuonRate = 0.0  # Muon's, for matrices; 0: AdamW learns them too
    warmup: Fraction = 0.03
    weight_decay: Weight = 1e-3


@configuration
class DreamConfig(Schedule):
    """Stage 2: dynamics, distance and pose head on frozen latents, and the decoder on imagined ones."""

    steps: Steps = 4000
    batch: Batch = 512
    unroll: Unroll = 8  # imagined steps on its own predictions
    weight_decay: Weight = 1e-2
    bootstrap: Annotated[float, Field(gt=0, le=1), Unit("1")] = 0.5  # fraction of the windows that a head is weighted on
    shortest_goal: GoalSteps = 5  # control steps
    longest_goal: GoalSteps = 80  # trying again takes long
    returning_goals: Fraction = 0.15  # fraction of the goals at which the tool is where it started and the object is not
    expectile: Annotated[float, Field(ge=0.5, lt=1)] = 0.9  # HILP (arXiv 2402.15567) takes 0.9 to 0.95
    target_rate: Annotated[float, Field(gt=0, le=1)] = 0.005
    random_goals: Fraction = 0.3  # fractions of the distance's goals
    same_goals: Fraction = 0.05
    bridge: Weight = 1.0  # beside the inverse loss of real neighbours, whose weight is 1
    pose: Weight = 1.0
    decoder_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 500
    decoder_batch: Batch = 64
    decoder_learning_rate: LearningRate = 3e-4

    def __post_init__(self) -> None:
        if self.longest_goal <= self.shortest_goal:
            raise ConfigError(f"longest_goal is {self.longest_goal} control steps; it must be beyond shortest_goal {self.shortest_goal}")
        if self.random_goals + self.same_goals > 1:
            raise ConfigError(f"random_goals is {self.random_goals} and same_goals {self.same_goals}; together they are at most 1")


@configuration
class PolicyConfig(Schedule):
    """Within stage 2: the policy on what it sees of frozen latents."""

    steps: Steps = 6000
    skills: tuple[str, ...] = ()  # whose actions are imitated; none named: all
    within_skill: Fraction = 0.9  # fraction of the goals that the skill under way reaches; the others are of the whole episode
    at_end: Fraction = 0.4  # fraction of the goals at the very end of the skill (or of the episode)
    shortest_goal: GoalSteps = 5  # control steps
    longest_goal: GoalSteps = 100
    perception_noise: Fraction = 0.0  # fraction of demonstrated pairs seen as badly as held-out pictures: see `PerceptionErrors`
    latent_noise: Annotated[float, Field(ge=0, le=10)] = 0.0  # added to what is seen of latents beside poses, in their own scale
    hand_elsewhere: Fraction = 0.0  # fraction of the goals to which a thing is moved that show the hand as it was at some other time
    others_elsewhere: Fraction = 0.0  # fraction of the pairs in which things that are not moved stand as they did at some other time

    def __post_init__(self) -> None:
        if self.longest_goal <= self.shortest_goal:
            raise ConfigError(f"longest_goal is {self.longest_goal} control steps; it must be beyond shortest_goal {self.shortest_goal}")


@configuration
class LocalGoalStage(Schedule):
    """After all else: where things will be shortly on the way to a goal (`LocalGoals`), told from the policy's own pairs."""

    steps: Steps = 6000
    ahead: tuple[int, ...] = (5, 10)  # control steps; LeWM++ found 10 better than 15


@configuration
class MemoryConfig(Schedule):
    """Stage 3: what is remembered, on a finished model of which nothing else changes."""

    steps: Steps = 1000
    batch: Batch = 96
    learning_rate: LearningRate = 2.5e-3
    window: Annotated[float, Field(gt=0, le=600), Unit("s")] = 5.0  # from the first look to the last
    usual_gaps: Fraction = 0.6  # fraction of the looks that are an action block apart; the others are up to two
    ahead: Unroll = 3  # blocks imagined after the last look
    bad_starts: Fraction = 0.15  # fraction of the windows whose first picture may be hidden
    expected: Weight = 0.5  # of what is imagined from look to look, and ahead
    pose: Weight = 2.0  # what is read of beliefs, against what is read of the pictures as they were recorded
    told: Weight = 0.0  # and against poses that joints tell
    ways: Annotated[int, Field(ge=1, le=32)] = 2  # in which each episode is seen worse than it was recorded
    screens: ScreenConfig = field(default_factory=ScreenConfig)


@configuration
class RedrawnStage(Schedule):
    """Stage 3 of another kind: other looks, learned by the encoder of a finished model from episodes that were shown again."""

    steps: Steps = 2000
    batch: Batch = 128
    usual: Fraction = 0.2  # fraction of each batch that is shown as usual, so that it is not forgotten
    pose: Weight = 2.0  # of what is read of poses, beside latents


@configuration
class FuturesStage(Schedule):
    """After all else: which outcomes an imagined step may have, and how likely each is; nothing else of a finished model changes."""

    steps: Steps = 1500
    batch: Batch = 256
    weight_decay: Weight = 1e-2
    unroll: Unroll = 4  # imagined steps, each on the outcome that came true before
    odds_noise: Annotated[float, Field(ge=0, le=10)] = 0.1  # on what tells odds, or it learns tosses by heart
    shared: Fraction = 0.05  # of each step that all outcomes learn from whatever came, so that none stays unused


@configuration
class MoveStage(Schedule):
    """After all else: what can be moved as things stand (`Affordances`), told from what was moved."""

    steps: Steps = 1500
    batch: Batch = 512
    weight_decay: Weight = 0.1
    noise: Annotated[float, Field(ge=0, le=1), Unit("m")] = 0.005  # of where things stand, as poses are read with errors
    waypoints: Annotated[int, Field(ge=1, le=MAX_WAYPOINTS)] = 4  # of each thing, where it can be brought on the way to a goal


@configuration
class LabellerStage(Schedule):
    """After all else: what was done between neighbouring looks, and how sure that is (`ActionLabeller`), for video without actions."""

    batch: Batch = 512
    weight_decay: Weight = 1e-2
    before: Annotated[int, Field(ge=0, lt=MAX_LABEL_WINDOW - 1)] = 1  # looks before the one after which it was done
    after: Annotated[int, Field(ge=1, lt=MAX_LABEL_WINDOW)] = 1  # and after it
    latent_noise: Annotated[float, Field(ge=0, le=10)] = 0.0  # on what is read, in units of the latent's own scale
    calibration: Annotated[float, Field(gt=0, le=0.5), Unit("1")] = 0.1  # fraction of the episodes that tell how far it errs; at least one

    def __post_init__(self) -> None:
        if self.before + 1 + self.after > MAX_LABEL_WINDOW:
            raise ConfigError(f"before is {self.before} and after {self.after} looks; with the one between, at most {MAX_LABEL_WINDOW}")


@configuration
class VideoStage(Schedule):
    """After all else: how the video goes on from here towards a goal, without any action (`VideoFlow`)."""

    batch: Batch = 256
    muon_lr: MuonRate = 0.02
    weight_decay: Weight = 1e-2
    looks: Annotated[int, Field(ge=1, le=MAX_VIDEO_STEPS)] = 6  # of a video, an action block apart
    numbers: Annotated[int, Field(ge=1, le=8192)] = 64  # principal directions in which latents are told to move
    width: Annotated[int, Field(ge=1, le=MAX_VIDEO_WIDTH)] = 128
    layers: Annotated[int, Field(ge=1, le=MAX_VIDEO_LAYERS)] = 4
    heads: Annotated[int, Field(ge=1, le=256)] = 4  # of attention; width is a multiple of them
    strip: Annotated[int, Field(ge=0, le=MAX_VIDEO_STRIP)] = 0  # of the strip below pictures (collect overlay={}); 0: none
    carried: Fraction = 0.8  # of the moments in which joints tell that a thing was being carried, whose goals are the end of that
    at_end: Fraction = 0.4  # fraction of the goals at the very end of what was under way
    longest_goal: GoalSteps = 100  # control steps
    not_led: Fraction = 0.1  # fraction of the videos that are shown no goal
    latent_noise: Annotated[float, Field(ge=0, le=10)] = 0.0  # on what is shown, in units of the latent's own scale
    calibration: Annotated[float, Field(gt=0, le=0.5), Unit("1")] = (
        0.1  # fraction of the episodes that tell how far actions lead from videos
    )

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"width is {self.width} and heads {self.heads}; width must be a multiple of heads")


@configuration
class WordsStage(Schedule):
    """After all else: goals in words (`GoalWords`), told from what was moved in recordings while everything else lay still."""

    steps: Steps = 500
    batch: Batch = 128
    learning_rate: LearningRate = 5e-3
    weight_decay: Weight = 1e-2
    things: tuple[str, ...] = ()  # what they are called, such as "red cube", in the model's order
    texts: Literal["templates", "tasks"] = "templates"  # made in hindsight of what came true, or the recordings' own task texts
    says: InstructionConfig = field(default_factory=InstructionConfig)  # what counts as what is said, with templates
    unsaid: tuple[str, ...] = ()  # such as "red cube: left_of": never said, so that it can be measured how these are understood
    width: Annotated[int, Field(ge=1, le=MAX_WORDS_WIDTH)] = 48
    modes: Annotated[int, Field(ge=1, le=MAX_WORDS_MODES)] = 4  # Gaussians of where a thing is to lie
    noise: Annotated[float, Field(ge=0, le=1), Unit("m")] = 0.005  # of where things are believed to be
    from_elsewhere: Fraction = 0.8  # fraction of what was brought somewhere of another thing that is shown as coming from anywhere
    open_below: Fraction = 0.25  # closure of the gripper, below which it holds nothing


@configuration
class PseudoActions:
    """How far actions that a checkpoint told (`robo-dream label`) are learned from; where none are, this is nothing.

    What an action tells is the share of the variance of actions that its label explains, by the label's own standard deviation.
    """

    weighted: bool = True  # each counts as much as it tells; false: all that are not masked count in full
    least_told: Fraction = 0.2  # below which it is masked: nothing is learned from it


@configuration
class TrainingConfig:
    """All stages and what they share."""

    model: ModelConfig = field(default_factory=ModelConfig)
    representation: RepresentationConfig = field(default_factory=RepresentationConfig)
    dream: DreamConfig = field(default_factory=DreamConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    local_goals: LocalGoalStage | None = None  # null: none are learned
    moves: MoveStage | None = None  # null: what can be moved is not learned
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    redrawn: RedrawnStage | None = None  # null: nothing is learned from episodes that were shown again
    labeller: LabellerStage | None = None  # null: what was done in video without actions is not learned
    video: VideoStage | None = None  # null: how video goes on is not learned
    words: WordsStage | None = None  # null: goals in words are not learned
    pseudo_actions: PseudoActions = field(default_factory=PseudoActions)  # how far labels of `robo-dream label` are believed
    futures: FuturesStage = field(default_factory=FuturesStage)
    grasps: GraspConfig | None = field(default_factory=GraspConfig)  # how joints tell where a thing is (regime=recorded); null: they do not
    looks: LookConfig | None = field(default_factory=LookConfig)  # how pictures mend what joints told; null: they do not
    slides: SlideConfig | None = None  # how the hand that moves them, and pictures, tell where slides stand (regime=recorded)
    switches: SwitchConfig | None = None  # how a fist that presses, and pictures, tell which way switches stand (regime=recorded)
    seed: Seed = 0
    device: Device = "cpu"
    precision: Precision | Literal["auto"] = "auto"  # of matrix products; auto: bfloat16 on CUDA, float32 elsewhere
    save_seconds: Annotated[float, Field(gt=0, le=86_400), Unit("s")] = 120.0
    log_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    tensorboard: bool = False
    evaluation_windows: Annotated[int, Field(ge=1, le=100_000)] = 200

    def __post_init__(self) -> None:
        if self.model.policy_input != "latents" and self.dream.pose == 0:
            raise ConfigError(
                f"dream.pose is 0, so nothing reads poses, but model.policy_input is {self.model.policy_input}; "
                f"set it to latents, or dream.pose above 0"
            )
        for name in _ELSEWHERE:
            if (share := getattr(self.policy, name)) and self.model.policy_input != "poses":
                raise ConfigError(
                    f"policy.{name} is {share}, but model.policy_input is {self.model.policy_input}: in latents nothing can be shown "
                    f"elsewhere; set it to 0, or model.policy_input to poses"
                )
        told = {"slides": self.slides, "switches": self.switches}
        if (named := [name for name, one in told.items() if one is not None]) and (self.grasps is None or self.looks is None):
            raise ConfigError(
                f"{named[0]} is set, and {'grasps' if self.grasps is None else 'looks'} is null: pictures tell how {named[0]} stand beside "
                f"a thing that is held; leave grasps and looks out for their defaults, or set {named[0]} to null"
            )
        if self.grasps is not None and self.grasps.things > 1 and self.looks is None:
            raise ConfigError(
                f"grasps.things is {self.grasps.things}, and joints do not say which of several things was held: pictures do, so looks "
                f"must not be null; leave it out for its defaults"
            )
        if self.local_goals is not None:
            require_local_goals(self.local_goals.ahead, self.model.action_block)

    def to_json(self) -> dict[str, Any]:
        """What checkpoints say; without what came later where it is off, as before there was any, so that trainings of then go on."""
        data = asdict(self)
        if not self.model.memory:
            del data["memory"], data["model"]["memory"]
        if not self.model.outcomes:
            del data["futures"], data["model"]["outcomes"]
        for name in ("slides", "switches", "local_goals", "moves", "redrawn", "labeller", "video", "words"):
            if data[name] is None:
                del data[name]
        if self.pseudo_actions == PseudoActions():
            del data["pseudo_actions"]
        for name in _ELSEWHERE:
            if not data["policy"][name]:
                del data["policy"][name]
        if not self.representation.camera_effects.is_on:
            del data["representation"]["camera_effects"]
        return data

    @property
    def num_objects(self) -> int:
        """Of how many objects, slides and switches included, recordings tell poses."""
        beside = sum(one.count for one in (self.slides, self.switches) if one is not None)
        return 1 if self.grasps is None else self.grasps.things + beside

    @property
    def autocast(self) -> bool:
        return self.precision == "bfloat16" or (self.precision == "auto" and self.device.startswith("cuda"))
