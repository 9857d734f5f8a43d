"""Write a randomly initialised model of a real model's shape, to measure memory and speed without its weights.

    python scripts/make_random_model.py qwen2-0.5b-instruct /tmp/random-0.5b

The folder has Hugging Face layout: the shape of the named model card, bf16 safetensors (one file, written tensor by
tensor, so memory stays at the largest tensor's size), and the embedded model's tokenizer and chat template. The shape's
vocabulary size is kept; the ids beyond the tokenizer's own occur in no prompt and in no greedy answer.
"""

import argparse
import json
import shutil
import struct
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from quickalign.core import paths
from quickalign.core.errors import OptionError
from quickalign.hub.cards import ModelCard, find_card

TINY_MODEL = "qwen2-tiny-instruct"
TINY_TOKENS = 5632
VOCABULARY_MATRICES = ("embed_tokens.weight", "lm_head.weight")
INITIAL_STD = 0.02  # as Qwen2's own `initializer_range`
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def write_model(config: PretrainedConfig, folder: Path, seed: int = 0, device: str = "cpu") -> int:
    """Write `config` and random bf16 weights, drawn on `device`, into `folder`; returns the number of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config.dtype = torch.bfloat16
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items() if name not in tied}
    _write_safetensors(folder / "model.safetensors", shapes, torch.Generator(device).manual_seed(seed))
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def _write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], generator: torch.Generator) -> None:
    """The format: 8 bytes little-endian header length, a JSON header, then the tensors' bytes in its order."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            stream.write(_values(name, shape, generator).cpu().view(torch.uint8).numpy().data)


def _values(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if name.endswith("norm.weight"):
        return torch.ones(shape, dtype=torch.bfloat16)
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.bfloat16)
    values = torch.empty(shape, dtype=torch.bfloat16, device=generator.device).normal_(
        0, INITIAL_STD, generator=generator
    )
    if name.endswith(VOCABULARY_MATRICES):
        values[TINY_TOKENS:] = 0  # as costly to compute, and never the likeliest
    return values


def config_of(card: ModelCard) -> PretrainedConfig:
    """The transformers configuration of a card's model.

    Raises:
        OptionError: the card is of the embedded model, which needs no stand-in.
    """
    if card.config is None:
        raise OptionError(f"{card.name} ships with the package.", "Name another card.")
    fields = {name: value for name, value in card.config.items() if name not in ("model_type", "architectures")}
    fields["max_position_embeddings"] = card.context_length
    config: PretrainedConfig = AutoConfig.for_model(card.config["model_type"], **fields)
    return config


def make_random_model(card: str, folder: Path, seed: int = 0, device: str = "cpu") -> int:
    """Write the model of the card named `card` with the embedded tokenizer; returns its number of parameters."""
    count = write_model(config_of(find_card(card)), folder, seed, device)
    tiny = paths.assets() / TINY_MODEL
    for name in TOKENIZER_FILES:
        if (tiny / name).exists():
            shutil.copy(tiny / name, folder / name)
    return count


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card", help="name of a model card, such as qwen2-0.5b-instruct")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    count = make_random_model(arguments.card, arguments.folder, arguments.seed)
    print(f"{arguments.folder}: {count:,} random weights of the shape of {arguments.card}")


if __name__ == "__main__":
    main()
