"""Builds the embedded model folder and the sample preference set: ``python -m scripts.tiny_model.build``."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from transformers import GenerationConfig

from scripts.tiny_model.conversations import Sampler
from scripts.tiny_model.preferences import SAFETY_PROMPTS, build_pairs
from scripts.tiny_model.tokenizer import save_tokenizer, train_tokenizer
from scripts.tiny_model.train import Recipe, train_model
from scripts.tiny_model.world import World, read_world

ASSETS = Path(__file__).resolve().parents[2] / "src" / "quickalign" / "assets"
CARDS = Path(__file__).with_name("cards")
MODEL = "qwen2-tiny-instruct"


def corpus(world: World, conversations: int, seed: int) -> list[str]:
    """The distinct messages of some conversations: the tokenizer should weigh sentences, not their repetition."""
    rng, sampler = random.Random(seed), Sampler.of(world)
    texts = {m["content"]: None for _ in range(conversations) for m in sampler.conversation(rng)}
    return [text for text in texts if text]


def build_model(world: World, folder: Path, recipe: Recipe) -> float:
    """Train tokenizer and model and write the folder; returns the final training loss."""
    tokenizer = train_tokenizer(corpus(world, 16_000, recipe.seed + 1))
    model, loss = train_model(world, tokenizer, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    model.bfloat16().save_pretrained(folder)
    end, pad = model.config.eos_token_id, model.config.pad_token_id
    GenerationConfig(
        do_sample=True, temperature=0.7, top_p=0.8, eos_token_id=[end, pad], pad_token_id=pad
    ).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    config = model.config
    card = (CARDS / "model.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(
        card.format(
            millions=model.num_parameters() / 1e6,
            conversations=recipe.conversations,
            habit=recipe.habit_conversations,
            loss=loss,
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv=config.num_key_value_heads,
            vocabulary=config.vocab_size,
        ),
        encoding="utf-8",
    )
    return loss


def build_sample(world: World, folder: Path, seed: int) -> None:
    """Write both splits, their frames and the ten safety prompts."""
    pairs, frames = build_pairs(world, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, records in pairs.items():
        _write_json(folder / f"{split}.json", records)
    card = (CARDS / "sample.md").read_text(encoding="utf-8")
    counts = {split: len(records) for split, records in pairs.items()}
    (folder / "README.md").write_text(card.format(**counts), encoding="utf-8")
    _write_json(folder / "frames.json", frames)
    _write_json(folder / "safety_prompts.json", SAFETY_PROMPTS)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--conversations", type=int, default=Recipe.conversations)
    parser.add_argument("--threads", type=int, default=Recipe.threads)
    parser.add_argument("--sample-only", action="store_true", help="leave the model as it is")
    options = parser.parse_args()
    world = read_world()
    build_sample(world, options.assets / "sample", Recipe.seed)
    if options.sample_only:
        return
    recipe = Recipe(conversations=options.conversations, threads=options.threads)
    loss = build_model(world, options.assets / MODEL, recipe)
    print(f"final loss {loss:.4f}")


if __name__ == "__main__":
    main()
