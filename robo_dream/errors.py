"""The errors that robo_dream raises on purpose.

Each message names the thing, its value, what was allowed and what to do next.
"""


def one_line(error: BaseException, most: int = 1000) -> str:
    """What `error` says, on one line of bounded length: of other libraries' errors nothing is known."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]} ..."


class RoboDreamError(Exception):
    """Base of every error that robo_dream raises on purpose."""


class ConfigError(RoboDreamError):
    """A configuration file or override that cannot be used as written."""


class ContractError(RoboDreamError, ValueError):
    """A value that breaks a documented contract: wrong shape, unit, range or missing part."""


class DataError(RoboDreamError):
    """A dataset, cache or record on disk that cannot be read as what it claims to be."""


class CheckpointError(RoboDreamError):
    """A checkpoint that is damaged, of another version, or does not fit the world it is used in."""


class MissingExtraError(RoboDreamError, ImportError):
    """An optional dependency or system library is not installed; the message says how to install it."""


class CameraError(RoboDreamError):
    """The camera did not answer, or what it sent cannot be used."""


class StaleObservationError(RoboDreamError):
    """A frame or joint state is too old to act on."""


class SafetyStopError(RoboDreamError):
    """A safety check refused to let the arm move."""


class ArmError(RoboDreamError):
    """The arm did not answer, or answered that something is wrong."""


class NoAnswerError(RoboDreamError):
    """A planner on another computer cannot be reached, did not answer in time, or refused to."""
