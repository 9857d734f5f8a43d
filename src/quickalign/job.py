"""Training jobs, at the place where PAI's SDK has them: `from quickalign.job import TrainingJob`."""

from quickalign.sdk.definitions import HyperParameterDefinition
from quickalign.sdk.training_job import TrainingJob, TrainingJobStatus

__all__ = ["HyperParameterDefinition", "TrainingJob", "TrainingJobStatus"]
