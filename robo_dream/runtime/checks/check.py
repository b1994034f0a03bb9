"""The result of looking at one thing on this machine."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    ABSENT = "absent"  # optional
    BROKEN = "broken"  # needed, or half there


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it works, what was found, and what to do about it."""

    name: str
    status: Status
    finding: str
    fix: str = ""
