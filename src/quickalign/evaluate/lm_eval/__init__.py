"""What a model still can do: tasks of EleutherAI's lm-eval, run as a program of its own against a replica of ours."""

from quickalign.evaluate.lm_eval.bridge import run_tasks
from quickalign.evaluate.lm_eval.program import find_program

__all__ = ["find_program", "run_tasks"]
