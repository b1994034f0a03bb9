"""Success over time: first hit (moderate) and held (strict), counted after each control step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far an attempt has come after `step` control steps.

    `moderate_step` is the first step that met the moderate condition; `strict_step` the step at which the strict condition had been
    met for as many steps in a row as the task asks. None until then.
    """

    step: int = 0
    moderate_step: int | None = None
    strict_step: int | None = None
    held: int = 0  # steps in a row up to now that met the strict condition

    def after(self, moderate: bool, strict: bool, hold_steps: int) -> "Progress":
        """The progress one control step later, at which the two conditions were or were not met."""
        step, held = self.step + 1, self.held + 1 if strict else 0
        return Progress(
            step=step,
            moderate_step=step if self.moderate_step is None and moderate else self.moderate_step,
            strict_step=step if self.strict_step is None and held >= hold_steps else self.strict_step,
            held=held,
        )
