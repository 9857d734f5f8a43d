"""A model's tokenizer from its folder, loaded in one way by everybody."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from quickalign.core.errors import ModelError, first_line


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, without running code from it.

    Raises:
        ModelError: there is none that can be loaded.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # damaged files make the libraries raise of every kind, a plain Exception among them
        raise ModelError(
            f"The tokenizer in {folder} cannot be loaded: {first_line(error).rstrip('.')}.",
            "Fetch the model's files again.",
        ) from error
    return tokenizer
