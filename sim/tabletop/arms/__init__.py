"""Arms that the scene can hold, each described by an `ArmModel`."""
