"""How good a model is, and whether it is sound: figures on held-out data, and answers side by side."""

from quickalign.evaluate.rules import Judgement, Outcome, judge

__all__ = ["Judgement", "Outcome", "judge"]
