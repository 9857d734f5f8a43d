"""Watching a run: what a training run tells its observer, drawn on a terminal, written as lines, or as JSON."""
