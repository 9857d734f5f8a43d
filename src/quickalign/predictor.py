"""Predictors, at the place where PAI's SDK has them: `from quickalign.predictor import Predictor`."""

from quickalign.sdk.predictor import EndpointType, Predictor, ServiceStatus
from quickalign.sdk.service_http import RawResponse

__all__ = ["EndpointType", "Predictor", "RawResponse", "ServiceStatus"]
