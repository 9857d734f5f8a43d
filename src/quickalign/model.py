"""Models and recipes, at the place where PAI's SDK has them: `from quickalign.model import ModelTrainingRecipe`."""

from quickalign.sdk.deploy import AutoscalingConfig
from quickalign.sdk.model_recipe import ModelRecipe, ModelRecipeType
from quickalign.sdk.recipe import ModelTrainingRecipe
from quickalign.sdk.registered_model import RegisteredModel

__all__ = ["AutoscalingConfig", "ModelRecipe", "ModelRecipeType", "ModelTrainingRecipe", "RegisteredModel"]
