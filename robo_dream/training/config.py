"""How a model is trained: sizes, weights and budgets of both stages, with where the numbers come from."""

from dataclasses import dataclass, field
from typing import Literal

from robo_dream.errors import ConfigError
from robo_dream.models.config import ModelConfig, Precision


@dataclass(frozen=True)
class RepresentationConfig:
    """Stage 1: encoder and decoder, shaped by everything that the latent must serve.

    Every loss is in units of the variance of what it predicts, so a weight of 1 means: as important as explaining the pictures.
    """

    steps: int = 3000
    batch_windows: int = 48
    unroll: int = 2  # imagined steps in a window
    decoded_frames: int = 2  # real frames decoded of each window; all of them cost more than they teach
    learning_rate: float = 1e-3
    muon_lr: float = 0.0  # Muon's, for matrices; 0: AdamW learns them too
    warmup: float = 0.03  # fraction of the steps
    weight_decay: float = 1e-2
    reconstruction: float = 1.0
    prediction: float = 0.3  # pictures of an imagined latent
    latent: float = 1.0  # unrolled latent dynamics
    inverse_dynamics: float = 0.5  # keeps what matters for acting (RWM, arXiv 2609.29171)
    bridge: float = 0.3  # the same, off interpolated latents between a frame and a later one
    bridge_consistency: float = 0.0  # interpolated latents against encoded ones: straightens the ways
    goal_policy: float = 0.1
    pose: float = 1.0  # 0 switches the labels off
    covariance: float = 0.02  # VICReg (arXiv 2105.04906); its variance term is the encoder's normalisation
    pixel_focus: float = 4.0  # extra weight of pixels unlike the mean picture, where objects and arm are
    color_jitter: float = 0.05  # brightness and contrast, of the input only
    shift: int = 0  # pixels, of the input and the target alike

    def __post_init__(self) -> None:
        _positive(self, "steps", "batch_windows", "unroll", "decoded_frames", "learning_rate")
        _not_negative(self, "muon_lr", "inverse_dynamics", "bridge", "bridge_consistency")


@dataclass(frozen=True)
class DreamConfig:
    """Stage 2: dynamics, distance and pose head on frozen latents, and the decoder on imagined ones."""

    steps: int = 4000
    batch: int = 512
    unroll: int = 8  # imagined steps on its own predictions
    learning_rate: float = 1e-3
    muon_lr: float = 0.0  # Muon's, for matrices; 0: AdamW learns them too
    warmup: float = 0.03
    weight_decay: float = 1e-2
    bootstrap: float = 0.5  # fraction of the windows that a head is weighted on
    shortest_goal: int = 5  # control steps
    longest_goal: int = 80  # trying again takes long
    returning_goals: float = 0.15  # fraction of the goals at which the tool is where it started and the object is not
    expectile: float = 0.9  # HILP (arXiv 2402.15567) takes 0.9 to 0.95
    target_rate: float = 0.005
    random_goals: float = 0.3  # fractions of the distance's goals
    same_goals: float = 0.05
    bridge: float = 1.0  # beside the inverse loss of real neighbours, whose weight is 1
    pose: float = 1.0
    decoder_steps: int = 500
    decoder_batch: int = 64
    decoder_learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        _positive(self, "steps", "batch", "unroll", "learning_rate", "shortest_goal")
        _not_negative(self, "muon_lr", "bridge")
        if self.longest_goal <= self.shortest_goal:
            raise ConfigError(f"longest_goal is {self.longest_goal} control steps; it must be beyond shortest_goal {self.shortest_goal}")
        if not 0 <= self.returning_goals <= 1:
            raise ConfigError(f"returning_goals is {self.returning_goals}; it is a fraction, from 0 to 1")
        if not 0 < self.bootstrap <= 1:
            raise ConfigError(f"bootstrap is {self.bootstrap}; it must be a fraction above 0 and at most 1")
        if not 0.5 <= self.expectile < 1:
            raise ConfigError(f"expectile is {self.expectile}; it must be at least 0.5 and below 1")


@dataclass(frozen=True)
class PolicyConfig:
    """Within stage 2: the policy on what it sees of frozen latents."""

    steps: int = 6000
    batch: int = 384
    learning_rate: float = 1e-3
    muon_lr: float = 0.0  # Muon's, for matrices; 0: AdamW learns them too
    warmup: float = 0.03
    weight_decay: float = 1e-3
    skills: tuple[str, ...] = ()  # whose actions are imitated; none named: all
    within_skill: float = 0.9  # fraction of the goals that the skill under way reaches; the others are of the whole episode
    at_end: float = 0.4  # fraction of the goals at the very end of the skill (or of the episode)
    shortest_goal: int = 5  # control steps
    longest_goal: int = 100
    perception_noise: float = 0.0  # fraction of demonstrated pairs that are seen as badly as held-out pictures are: see `PerceptionErrors`

    def __post_init__(self) -> None:
        _positive(self, "steps", "batch", "learning_rate", "shortest_goal")
        _not_negative(self, "muon_lr")
        if self.longest_goal <= self.shortest_goal:
            raise ConfigError(f"longest_goal is {self.longest_goal} control steps; it must be beyond shortest_goal {self.shortest_goal}")
        for name in ("within_skill", "at_end", "perception_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"PolicyConfig.{name} is {getattr(self, name)}; it is a fraction, from 0 to 1")


@dataclass(frozen=True)
class TrainingConfig:
    """Both stages and what they share."""

    model: ModelConfig = field(default_factory=ModelConfig)
    representation: RepresentationConfig = field(default_factory=RepresentationConfig)
    dream: DreamConfig = field(default_factory=DreamConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    seed: int = 0
    device: str = "cpu"
    precision: Precision | Literal["auto"] = "auto"  # of matrix products; auto: bfloat16 on CUDA, float32 elsewhere
    save_seconds: float = 120.0
    log_steps: int = 50
    tensorboard: bool = False
    evaluation_windows: int = 200

    def __post_init__(self) -> None:
        _positive(self, "save_seconds", "log_steps", "evaluation_windows")
        if self.model.policy_input == "poses" and self.dream.pose == 0:
            raise ConfigError(
                "dream.pose is 0, so nothing reads poses, but model.policy_input is poses; set it to latents, or dream.pose above 0"
            )

    @property
    def autocast(self) -> bool:
        return self.precision == "bfloat16" or (self.precision == "auto" and self.device.startswith("cuda"))


def _positive(config: object, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise ConfigError(f"{type(config).__name__}.{name} is {getattr(config, name)}; it must be positive")


def _not_negative(config: object, *names: str) -> None:
    for name in names:
        if not getattr(config, name) >= 0:
            raise ConfigError(f"{type(config).__name__}.{name} is {getattr(config, name)}; it must not be negative, and 0 switches it off")
