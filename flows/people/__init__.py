"""Orchestration: the only folder that imports Prefect, and the command line on top of it."""
