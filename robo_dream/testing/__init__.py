"""Conformance suites to inherit, and small analytic worlds whose right answers are known. Needs pytest."""
