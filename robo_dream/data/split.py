"""Which episodes are held out: a rule of seed and episode number alone, so that appending never moves an episode."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from robo_dream.errors import ContractError


@dataclass(frozen=True)
class SplitRule:
    """One episode of every block of round(1 / test_fraction) is held out; which one is a hash of the seed and the block.

    So the fraction is exact and even a small dataset has a held-out episode.
    """

    seed: int
    test_fraction: float

    def check(self) -> None:
        if not 0 < self.test_fraction <= 0.5:
            raise ContractError(f"test_fraction is {self.test_fraction}; allowed: above 0, at most 0.5 (0.05 to 0.1 is usual)")

    @property
    def block(self) -> int:
        return round(1 / self.test_fraction)

    def is_train(self, episode_index: int) -> bool:
        block_index, place = divmod(episode_index, self.block)
        digest = hashlib.sha256(f"{self.seed}:{block_index}".encode()).digest()
        return place != int.from_bytes(digest[:8], "big") % self.block

    def to_json(self) -> dict[str, Any]:
        return {
            "test_fraction": self.test_fraction,
            "rule": f"test when index % {self.block} == uint64(sha256('<seed>:<index // {self.block}>')[:8], big endian) % {self.block}",
        }


def split_ranges(is_train: Sequence[bool]) -> dict[str, str]:
    """LeRobot's "splits" entry: half-open episode ranges such as `{"train": "0:3,4:10", "test": "3:4"}`.

    LeRobot itself writes one range a split and reads none; several ranges are joined by commas.
    """
    ranges: dict[str, list[str]] = {"train": [], "test": []}
    start = 0
    for i in range(1, len(is_train) + 1):
        if i == len(is_train) or is_train[i] != is_train[start]:
            ranges["train" if is_train[start] else "test"].append(f"{start}:{i}")
            start = i
    return {name: ",".join(parts) for name, parts in ranges.items() if parts}
