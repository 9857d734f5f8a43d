"""Texts of few different token ids, so that they often begin alike."""

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import BlockMask

from quickalign.data.encode import IntArray
from quickalign.train.scoring.base import to_device_together
from quickalign.train.scoring.flex import make_block_mask, mask_parts

TEXTS = st.lists(st.lists(st.integers(0, 2), max_size=9), min_size=1, max_size=8)


def as_ids(text: Sequence[int]) -> IntArray:
    """The text as int32 token ids."""
    return np.array(text, dtype=np.int32)


def of_lengths(*shape: tuple[int, Sequence[int]]) -> list[IntArray]:
    """Texts with these lengths of prompts and of their answers; no two prompts of other lengths, no answers begin alike."""
    texts: list[IntArray] = []
    for prompt, answers in shape:
        for answer in answers:
            own = 1_000_000 + len(texts)
            texts.append(as_ids([*([prompt] * prompt), *([own] * answer)]))
    return texts


def block_mask(reach: IntArray, device: str = "cpu") -> BlockMask:
    """FlexAttention's mask of a packed sequence."""
    _, parts = to_device_together(mask_parts(reach), torch.device(device))
    return make_block_mask(parts, len(reach))
