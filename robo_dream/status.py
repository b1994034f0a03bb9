"""Why a plan is what it is, in a word and in a sentence. Needs no torch: records and pages say it too."""

from enum import StrEnum


class PlanStatus(StrEnum):
    """Everything but OK means: do not start new motion on this plan without thought."""

    OK = "OK"
    OUT_OF_TIME = "OUT_OF_TIME"  # best of what was scored before the deadline
    NO_FINITE_ROLLOUT = "NO_FINITE_ROLLOUT"  # every candidate's cost was NaN or infinite
    UNSURE = "UNSURE"  # the model does not know the futures of this plan, or does not see where the arm is

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    PlanStatus.OK: "The search ran to its end.",
    PlanStatus.OUT_OF_TIME: "The deadline passed; this is the best candidate scored until then.",
    PlanStatus.NO_FINITE_ROLLOUT: "No candidate had a finite cost; the arm should hold. Check the goal, the checkpoint and the frames.",
    PlanStatus.UNSURE: "The model knows too little of where this plan leads, or of what it sees; the arm should hold or move carefully.",
}
