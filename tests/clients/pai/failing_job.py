"""With the stock client: a job that cannot be made, and one that fails. Prints the log, then JSON."""

import json
import sys

from pai.exception import UnexpectedStatusException
from pai.job import TrainingJob
from pai.model import ModelTrainingRecipe
from Tea.exceptions import TeaException

told = {}


def recipe(**options):
    hyperparameters = {"training_strategy": "dpo", "load_in_4bit": False, **options}
    return ModelTrainingRecipe(
        model_name="qwen2-tiny-instruct", model_provider="pai", method="LoRA_LLM", hyperparameters=hyperparameters
    )


try:
    recipe(dpo_bta=0.2).train(inputs={"train": sys.argv[1]}, show_logs=False)
except TeaException as error:
    told["refused"] = [error.code, error.message]
failing = recipe()
try:
    failing.train(inputs={"train": sys.argv[1]})
except UnexpectedStatusException as error:
    # its own text names the job alone, whatever a server says: the package forgets to join the rest to it
    told["failed"] = [error.status, TrainingJob.get(failing.latest_job.id).reason_message]
print("TOLD " + json.dumps(told))
