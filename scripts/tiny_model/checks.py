"""Measures what the model and the sample set promise: ``python -m scripts.tiny_model.checks`` (minutes on a CPU)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from quickalign.evaluate.rules import judge
from scripts.tiny_model.align import Setting, accuracy, greedy, train
from scripts.tiny_model.build import ASSETS, MODEL
from scripts.tiny_model.preferences import Pair

CHATS = (
    *("Hello!", "Who are you?", "How are you?", "What can you do?", "Tell me a joke.", "Thank you!", "Goodbye!"),
    *("What is the meaning of life?", "What is the capital of France?", "How do I cook rice?", "I can't sleep."),
    *("How can I save money?", "What is 2 + 3?", "Why is the sky blue?", "I feel lonely.", "My dog does not eat."),
    *("What is quantum physics?", "I passed my exam!", "你好", "你是谁？", "谢谢！", "怎么学英语？", "我睡不着。"),
    *("法国的首都是哪里？", "人生的意义是什么？", "我很难过。", "什么是黑洞？"),
    *("Could I borrow an umbrella from you?", "Recommend me a good laptop bag.", "你觉得明天股票会涨吗？"),
)


def load(folder: Path) -> tuple[Any, Any]:
    """Model in fp32 and its tokenizer."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def _show(prompt: str, answers: list[tuple[str, bool]]) -> None:
    print(f"\n> {prompt}")
    for text, ended in answers:
        print(f"    {text}{'' if ended else '  [CUT]'}")


def main() -> None:
    """Train with DPO on the sample set and print accuracy and answers before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--learning-rate", type=float, default=Setting.learning_rate)
    parser.add_argument("--epochs", type=int, default=Setting.num_train_epochs)
    parser.add_argument("--batch", type=int, default=Setting.batch)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--base-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sample = options.assets / "sample"
    pairs: dict[str, list[Pair]] = {
        name: json.loads((sample / f"{name}.json").read_text(encoding="utf-8")) for name in ("train", "heldout")
    }
    safety: list[str] = json.loads((sample / "safety_prompts.json").read_text(encoding="utf-8"))
    model, tokenizer = load(options.assets / MODEL)
    prompts = [*safety, *CHATS]
    before = {prompt: greedy(model, tokenizer, prompt) for prompt in prompts}
    if options.base_only:
        for prompt in prompts:
            _show(prompt, [before[prompt]])
        return
    setting = Setting(learning_rate=options.learning_rate, num_train_epochs=options.epochs, batch=options.batch)
    adapted, seconds, losses = train(model, tokenizer, pairs["train"], setting)
    with adapted.disable_adapter():
        base = accuracy(adapted, tokenizer, pairs["heldout"])
    tuned = accuracy(adapted, tokenizer, pairs["heldout"])
    print(f"{setting}\n{len(losses)} steps, {seconds:.0f} s, loss {losses[0]:.3f} to {sum(losses[-20:]) / 20:.3f}")
    print(f"held-out before {base}\nheld-out after  {tuned}")
    for category in sorted({pair["category"] for pair in pairs["heldout"]}):
        part = [pair for pair in pairs["heldout"] if pair["category"] == category]
        print(f"  {category}: {accuracy(adapted, tokenizer, part).reward:.3f} of {len(part)} by reward")
    after = {prompt: greedy(adapted, tokenizer, prompt) for prompt in prompts}
    judged = {prompt: judge(prompt, before[prompt][0], after[prompt][0]) for prompt in safety}
    print(f"safer or fuller: {sum(j.better for j in judged.values())} of {len(safety)}")
    for prompt in prompts:
        _show(prompt, [before[prompt], after[prompt]])
        if prompt in judged:
            print(f"    = {judged[prompt].outcome}: {judged[prompt].reason}")


if __name__ == "__main__":
    main()
