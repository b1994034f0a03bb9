"""Judges of imagined futures: what each costs per imagined step, in parts."""
