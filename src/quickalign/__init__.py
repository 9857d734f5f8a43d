"""quickalign: from preference data and an open language model to an aligned model, on your own machines."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quickalign.sdk.deploy import AutoscalingConfig
    from quickalign.sdk.model_recipe import ModelRecipe, ModelRecipeType
    from quickalign.sdk.predictor import Predictor
    from quickalign.sdk.recipe import ModelTrainingRecipe
    from quickalign.sdk.registered_model import RegisteredModel
    from quickalign.sdk.session import Session, get_default_session, setup_default_session
    from quickalign.sdk.training_job import TrainingJob, TrainingJobStatus
    from quickalign.sdk.words import random_str

__version__ = "0.1.0"

__all__ = [
    "AutoscalingConfig",
    "ModelRecipe",
    "ModelRecipeType",
    "ModelTrainingRecipe",
    "Predictor",
    "RegisteredModel",
    "Session",
    "TrainingJob",
    "TrainingJobStatus",
    "__version__",
    "get_default_session",
    "random_str",
    "setup_default_session",
]

_HOMES = {
    "AutoscalingConfig": "deploy",
    "ModelRecipe": "model_recipe",
    "ModelRecipeType": "model_recipe",
    "ModelTrainingRecipe": "recipe",
    "Predictor": "predictor",
    "RegisteredModel": "registered_model",
    "Session": "session",
    "TrainingJob": "training_job",
    "TrainingJobStatus": "training_job",
    "get_default_session": "session",
    "random_str": "words",
    "setup_default_session": "session",
}


def __getattr__(name: str) -> Any:
    """The SDK's names, imported when they are first used: a training process needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'quickalign' has no attribute {name!r}")
    found = getattr(import_module(f"quickalign.sdk.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
