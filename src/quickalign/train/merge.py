"""Starting from an adapter: it is merged into its full-precision base once, and the result is the base of the run.

A new adapter on the merged base starts as the old one ended, the reference of dpo is the old adapter's model, and
nothing is ever merged into quantised weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel

from quickalign.core import atomic, paths
from quickalign.data.tokenizer import load_tokenizer
from quickalign.train import manifest
from quickalign.train.manifest import weights_sha256
from quickalign.train.model import load_base


def merged_base(adapter: Path) -> Path:
    """The folder of `adapter` merged into its base in fp32; made at most once per content of the two.

    Raises:
        ModelError: the base is not to be had, or is not the one that the adapter was trained on.
    """
    base = manifest.base_of(adapter)
    target = paths.home() / "merged" / f"{weights_sha256(adapter)[:24]}-{base.fingerprint[:24]}"
    if target.exists():
        return target
    model = PeftModel.from_pretrained(load_base(base.path, dtype=torch.float32), str(adapter))
    with atomic.folder(target) as folder:
        model.merge_and_unload().save_pretrained(folder)
        load_tokenizer(adapter).save_pretrained(folder)
    return target
