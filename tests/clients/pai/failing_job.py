"""With the stock client: a job that cannot be made, and one that fails. Prints JSON."""

import json
import sys

from pai.exception import UnexpectedStatusException
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
try:
    recipe().train(inputs={"train": sys.argv[1]}, show_logs=False)
except UnexpectedStatusException as error:
    told["failed"] = str(error)
print("TOLD " + json.dumps(told))
