"""Measuring what a planner achieves: frozen pairs of start and goal, rows run on them, intervals and tables."""
