"""The data report: what a file of training data holds, as one typed value that is drawn, saved and compared."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["preference", "supervised"]
Part = Literal["prompt", "answer"]

FIRST_BAD_ROWS = 20
"""How many bad rows a screen shows; the JSON holds up to `quickalign.data.statistics.KEPT_BAD_ROWS`."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BadRow(_Value):
    """A row that cannot be used: where it is, what was found there and what was expected."""

    row: int = Field(description="Number of the row in its file, from 1.")
    field: str = Field(description="Name of the field, or an empty text where the whole row is meant.")
    found: str
    expected: str

    def sentence(self) -> str:
        """The bad row as one sentence."""
        place = f"row {self.row}" + (f", field {self.field!r}" if self.field else "")
        return f"{place}: found {self.found}, expected {self.expected}."


class Quantiles(_Value):
    """Exact quantiles of token counts: the smallest length that at least that share of the rows does not exceed."""

    mean: float
    p50: int
    p90: int
    p95: int
    p99: int
    max: int


class TokenLengths(_Value):
    """Token counts under the model's template, before anything is cut.

    `answer` is the chosen answer of a pair or the answer of a sample; `rejected` is None for supervised data. `total`
    is the prompt plus the longer of its answers.
    """

    prompt: Quantiles
    answer: Quantiles
    rejected: Quantiles | None
    total: Quantiles


class LengthBias(_Value):
    """How the chosen answers compare with the rejected ones in length, in tokens."""

    chosen_mean: float
    rejected_mean: float
    chosen_median: int
    rejected_median: int
    chosen_longer: float = Field(description="Share of pairs whose chosen answer is longer, 0 to 1.")
    rejected_longer: float = Field(description="Share of pairs whose rejected answer is longer, 0 to 1.")


class Truncation(_Value):
    """What `seq_length` cuts, in rows. `prompt_cut` and `answer_cut` overlap where a row loses both."""

    seq_length: int
    rows_cut: int
    prompt_cut: int = Field(description="Rows that lose prompt tokens from the left.")
    answer_cut: int = Field(description="Rows that lose answer tokens from the end.")
    end_token_lost: int = Field(description="Rows where an answer loses its end token; always among `answer_cut`.")
    question_lost: int = Field(description="Rows of which no text of the last question is left.")
    tokens_lost: int = Field(description="All tokens that are cut, prompts counted once.")
    keeps_95: int = Field(description="The smallest seq_length that keeps 95 % of the rows whole, in tokens.")
    keeps_99: int
    keeps_100: int


class Repetition(_Value):
    """Rows that repeat or contradict each other."""

    duplicates: int = Field(description="Rows that repeat an earlier row: same prompt, same answers.")
    contradictions: int = Field(description="Pairs whose prompt occurs earlier with the same answers swapped.")
    prompts: int = Field(description="Different prompts.")
    prompts_with_several_rows: int


class SpecialTokens(_Value):
    """Begin and end tokens that would have been doubled. The model always sees exactly one.

    `doubled_*` counts rows whose own text brings a second one, which is removed; `*_prevented` says that the tokenizer
    would have added one to what the chat template already writes.
    """

    doubled_begin: int
    doubled_end: int
    begin_prevented: bool
    end_prevented: bool
    end_token: str | None = Field(description="What ends every answer; None where the chat template writes nothing.")
    in_texts: int = Field(0, description="Rows whose texts hold marks of the model elsewhere, which stay and are read.")
    in_texts_first: str = Field("", description="The first such mark.")


class TokenView(_Value):
    """One token as it is shown: its id, its text, and whether it is part of the prompt or of the scored answer."""

    id: int
    text: str
    part: Part


class RowView(_Value):
    """The first usable row as the model sees it. `rejected*` is None for supervised data."""

    row: int
    prompt: str
    answer: str
    rejected: str | None
    tokens: tuple[TokenView, ...] = Field(description="Prompt plus (chosen) answer, up to a bound.")
    rejected_tokens: tuple[TokenView, ...] | None
    hidden: int = Field(0, description="Tokens of the longer of the two that are over the bound and not listed.")


class TokenFacts(_Value):
    """Everything that needs a tokenizer: lengths, truncation, special tokens and the first row."""

    lengths: TokenLengths
    length_bias: LengthBias | None
    truncation: Truncation
    special_tokens: SpecialTokens
    answers_changed: int = Field(description="Rows with an answer that the chat template does not write as it is.")
    first_row: RowView


class DataReport(_Value):
    """What one file of training data holds, and what happens to it. Saved as JSON beside a run."""

    uri: str
    sha256: str = Field(description="Of the file's bytes as they are stored.")
    bytes: int
    container: str = Field(description="How the rows are stored, such as `JSON array` or `JSON lines, gzip`.")
    format: str = Field(description="Name of the recognised format; an option of `--data-format`.")
    recognised_by: str = Field(description="Why it was taken for this format, as a sentence.")
    kind: Kind | None = Field(description="None where no row could be read.")

    rows: int = Field(description="Rows in the file.")
    ok: int = Field(description="Rows that can be used.")
    bad: int = Field(description="Rows that cannot be used.")
    dropped: int = Field(description="Bad rows that were left out because the user asked for it.")
    examples: int = Field(description="Training examples; more than `ok` where one row holds several.")
    bad_rows: tuple[BadRow, ...] = Field(description="The first bad rows, up to a bound; `bad` counts all.")

    chosen_equals_rejected: int
    empty_answers: int
    repetition: Repetition
    unused_fields: tuple[str, ...]
    categories: dict[str, int] = Field(description="Examples by category, where the rows name one.")
    languages: dict[str, int] = Field(description="Examples by the language their prompt is written in, by script.")

    tokens: TokenFacts | None = Field(description="None where no model was named or no row could be used.")
    warnings: tuple[str, ...] = Field(description="Sentences about what the user should know.")
