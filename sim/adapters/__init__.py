"""Worlds that others wrote, each behind one thin adapter."""
