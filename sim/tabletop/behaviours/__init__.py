"""Scripted and exploratory behaviour for data; it sees the simulator's state, which planners never do."""
