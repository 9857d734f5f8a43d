"""Runs a task of this folder's `tasks` by lm-eval's own library: MODEL, its arguments as JSON, TASK, folder of the tasks.

Its command line would read the thousands of tasks that come with it first.
"""

import json
import sys

import lm_eval
from lm_eval.tasks import TaskManager

model, arguments, task, folder = sys.argv[1:]
found = lm_eval.simple_evaluate(
    model=model,
    model_args=json.loads(arguments),
    tasks=[task],
    task_manager=TaskManager(include_path=folder, include_defaults=False),
    apply_chat_template="chat" in model,
    bootstrap_iters=0,
)
print(json.dumps({"results": found["results"][task], "samples": found["samples"][task]}, default=str))
