"""Exact counts of token lengths and of what `seq_length` cuts."""

from collections import Counter
from collections.abc import Iterable, Sequence

from quickalign.data.encode import Facts
from quickalign.data.report import LengthBias, Quantiles, TokenLengths, Truncation


class Histogram:
    """How often each length occurs; exact, and as large as there are different lengths."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, lengths: Iterable[int]) -> None:
        """Count `lengths`."""
        self._counts.update(lengths)

    def smallest_covering(self, share: float) -> int:
        """The smallest length that at least `share` (0 to 1) of all lengths do not exceed; 0 where there is none."""
        # Counting in whole rows: rounding 0.95 * 20 up from 19.000000000000004 would ask for one row too many.
        wanted = share * self._counts.total() - 1e-6
        passed = 0
        for length in sorted(self._counts):
            passed += self._counts[length]
            if passed >= wanted:
                return length
        return 0

    def mean(self) -> float:
        """The mean length; 0 where there is none."""
        total = self._counts.total()
        return sum(length * count for length, count in self._counts.items()) / total if total else 0.0

    def quantiles(self) -> Quantiles:
        """Mean and quantiles."""
        p50, p90, p95, p99, longest = (self.smallest_covering(share) for share in (0.5, 0.9, 0.95, 0.99, 1.0))
        return Quantiles(mean=self.mean(), p50=p50, p90=p90, p95=p95, p99=p99, max=longest)


class TokenStatistics:
    """Counts over encoded rows."""

    def __init__(self, seq_length: int) -> None:
        self.count = 0
        self.doubled_begin = self.doubled_end = self.answers_changed = self.marked = 0
        self.mark = ""
        self._seq_length = seq_length
        self._prompt, self._answer, self._rejected, self._total = (Histogram() for _ in range(4))
        self._chosen_longer = self._rejected_longer = 0
        self._cut: Counter[str] = Counter()
        self._tokens_lost = 0

    def add(self, rows: Sequence[Facts]) -> None:
        """Count a batch of rows."""
        self.count += len(rows)
        self._prompt.add(facts.prompt for facts in rows)
        self._answer.add(facts.answers[0] for facts in rows)
        self._total.add(facts.prompt + max(facts.answers) for facts in rows)
        for facts in rows:
            if len(facts.answers) > 1:
                self._chosen_longer += facts.answers[0] > facts.answers[1]
                self._rejected_longer += facts.answers[0] < facts.answers[1]
            self.doubled_begin += facts.doubled_begin
            self.doubled_end += facts.doubled_end
            self.answers_changed += facts.answer_changed
            self.marked += facts.mark != ""
            self.mark = self.mark or facts.mark
            if facts.prompt_lost or any(facts.answers_lost):
                self._count_cut(facts)
        self._rejected.add(facts.answers[1] for facts in rows if len(facts.answers) > 1)

    def lengths(self, pairs: bool) -> TokenLengths:
        """Quantiles of all lengths."""
        return TokenLengths(
            prompt=self._prompt.quantiles(),
            answer=self._answer.quantiles(),
            rejected=self._rejected.quantiles() if pairs else None,
            total=self._total.quantiles(),
        )

    def length_bias(self) -> LengthBias:
        """Chosen against rejected."""
        return LengthBias(
            chosen_mean=self._answer.mean(),
            rejected_mean=self._rejected.mean(),
            chosen_median=self._answer.smallest_covering(0.5),
            rejected_median=self._rejected.smallest_covering(0.5),
            chosen_longer=self._chosen_longer / self.count,
            rejected_longer=self._rejected_longer / self.count,
        )

    def truncation(self) -> Truncation:
        """What was cut, and what would not be."""
        return Truncation(
            seq_length=self._seq_length,
            rows_cut=self._cut["rows"],
            prompt_cut=self._cut["prompt"],
            answer_cut=self._cut["answer"],
            end_token_lost=self._cut["end"],
            question_lost=self._cut["question"],
            tokens_lost=self._tokens_lost,
            keeps_95=self._total.smallest_covering(0.95),
            keeps_99=self._total.smallest_covering(0.99),
            keeps_100=self._total.smallest_covering(1.0),
        )

    def _count_cut(self, facts: Facts) -> None:
        self._cut["rows"] += 1
        self._cut["prompt"] += facts.prompt_lost > 0
        self._cut["answer"] += any(facts.answers_lost)
        self._cut["end"] += facts.end_lost
        self._cut["question"] += facts.question_lost
        self._tokens_lost += facts.prompt_lost + sum(facts.answers_lost)
