"""Which files of a folder have a part in the model, adapter or tokenizer that is loaded from it."""

import re
from pathlib import Path

_READ = re.compile(
    r"(adapter_config|config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|tekken)"
    r"\.json|chat_template\.jinja|(merges|vocab)\.txt|.*\.model|.*\.safetensors(\.index\.json)?"
)
_DEFAULT_TEMPLATE = "additional_chat_templates/default.jinja"
"""Of the templates in a folder of their own, the one that transformers takes before `chat_template.jinja`."""


def files_read(folder: Path) -> set[str]:
    """Names of the files in `folder` that transformers, PEFT or an engine look for there, whatever else lies there."""
    names = {file.name for file in folder.iterdir() if _READ.fullmatch(file.name) and file.is_file()}
    return names | ({_DEFAULT_TEMPLATE} if (folder / _DEFAULT_TEMPLATE).is_file() else set())
