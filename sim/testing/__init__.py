"""Suites that a world of your own inherits."""
