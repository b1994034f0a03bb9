"""Arms that a MuJoCo scene can hold, each described by an `ArmModel`."""
