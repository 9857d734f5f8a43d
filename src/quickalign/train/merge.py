"""Starting from an adapter: it is merged into its full-precision base once, and the result is the base of the run.

A new adapter on the merged base starts as the old one ended, the reference of dpo is the old adapter's model, and
nothing is ever merged into quantised weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import yaml

from quickalign.core import atomic, paths
from quickalign.core.checksums import sha256_of
from quickalign.data.tokenizer import load_tokenizer
from quickalign.hub.licence import license_of
from quickalign.train.manifest import base_of, weights_sha256
from quickalign.train.model import load_adapter, load_base
from quickalign.train.trained import tokenizer_folder

_MARK = "-merged-"
_CARD = """\
---
{front}---

{base} with the adapter of SHA-256 {adapter} merged into it in fp32, made by quickalign to train further from there.
"""


def merged_base(adapter: Path) -> Path:
    """The folder of `adapter` merged into its base in fp32, named after the base; made at most once per content of the
    two. Its card hands on the base's licence.

    Raises:
        ModelError: the adapter cannot be loaded; or its base is not to be had, or not the one that it was trained on.
    """
    base = base_of(adapter)
    content = weights_sha256(adapter) + sha256_of(adapter / "adapter_config.json") + base.fingerprint
    short = base.name.rpartition("/")[2].partition(_MARK)[0]
    target = paths.home() / "merged" / f"{short}{_MARK}{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if target.exists():
        return target
    tokenizer = load_tokenizer(tokenizer_folder(adapter, base.path))
    model = load_adapter(load_base(base.path, dtype=torch.float32), adapter)
    with atomic.folder(target) as folder:
        model.merge_and_unload().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        front = {"license": license_of(base.name, base.path), "base_model": base.name}
        card = _CARD.format(front=yaml.safe_dump(front), base=base.name, adapter=weights_sha256(adapter))
        (folder / "README.md").write_text(card, encoding="utf-8")
    return target
