"""The tokenizer of a model's folder."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from quickalign.core.errors import ModelError


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`; runs no code from it.

    Raises:
        ModelError: there is none that can be loaded.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the library behind it tells of damaged files by no kind of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"The tokenizer in {folder} cannot be loaded: {reason.rstrip('.')}.", "Fetch the model's files again."
        ) from None
    return tokenizer
