"""Packages that an adapter needs and robo_dream does not."""

import importlib
from typing import Any

from robo_dream.errors import MissingExtraError


def extra_module(name: str, extra: str, then: str = "`") -> Any:
    """The module `name`; raises `MissingExtraError` saying which extra of robo_dream brings it, and what to do `then`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"this world needs {name.split('.')[0]}, which is not installed, or not whole ({error}); "
            f"run `pip install 'robo-dream[{extra}]'{then}"
        ) from error
