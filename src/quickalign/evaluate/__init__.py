"""Judging what a training run changed: stated rules for before/after answers, and held-out preference accuracy."""

from quickalign.evaluate.rules import Judgement, Outcome, judge

__all__ = ["Judgement", "Outcome", "judge"]
