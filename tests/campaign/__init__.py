"""The fault campaign: what goes wrong, in simulated time, with drivers, guard, emulated wires and physics in one process."""
