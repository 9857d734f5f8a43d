"""A service's errors, at the place where PAI's SDK has them: `from quickalign.exception import PredictionException`."""

from quickalign.sdk.service_http import PredictionException

__all__ = ["PredictionException"]
