"""Worlds that others wrote, each behind one thin adapter: what robo_dream needs to collect, train, plan and evaluate in them."""
