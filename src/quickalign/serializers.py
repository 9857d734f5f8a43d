"""Serializers, at the place where PAI's SDK has them: `from quickalign.serializers import JsonSerializer`."""

from quickalign.sdk.serializers import BytesSerializer, JsonSerializer, SerializerBase

__all__ = ["BytesSerializer", "JsonSerializer", "SerializerBase"]
