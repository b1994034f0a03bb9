"""How the receding-horizon loop runs."""

from dataclasses import dataclass, field

from robo_dream.control.safety import SafetyLimits
from robo_dream.errors import ConfigError


@dataclass(frozen=True)
class LoopConfig:
    """`execute_steps` None is one action block: replanning each block instead of every fifth is worth tens of points (field.md)."""

    max_steps: int = 50  # control steps
    execute_steps: int | None = None  # control steps of each plan that are executed; a multiple of the model's action block
    decision_seconds: float | None = None  # deadline of each decision; None lets the search finish
    overlap: bool = False  # plan in a thread while the arm moves, instead of stopping to think
    commit_steps: int | None = None  # control steps that are fixed while the next ones are planned; None: one action block
    actuation_seconds: float = 0.0  # from sending a target to the arm moving, as calibrated; compensated where planning overlaps
    history: int = 16  # newest observations handed to the model, which takes what it needs of them
    limits: SafetyLimits = field(default_factory=SafetyLimits)

    def __post_init__(self) -> None:
        for name in ("max_steps", "execute_steps", "commit_steps", "history"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"LoopConfig.{name} is {value}; allowed is 1 or more")
        if not 0 <= self.actuation_seconds < 2:
            raise ConfigError(f"LoopConfig.actuation_seconds is {self.actuation_seconds} s; allowed is 0 to 2 s")
        if self.decision_seconds is not None and not self.decision_seconds > 0:
            raise ConfigError(f"LoopConfig.decision_seconds is {self.decision_seconds} s; allowed is any positive number, or none")
