"""A model's folder as a GGUF file, for measuring against llama.cpp: `python -m scripts.make_gguf FOLDER FILE [--type TYPE]`.

What was trained here is exported with `quickalign export --compression gguf` instead, which also proves it.
"""

import argparse
from pathlib import Path

import torch

from quickalign.data.tokenizer import load_tokenizer
from quickalign.export.gguf import writer
from quickalign.export.gguf.vocabulary import vocabulary_of
from quickalign.train.model import load_base
from quickalign.train.prompts import PromptEncoder


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--type", choices=("F32", "F16", "BF16", "Q8_0", "Q4_0"), default="F32")
    given = parser.parse_args()
    model, tokenizer = load_base(given.folder, dtype=torch.float32), load_tokenizer(given.folder)
    encoder = PromptEncoder(tokenizer, apply_chat_template=bool(tokenizer.chat_template), system_prompt="")
    vocabulary = vocabulary_of(tokenizer, model.config.vocab_size, sorted(encoder.stop_tokens(model)))
    writer.write(model, vocabulary, given.file, given.type, {"name": given.folder.name, "license": "other"})
    print(f"{given.file}: {given.file.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
