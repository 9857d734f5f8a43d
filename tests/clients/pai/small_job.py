"""With the stock client: train on a local file, fetch what came of it, list, register, and stop. Prints JSON."""

import json
import sys
from pathlib import Path

import oss2
from pai.common.oss_utils import OssUriObj
from pai.job import TrainingJob
from pai.model import Model, ModelTrainingRecipe, RegisteredModel
from pai.session import get_default_session

OPTIONS = {"training_strategy": "dpo", "max_steps": 2, "load_in_4bit": False, "seq_length": 64}

session = get_default_session()
told = {}

recipe = ModelTrainingRecipe(
    model_name="qwen2-tiny-instruct", model_provider="pai", method="LoRA_LLM", hyperparameters=OPTIONS
)
job = recipe.train(inputs={"train": sys.argv[1]}, job_name="small", show_logs=False)
told["status"] = TrainingJob.get(job.training_job_id).status
told["listed"] = [one.training_job_name for one in TrainingJob.list(status="Succeed")]

place = OssUriObj(recipe.model_data())
bucket = session.get_oss_bucket(place.bucket_name)
told["files"] = sorted(one.key.removeprefix(place.object_key) for one in oss2.ObjectIterator(bucket, place.object_key))
weights = Path("adapter_model.safetensors")
oss2.resumable_download(bucket, place.object_key + weights.name, str(weights), multiget_threshold=1 << 18)
told["weights_bytes"] = weights.stat().st_size

first = Model(
    model_data=recipe.model_data(),
    inference_spec=RegisteredModel("qwen2-tiny-instruct", model_provider="pai").inference_spec,
)
first.register("mine", version="1.0.0", model_labels={"team": "a"})
first.register("mine", version="1.1.0", version_description="the second")
found = RegisteredModel("mine")
told["latest"] = [found.model_version, found.uri == recipe.model_data(), found.model_labels]
told["versions"] = sorted(one.model_version for one in found.list_versions())
told["old"] = RegisteredModel("mine", model_version="1.0.0").model_version
session.model_api.delete(found.model_id)
told["registered"] = [one.model_name for one in RegisteredModel.list()]

long = ModelTrainingRecipe(
    model_name="qwen2-tiny-instruct",
    model_provider="pai",
    method="LoRA_LLM",
    hyperparameters={**OPTIONS, "max_steps": 500},
)
running = long.train(inputs={"train": sys.argv[1]}, wait=False)
client = session._acs_training_client
client.stop_training_job(running.training_job_id)
running.wait(interval=1, show_logs=False)
told["stopped"] = running.status
print("TOLD " + json.dumps(told))
