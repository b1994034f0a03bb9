# dm_control makes its attributes at run time; this lets them pass as Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
