"""Starting from an adapter: it is merged into its full-precision base once, and the result is the base of the run.

A new adapter on the merged base starts as the old one ended, the reference of dpo is the old adapter's model, and
nothing is ever merged into quantised weights.
"""

from __future__ import annotations

from pathlib import Path

import torch

from quickalign.core import atomic, paths
from quickalign.core.checksums import sha256_of
from quickalign.data.tokenizer import load_tokenizer
from quickalign.train.manifest import base_of, weights_sha256
from quickalign.train.model import load_adapter, load_base
from quickalign.train.trained import tokenizer_folder


def merged_base(adapter: Path) -> Path:
    """The folder of `adapter` merged into its base in fp32; made at most once per content of the two.

    Raises:
        ModelError: the adapter cannot be loaded; or its base is not to be had, or not the one that it was trained on.
    """
    base = base_of(adapter)
    content = (weights_sha256(adapter)[:24], sha256_of(adapter / "adapter_config.json")[:8], base.fingerprint[:24])
    target = paths.home() / "merged" / "-".join(content)
    if target.exists():
        return target
    tokenizer = load_tokenizer(tokenizer_folder(adapter, base.path))
    model = load_adapter(load_base(base.path, dtype=torch.float32), adapter)
    with atomic.folder(target) as folder:
        model.merge_and_unload().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return target
