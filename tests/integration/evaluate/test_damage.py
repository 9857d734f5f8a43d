"""A damaged model is caught by its report: layers in another order, another chat template, a doubled begin token."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from quickalign.core import paths
from quickalign.core.errors import QualityError
from quickalign.evaluate.report import EvaluationReport
from quickalign.evaluate.run import demand_limits, evaluate
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.export.run import export
from quickalign.export.spec import ExportSpec
from quickalign.train.observer import Observer
from tests.support.specs import write_rows

HELD_OUT = paths.assets() / "sample" / "heldout.json"


@pytest.fixture(scope="module")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    return export(ExportSpec(model=str(run_folder), output=folder, rows=4, prompts=0), Observer()).folder


def measured(model: Path, tmp_path: Path, *, kl_rows: int = 2, **limits: dict[str, float]) -> EvaluationReport:
    spec = EvaluationSpec(
        model=str(model),
        data=str(HELD_OUT),
        output=tmp_path / "evaluation",
        rows=12,
        prompts=4,
        answer_tokens=24,
        kl_rows=kl_rows,
        resamples=100,
        **limits,
    )
    return evaluate(spec, Observer())


def failed(report: EvaluationReport) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


def shuffle_layers(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    last = max(int(name.split(".")[2]) for name in tensors if name.startswith("model.layers."))
    turned = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if name.startswith("model.layers."):
            parts[2] = str(last - int(parts[2]))
        turned[".".join(parts)] = tensor.clone()
    save_file(turned, file, metadata={"format": "pt"})


def other_template(folder: Path, name: str = "chat_template.jinja") -> None:
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>\n{% endfor %}"
    template += "{% if add_generation_prompt %}assistant: {% endif %}"
    (folder / name).write_text(template)


def added_template(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    other_template(folder, "additional_chat_templates/default.jinja")


def doubled_begin(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.chat_template = "{{ bos_token }}{{ bos_token }}" + tokenizer.chat_template
    tokenizer.save_pretrained(folder)


def test_a_sound_export_passes_every_check(exported: Path, tmp_path: Path) -> None:
    report = measured(exported, tmp_path)
    assert failed(report) == set()
    assert {"likelihood", "files", "chat template", "begin token", "end token", "answers"} == {
        check.name for check in report.checks
    }
    assert report.verdict.outcome != "broken"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (shuffle_layers, "likelihood"),
        (other_template, "chat template"),
        (added_template, "chat template"),
        (doubled_begin, "begin token"),
    ],
)
def test_damage_is_caught(
    exported: Path, tmp_path: Path, damage: Callable[[Path], None], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(exported, folder)
    damage(folder)
    report = measured(folder, tmp_path, fail_below={"likelihood_accuracy": 0.0})
    assert {seen, "files"} <= failed(report), "found by what it does, and by the hashes"
    assert report.verdict.outcome == "broken"
    page = (tmp_path / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "Something is wrong with this model" in page
    with pytest.raises(QualityError, match=seen):
        demand_limits(report)


def test_damage_is_caught_without_a_manifest_too(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(exported, folder)
    shuffle_layers(folder)
    (folder / "quickalign.json").unlink()
    report = measured(folder, tmp_path, kl_rows=0)  # there is no base to compare with
    assert "likelihood" in failed(report)
    assert report.model.base is None


def test_an_evaluation_goes_on_where_it_stopped(run_folder: Path, tmp_path: Path) -> None:
    class Stop(Observer):
        def phase(self, name: str, detail: str = "") -> None:
            del detail
            if name == "report":
                raise KeyboardInterrupt

    class Watch(Observer):
        done: list[str]

        def __init__(self) -> None:
            self.done = []

        def progress(self, name: str, done: int, total: int | None) -> None:
            del done, total
            self.done.append(name)

    spec = EvaluationSpec(
        model=str(run_folder),
        data=str(write_rows(tmp_path, 6)),
        output=tmp_path / "evaluation",
        prompts=2,
        answer_tokens=8,
        kl_rows=0,
        resamples=100,
    )
    with pytest.raises(KeyboardInterrupt):
        evaluate(spec, Stop())
    assert not (spec.output / "report.json").exists()
    watch = Watch()
    report = evaluate(spec, watch)
    assert "answers of the model" not in watch.done, "they were found again"
    stored = json.loads((spec.output / "report.json").read_text(encoding="utf-8"))
    assert stored["figures"][0]["model"]["value"] == report.figures[0].model.value


def test_two_models_are_compared_row_by_row(run_folder: Path, tmp_path: Path) -> None:
    kept = json.loads(HELD_OUT.read_text(encoding="utf-8"))
    mixed = tmp_path / "mixed.json"
    mixed.write_text(json.dumps([*kept[:8], *(row for row in kept if row["category"] != "safety")][:14]))
    spec = EvaluationSpec(
        model=str(run_folder),
        against="qwen2-tiny-instruct",
        base="qwen2-tiny-instruct",
        data=str(mixed),
        output=tmp_path / "evaluation",
        prompts=2,
        answer_tokens=8,
        kl_rows=2,
        resamples=200,
    )
    report = evaluate(spec, Observer())
    assert report.comparison is not None
    found = {one.name: one for one in report.comparison.differences}
    assert found["accuracy"].other == 0.5, "the base has not moved against itself"
    assert found["margin"].other == pytest.approx(0, abs=1e-6)
    assert found["margin"].difference.value == pytest.approx(report.values()["margin"], abs=1e-6)
    assert found["accuracy"].test is not None
    assert len(report.categories) > 1
    assert report.categories[0].name == "safety"
    assert sum(category.rows for category in report.categories) == report.rows
    assert all(answer.other is not None and answer.base is not None for answer in report.answers)
