import pytest

from quickalign.api.openai.mapping import CreateJob, to_job
from quickalign.core.errors import OptionError


def job(**changes):
    return to_job(CreateJob.model_validate({"model": "m", "training_file": "file-a"} | changes))


def dpo(**hyperparameters):
    return {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}


def test_dpo_hyperparameters_are_translated():
    method = dpo(n_epochs=3, batch_size=16, learning_rate_multiplier=2, beta=0.3, lora_dim=8)
    made = job(method=method, seed=7, suffix="mine", metadata={"a": "b"}, validation_file="file-b")
    assert made.spec.hyperparameters == {
        "training_strategy": "dpo",
        "num_train_epochs": 3,
        "gradient_accumulation_steps": 16,
        "per_device_train_batch_size": 1,
        "learning_rate": 1e-4,
        "dpo_beta": 0.3,
        "lora_dim": 8,
        "seed": 7,
    }
    assert (made.name, made.metadata, made.spec.validation) == ("mine", {"a": "b"}, "file-b")


def test_auto_leaves_the_default():
    method = dpo(n_epochs="auto", batch_size="auto", learning_rate_multiplier="auto", beta="auto")
    assert job(method=method).spec.hyperparameters == {"training_strategy": "dpo"}


def test_supervised_is_the_default_and_takes_old_hyperparameters():
    assert job().spec.hyperparameters == {"training_strategy": "sft"}
    assert job(hyperparameters={"n_epochs": 2}).spec.hyperparameters["num_train_epochs"] == 2
    part = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4}}}
    assert job(method=part).spec.hyperparameters["num_train_epochs"] == 4


def test_absent_and_empty_extras_are_no_matter():
    assert job(integrations=None, method=None, hyperparameters=None, suffix=None, integrations_too=[])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"integrations": [{"type": "wandb"}]}, "integrations"),
        ({"shared_with_project": True}, "shared_with_project"),
        ({"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}, "method.type"),
        ({"method": dpo(), "hyperparameters": {"n_epochs": 1}}, "hyperparameters"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised"),
        ({"method": {"type": "supervised", "dpo": {}}}, "method.dpo"),
        ({"hyperparameters": {"beta": 0.1}}, "method.supervised.hyperparameters.beta"),
        ({"method": dpo(n_epochs=0)}, "method.dpo.hyperparameters.n_epochs"),
        ({"method": dpo(n_epochs=1.5)}, "method.dpo.hyperparameters.n_epochs"),
        ({"method": dpo(batch_size=True)}, "method.dpo.hyperparameters.batch_size"),
        ({"method": dpo(beta="high")}, "method.dpo.hyperparameters.beta"),
        ({"method": dpo(beta=0.1, dpo_beta=0.2)}, "method.dpo.hyperparameters.dpo_beta"),
        ({"method": dpo(seed=1), "seed": 2}, "seed"),
        ({"method": dpo(training_strategy="sft")}, "method.dpo.hyperparameters.training_strategy"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(changes, field):
    with pytest.raises(OptionError) as caught:
        job(**changes)
    assert caught.value.field == field
    assert caught.value.remedy
