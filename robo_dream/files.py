"""Finds the files that come with robo_dream: its configurations, manifests and demo checkpoint."""

from pathlib import Path

_HERE = Path(__file__).parent  # holds configs/: in a clone as a link to the one at the top, in an installed package as files


def packaged(path: str | Path) -> Path:
    """`path` as it is where it exists; a relative `configs/...` that does not exist here is the one that comes with robo_dream.

    So `configs/plan/demo.yaml` means the same in a clone, where it lies in the working directory, and in an empty folder. For reading
    only: what is written goes where the caller says. A path that is nowhere comes back unchanged, to be named in an error.
    """
    path = Path(path)
    if path.is_absolute() or path.parts[:1] != ("configs",) or path.exists():
        return path
    ours = _HERE / path
    return ours if ours.exists() else path
