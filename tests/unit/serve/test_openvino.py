"""The OpenVINO graph against transformers, and rounded weights against the bound that rounding has."""

import numpy as np
import pytest
import torch

from quickalign.serve.engine import EngineCannotError, EngineInfo, Generation, Load, Sampling
from quickalign.serve.engines.load import generate_greedily
from quickalign.serve.engines.paged import PagedCore
from tests.support.runs import small_model

ov = pytest.importorskip("openvino", reason="OpenVINO is not installed here")

from quickalign.serve.engines.openvino import compress, graph, load, paging  # noqa: E402

FULL = {"INFERENCE_PRECISION_HINT": ov.Type.f32, "KV_CACHE_PRECISION": ov.Type.f32}
PROMPTS = [[5, 9, 3], [7] * 40, [11, 12, 13, 14, 15, 16, 17], list(range(20, 120))]


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": False, "num_key_value_heads": 4},
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ],
    ids=["one key a head", "one layer looks back 8 tokens"],
)
def test_greedy_answers_are_those_of_generate(changes: dict[str, object]) -> None:
    model = small_model(seed=3, eos_token_id=None, **changes).eval()  # `generate` would stop at an end of its own
    wanted = [list(generate_greedily(model, tuple(prompt), 12, ()).ids) for prompt in PROMPTS]
    made = graph.convert(model)
    assert made.windows == ((0, 8) if "sliding_window" in changes else (0, 0))
    paged = paging.PagedGraph(made.model, made.windows, FULL)
    paged.reserve(64)
    core = PagedCore(paged, EngineInfo("openvino", "cpu", "fp32", 512, 160, (), 8, "none", 0), blocks=64)
    found: dict[int, list[int | None]] = {}
    for number, prompt in enumerate(PROMPTS):
        core.add(number, Generation(tuple(prompt), Sampling(max_tokens=12, temperature=0)))
        for at, told in core.step():
            found.setdefault(at, []).append(told.token)
    while not core.idle:
        for at, told in core.step():
            found.setdefault(at, []).append(told.token)
    assert [found[number] for number in range(len(PROMPTS))] == wanted


def values_of(node: "ov.Node") -> np.ndarray:
    model = ov.Model([ov.opset13.result(node)], [])
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": ov.Type.f32})
    return np.array(compiled([])[0])


def test_rounded_weights_lie_within_half_a_step() -> None:
    weights = np.random.default_rng(2).normal(size=(48, 256)).astype(np.float32)
    weights[3] = 0
    step = np.abs(weights).max(1, keepdims=True) / 127
    assert np.all(np.abs(values_of(compress.int8_form(weights)) - weights) <= step / 2 + 1e-6)
    groups = weights.reshape(48, 2, 128)
    step = (np.maximum(groups.max(2), 0) - np.minimum(groups.min(2), 0))[..., None] / 15
    rounded = values_of(compress.int4_form(weights, 128)).reshape(48, 2, 128)
    # Its zero is rounded too, which moves the ends of the range by up to half a step more.
    assert np.all(np.abs(rounded - groups) <= step + 1e-6)
    assert np.mean(np.abs(rounded - groups) <= step / 2 + 1e-6) > 0.97
    assert len(np.unique(rounded[0, 0])) <= 16


def test_only_the_weights_between_embedding_and_head_have_four_bits() -> None:
    model = small_model(seed=1)  # the graph shares its weights
    made = graph.convert(model)
    compress.compress(made.model, "int4")
    constants = [node for node in made.model.get_ops() if node.get_type_name() == "Constant"]
    bits = {tuple(node.shape): str(node.get_element_type().get_type_name()) for node in constants if node.shape}
    assert bits[160, 64] == "i8"
    assert bits[96, 1, 64] == "u4"
    assert bits[64, 3, 32] == "u4"


def test_precisions() -> None:
    assert load._precision(("bf16", "auto"), ["FP32", "INT8"]) == "fp32"
    assert load._precision(("bf16", "auto"), ["FP32", "BF16"]) == "bf16"
    assert load._precision(("fp32", "auto"), ["FP32", "BF16"]) == "fp32"
    assert load._precision(("auto",), ["FP32", "BF16", "FP16"]) == "bf16"
    assert load._precision(("fp16",), ["FP32", "FP16"]) == "fp16"
    with pytest.raises(Exception, match=r"bf16.*not possible.*fp32"):
        load._precision(("bf16",), ["FP32", "INT8"])


def test_attention_that_has_no_form_is_told() -> None:
    class Capped(torch.nn.Module):
        pass

    with pytest.raises(EngineCannotError, match="softcap"):
        graph._attend(Capped(), *(torch.zeros(1, 1, 1, 4) for _ in range(3)), None, softcap=30.0)


def test_converted_once_by_content(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    from quickalign.serve.engines import store
    from quickalign.serve.engines.trained import load_trained

    folder = Path(str(tmp_path))
    monkeypatch.setenv("QUICKALIGN_HOME", str(folder / "home"))
    small_model(seed=2).save_pretrained(folder / "model")
    reads, writes = [], []

    def read(load: Load) -> object:
        reads.append(load)
        return load_trained(load)

    def write(trained: object, into: Path) -> list[int]:
        writes.append(into)
        (into / "graph.xml").write_text("a graph")
        return [0, 0]

    def ask(probes: tuple[tuple[int, ...], ...] = (), **changes: object) -> store.Converted:
        wanted = Load(
            "openvino", str(folder / "model"), None, "none", ("fp32",), 4, None, probes=probes, probe_tokens=4
        )
        for name, value in changes.items():
            object.__setattr__(wanted, name, value)
        return store.converted(wanted, "openvino", {"format": "1"}, read, write)  # type: ignore[arg-type]

    imported: list[str] = []
    monkeypatch.setattr(load, "import_module", imported.append)
    load.prepare()
    early = list(imported)
    assert early, "a first conversion's packages are imported before the model is named"
    first = ask()
    load.prepare()
    assert imported == early, "what was converted before needs none of them"
    assert (first.context, first.vocabulary, first.end_tokens, first.windows) == (512, 160, (1,), (0, 0))
    assert (first.folder / "graph.xml").read_text() == "a graph"
    assert ask() == first
    assert (len(reads), len(writes)) == (1, 1)
    probed = ask(((3, 4, 5),))
    assert probed.references[0].prompt == (3, 4, 5)
    assert len(probed.references[0].ids) == 4
    assert ask(((3, 4, 5),)) == probed
    assert (len(reads), len(writes)) == (2, 1), "answers to new probes need the model, but no new graph"
    assert ask(compression="int8").folder != first.folder
    small_model(seed=9).save_pretrained(folder / "model")
    assert ask().folder != first.folder
    assert len(writes) == 3


def test_a_quantised_base_is_read_back_as_what_it_stands_for(tmp_path: object) -> None:
    from pathlib import Path

    from peft import LoraConfig, get_peft_model

    from quickalign.serve.engines.trained import load_trained

    folder = Path(str(tmp_path))
    small_model(seed=2).save_pretrained(folder / "model")
    adapter = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(small_model(seed=2), adapter).save_pretrained(folder / "adapter")
    for quantization in ("none", "4bit"):
        wanted = Load(
            "openvino",
            str(folder / "model"),
            str(folder / "adapter"),
            quantization,
            ("fp32",),
            4,
            None,  # type: ignore[arg-type]
        )
        trained = load_trained(wanted)
        ids = torch.tensor([[5, 9, 3, 70]])
        with torch.inference_mode():
            beside = trained._model(input_ids=ids).logits
            merged = trained.merged()
            assert not any(type(module).__module__.startswith("bitsandbytes") for module in merged.modules())
            torch.testing.assert_close(merged(input_ids=ids).logits, beside, atol=2e-4, rtol=1e-3)
