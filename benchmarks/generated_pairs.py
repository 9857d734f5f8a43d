"""Preference data of any size for benchmarks: pseudo-random words, the same for the same arguments."""

import json
from pathlib import Path

import numpy as np

_WORDS = """
a all and answer are ask be because but can could day do feel find for friend from get give go good have
help how i idea if in is it keep know life like little long make many may more my need never not now of one
or other people please plan question really safe say should so some something sure take talk than that the
them then there they thing think this time to today trust try use very want way we well what when which who
why will with work would you
"""


def write_pairs(path: Path, count: int, prompt_words: int, answer_words: int, seed: int = 0) -> Path:
    """Write `count` rows `{"prompt", "chosen", "rejected"}` as JSON lines.

    Lengths are spread evenly between half of the given number of words and that number; a row's number is in its
    prompt, so that no two rows are equal.
    """
    generator = np.random.default_rng(seed)
    words = np.array(_WORDS.split())

    def text(most: int) -> str:
        return " ".join(words[generator.integers(0, len(words), generator.integers(most // 2, most + 1))])

    with path.open("w", encoding="utf-8") as stream:
        for row in range(count):
            pair = {
                "prompt": f"{row} {text(prompt_words)}",
                "chosen": text(answer_words),
                "rejected": text(answer_words),
            }
            stream.write(json.dumps(pair) + "\n")
    return path
