"""How a predictor's data becomes a request's body, and an answer's body data: PAI's serializers that services need."""

import json
from abc import ABC, abstractmethod
from typing import Any


class SerializerBase(ABC):
    """From what `Predictor.predict` is given to bytes, and from an answer's bytes to what it returns."""

    @abstractmethod
    def serialize(self, data: Any) -> bytes:
        """The body of a request."""

    @abstractmethod
    def deserialize(self, data: bytes) -> Any:
        """What the body of an answer says."""


class JsonSerializer(SerializerBase):
    """JSON both ways. A text is taken for JSON already; arrays and data frames become lists."""

    def serialize(self, data: Any) -> bytes:
        """See `SerializerBase`."""
        if isinstance(data, str):
            return data.encode()
        if hasattr(data, "to_numpy"):
            data = data.to_numpy()
        return json.dumps(data.tolist() if hasattr(data, "tolist") else data).encode()

    def deserialize(self, data: bytes) -> Any:
        """See `SerializerBase`."""
        return json.loads(data)


class BytesSerializer(SerializerBase):
    """Bytes both ways; objects and lists are sent as JSON, anything else as its text."""

    def serialize(self, data: Any) -> bytes:
        """See `SerializerBase`."""
        match data:
            case bytes():
                return data
            case dict() | list() | tuple():
                return json.dumps(data).encode()
        return str(data).encode()

    def deserialize(self, data: bytes) -> bytes:
        """See `SerializerBase`."""
        return data
