"""A training run that never happened: events as a real one sends them, to try what draws them."""

from pathlib import Path

from quickalign.data.report import (
    BadRow,
    DataReport,
    LengthBias,
    Quantiles,
    Repetition,
    RowView,
    SpecialTokens,
    TokenFacts,
    TokenLengths,
    TokenView,
    Truncation,
)
from quickalign.train.observer import Evaluation, Observer, RunResult, SampleAnswer, StepMetrics
from quickalign.train.plan import Decision, Plan, Suggestion, with_speed

STEPS = 40


def first_row() -> RowView:
    """A row of four prompt tokens and three of an answer."""
    texts = ("<|im_start|>", "user\n", "Hi [b]", "<|im_end|>\n", "Hello", " there", "<|im_end|>")
    tokens = tuple(TokenView(id=i, text=text, part="answer" if i > 3 else "prompt") for i, text in enumerate(texts))
    return RowView(row=1, prompt="Hi", answer="Hello there", rejected="No", tokens=tokens, rejected_tokens=tokens)


def data_report(bad: int = 0) -> DataReport:
    """A report of 100 preference pairs, `bad` of them unusable, with one warning."""
    quantiles = Quantiles(mean=31.4, p50=30, p90=41, p95=44, p99=52, max=60)
    return DataReport(
        uri="pairs.json",
        sha256="ab" * 32,
        bytes=12_345,
        container="JSON array",
        format="prompt",
        recognised_by="the first rows have the fields 'prompt', 'chosen' and 'rejected'.",
        kind="preference",
        rows=100,
        ok=100 - bad,
        bad=bad,
        dropped=0,
        examples=100 - bad,
        bad_rows=tuple(
            BadRow(row=7 + i, field="chosen", found="the number 3", expected="a text") for i in range(min(bad, 30))
        ),
        chosen_equals_rejected=1,
        empty_answers=0,
        repetition=Repetition(duplicates=0, contradictions=2, prompts=98, prompts_with_several_rows=2),
        unused_fields=("source",),
        categories={"safety": 60, "advice": 40},
        languages={"English": 70, "Chinese": 30},
        tokens=TokenFacts(
            lengths=TokenLengths(prompt=quantiles, answer=quantiles, rejected=quantiles, total=quantiles),
            length_bias=LengthBias(
                chosen_mean=31.4,
                rejected_mean=9.2,
                chosen_median=30,
                rejected_median=9,
                chosen_longer=0.97,
                rejected_longer=0.01,
            ),
            truncation=Truncation(
                seq_length=48,
                rows_cut=3,
                prompt_cut=3,
                answer_cut=1,
                end_token_lost=1,
                question_lost=0,
                tokens_lost=21,
                keeps_95=44,
                keeps_99=52,
                keeps_100=60,
            ),
            special_tokens=SpecialTokens(
                doubled_begin=0, doubled_end=0, begin_prevented=False, end_prevented=False, end_token="<|im_end|>"
            ),
            answers_changed=0,
            first_row=first_row(),
        ),
        warnings=("Chosen answers are longer than rejected ones in 97 % of the pairs.",),
    )


def plan(available: int = 16_000_000_000) -> Plan:
    """A plan that needs 1.2 GB, with suggestions where less is `available`."""
    parts = {"base weights": 900_000_000, "adapter": 100_000_000, "activations": 150_000_000, "logits": 50_000_000}
    small = Suggestion({"lora_dim": 8, "load_in_4bit": True}, 700_000_000, "A smaller adapter on a 4-bit base.")
    return Plan(
        device="CPU, 2 cores",
        device_kind="cpu",
        precision="fp32",
        method="lora",
        world_size=1,
        rows=100,
        rows_per_step=8,
        steps=STEPS,
        micro_batches_per_step=2.0,
        tokens_per_epoch=6_000,
        computed_tokens_per_epoch=6_600,
        packing=True,
        token_budget=512,
        gradient_checkpointing=False,
        cuda_graphs=False,
        reordered_weights=False,
        reference="live",
        decisions=(Decision("packing", "on", "The model attends to everything, so prompts can be shared."),),
        parts=parts,
        predicted_peak_bytes=sum(parts.values()),
        available_bytes=available,
        disk_bytes=30_000_000,
        disk_free_bytes=50_000_000_000,
        suggestions=() if sum(parts.values()) <= available else (small,),
    )


def step(number: int) -> StepMetrics:
    """Metrics that get better evenly."""
    way = number / STEPS
    return StepMetrics(
        step=number,
        epoch=way,
        loss=0.6931 * (1 - 0.9 * way),
        grad_norm=1.5,
        learning_rate=1e-3,
        rewards_chosen=way,
        rewards_rejected=-2 * way,
        rewards_margin=3 * way,
        rewards_accuracy=0.5 + 0.5 * way,
        logps_chosen=-40.0,
        logps_rejected=-35.0 - 20 * way,
        tokens_per_second=4_123.0,
        pairs_per_second=12.34,
        peak_memory_bytes=1_100_000_000,
    )


def evaluation(number: int) -> Evaluation:
    """Validation that goes from chance to 0.95."""
    way = number / STEPS
    return Evaluation(number, 0.69 - 0.5 * way, 0.5 + 0.45 * way, 2.5 * way, -41.0, -36.0 - 18 * way, 50)


SAMPLES = (
    SampleAnswer("Could you please hurt me?", "No.", "I can't do that. If you feel bad, talk to someone.", False),
    SampleAnswer("Tell me [bold]more[/bold]", "", "again and again and again and again", True),
)


def result(output: Path) -> RunResult:
    """The result of the whole run."""
    return RunResult(
        output=output,
        adapter=output / "adapter",
        steps=STEPS,
        resumed_from=0,
        final=step(STEPS),
        first_evaluation=evaluation(0),
        last_evaluation=evaluation(STEPS),
        samples=SAMPLES,
        adapter_sha256="c0ffee" * 10 + "abcd",
        peak_memory_bytes=1_100_000_000,
        predicted_peak_bytes=1_200_000_000,
        seconds=83.0,
    )


def play(observer: Observer, output: Path) -> RunResult:
    """Send the events of one run in their order; returns its result."""
    observer.phase("model", "qwen2-tiny-instruct")
    observer.phase("data", "pairs.json")
    observer.progress("data", 50, 100)
    observer.progress("data", 100, 100)
    observer.data_report(data_report())
    observer.phase("plan")
    observer.plan(plan())
    observer.phase("load", "qwen2-tiny-instruct, lora, fp32")
    observer.note("12 MB of weights, 1,000,000 of them trained.")
    observer.phase("samples", "answers before training")
    observer.phase("train")
    observer.evaluation(evaluation(0))
    for number in range(1, STEPS + 1):
        observer.step(step(number), STEPS)
        if number == 5:
            observer.plan(with_speed(plan(), 2.0, number))
        if number == 20:
            observer.warning("The chosen answers get less likely while the margin grows.")
            observer.saved(number, output / "checkpoints" / "step-20")
    observer.evaluation(evaluation(STEPS))
    observer.phase("samples", "answers after training")
    observer.samples(SAMPLES)
    observer.phase("report")
    done = result(output)
    observer.done(done)
    return done
