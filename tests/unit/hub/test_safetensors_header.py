import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from quickalign.core.errors import ModelError
from quickalign.hub.safetensors_header import TensorHeader, read_header
from tests.doubles.models import safetensors, weights


def test_reads_what_the_library_writes(tmp_path):
    """The safetensors library is the oracle of the format."""
    import numpy

    path = tmp_path / "a.safetensors"
    save_file({"a": numpy.zeros((3, 5), "float32"), "b": numpy.ones(7, "float16")}, path, metadata={"format": "pt"})
    assert read_header(path) == {"a": TensorHeader("F32", (3, 5)), "b": TensorHeader("F16", (7,))}


@given(cut=st.integers(min_value=0))
def test_every_truncation_is_found_and_the_file_named(tmp_path_factory, cut):
    content = weights()
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    path.write_bytes(content[: cut % len(content)])
    with pytest.raises(ModelError, match=r"model.safetensors is damaged"):
        read_header(path)


@pytest.mark.parametrize(
    "content",
    [
        weights() + b"x",
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 1 << 60) + b"{}",
        safetensors({"a": ("F32", [3], bytes(8))}),
    ],
    ids=["too long", "no JSON", "no object", "huge header", "offsets against shape"],
)
def test_other_damage(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"is damaged"):
        read_header(path)
