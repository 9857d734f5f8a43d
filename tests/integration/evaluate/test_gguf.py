"""What llama.cpp says with an exported GGUF file is what transformers says with what was trained."""

import dataclasses
from pathlib import Path

import pytest
import xllamacpp

from quickalign.core.checksums import sha256_of
from quickalign.core.errors import ModelError, QualityError, RunError
from quickalign.data.tokenizer import load_tokenizer as tokenizer_in
from quickalign.export.gguf import engine as engines
from quickalign.export.gguf import vocabulary as vocabularies
from quickalign.export.gguf import writer
from quickalign.export.gguf.engine import LlamaCpp
from quickalign.export.gguf.proof import prove
from quickalign.export.parity import Behaviour, behave, compare
from quickalign.export.run import export
from quickalign.export.spec import LIMITS
from quickalign.export.task import prepare
from quickalign.hub import source as hub
from quickalign.platform.services import sources
from quickalign.serve import source as served
from quickalign.serve.spec import ServeSpec
from quickalign.train import manifest as manifests
from quickalign.train import trained as trained_model
from quickalign.train.observer import Observer
from quickalign.train.prompts import PromptEncoder
from tests.integration.evaluate.test_export import BASE, greedy, questions, spec_of, trained
from tests.support.gguf_models import ARCHITECTURES, SYSTEM, rows_of, small_model, tokenizer_of

ABOUT = {"name": "small", "license": "mit"}


class Made:
    """A random model as a GGUF file, with what proves it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.tokenizer = tokenizer_of(name)
        self.encoder = PromptEncoder(self.tokenizer, apply_chat_template=True, system_prompt=SYSTEM)
        self.rows = rows_of(self.tokenizer)
        # more ids than the tokenizer has, in whole blocks, as most models do
        self.model = small_model(name, -(-len(self.tokenizer) // 64) * 64)
        self.model.generation_config.eos_token_id = self.tokenizer.eos_token_id
        self.ends = self.encoder.stop_tokens(self.model)
        self.file = folder / "model.gguf"
        size = self.model.config.vocab_size
        self.vocabulary = vocabularies.vocabulary_of(self.tokenizer, size, sorted(self.ends))

    def write(self, kind: str = "F32", **changes: object) -> None:
        writer.write(self.model, dataclasses.replace(self.vocabulary, **changes), self.file, kind, ABOUT)

    def prove(self, prompts: int = 3) -> Behaviour:
        return prove(self.file, self.rows, prompts, 24, self.encoder, self.ends)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_says_what_transformers_says(name: str, tmp_path: Path) -> None:
    made = Made(name, tmp_path)
    wanted = behave(made.model, made.rows, 3, 24, made.ends, 0)
    made.write()
    parity = compare(wanted, made.prove(), LIMITS["fp16"])
    assert parity.passed, parity
    assert parity.prompts == 3


def test_what_is_turned_wrongly_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made("llama, scaled positions", tmp_path)
    wanted = behave(made.model, made.rows, 0, 24, made.ends, 0)
    monkeypatch.setattr(writer, "turn", lambda tensor, heads: tensor)
    made.write()
    assert not compare(dataclasses.replace(wanted, answers=()), made.prove(0), LIMITS["bf16"]).passed


def test_another_pattern_is_seen_in_the_rows(tmp_path: Path) -> None:
    made = Made("llama, scaled positions", tmp_path)
    made.write(pattern="qwen2")
    with pytest.raises(QualityError, match=r"llama.cpp reads row \d as other tokens"):
        made.prove()


def test_pieces_joined_in_another_order_are_seen_in_the_rows(tmp_path: Path) -> None:
    made = Made("mistral", tmp_path)
    made.write(scores=[-score for score in made.vocabulary.scores])
    with pytest.raises(QualityError, match=r"llama.cpp reads row \d as other tokens"):
        made.prove()


def test_another_template_is_seen(tmp_path: Path) -> None:
    made = Made("qwen2", tmp_path)
    made.write(template=made.vocabulary.template.replace("'\n'", "' '"))
    with pytest.raises(QualityError, match="renders a chat of 1 messages to other tokens than training did: at token"):
        made.prove()


def test_an_end_that_is_none_there_is_seen(tmp_path: Path) -> None:
    made = Made("qwen3", tmp_path)
    made.write()
    made.ends |= set(made.tokenizer.convert_tokens_to_ids(["a"]))
    with pytest.raises(QualityError, match=r"a ends this model's answers, and llama.cpp goes on after it"):
        made.prove()


def test_a_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    made = Made("qwen2", tmp_path)
    made.write()
    with made.file.open("r+b") as stream:
        stream.truncate(made.file.stat().st_size // 2)
    with pytest.raises(ModelError, match=r"llama.cpp does not load .*model.gguf: "):
        made.prove()


def test_a_llama_cpp_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "server.py"
    program.write_text("import sys; sys.stdin.close(); raise ImportError('version `GLIBC_2.99` not found')")
    monkeypatch.setattr(engines, "_PROGRAM", program)
    with pytest.raises(ModelError, match=r"does not load .*: ImportError: version `GLIBC_2.99` not found"):
        LlamaCpp(tmp_path / "model.gguf", 64).__enter__()


def test_a_server_that_dies_is_told(tmp_path: Path) -> None:
    made = Made("qwen2", tmp_path)
    made.write()
    with LlamaCpp(made.file, 64) as engine:
        engine._process.kill()
        engine._process.wait()
        with pytest.raises(RunError, match=r"llama.cpp stopped answering"):
            engine.tokens("a", special=False)


KINDS = {
    "f32": {"compression": "gguf", "precision": "fp32"},
    "bf16": {"compression": "gguf", "precision": "bf16"},
    "q8_0": {"compression": "gguf-q8_0"},
    "q4_0": {"compression": "gguf-q4_0"},
}
STORED = {"f32": 1.0, "bf16": 0.51, "q8_0": 0.28, "q4_0": 0.2}
"""Of the bytes in fp32."""


@pytest.fixture(scope="module")
def f32(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf") / "f32"
    return export(spec_of(run_folder, folder, **KINDS["f32"]), Observer()).folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_its_stated_limit(run_folder: Path, f32: Path, tmp_path: Path, kind: str) -> None:
    found = export(spec_of(run_folder, f32 if kind == "f32" else tmp_path / kind, **KINDS[kind]), Observer())
    limits = {"f32": LIMITS["fp16"], "bf16": LIMITS["bf16"]} | {
        "q8_0": LIMITS["gguf-q8_0"],
        "q4_0": LIMITS["gguf-q4_0"],
    }
    assert 0 < found.parity.largest_per_token <= limits[kind] == found.parity.limit
    assert found.form == f"GGUF, {kind.upper()}"
    expected = prepare(spec_of(run_folder, tmp_path / "other", **KINDS[kind])).bytes - (64 << 20)
    assert 0.9 < expected / found.parity.after.bytes < 1.9, "what is to be free on the disk is about what it takes"
    assert found.parity.after.bytes < STORED[kind] * (f32 / writer.NAME).stat().st_size + 1
    assert {file.name for file in found.folder.iterdir()} == {
        "model.gguf",
        "README.md",
        "export.json",
        "quickalign.json",
    }


def test_chats_with_llama_cpp_are_those_with_the_adapter(run_folder: Path, f32: Path) -> None:
    """By its own chat endpoint, as somebody asks it who knows nothing of quickalign."""
    asked = questions(20)
    tokenizer = tokenizer_in(BASE)
    wanted = [
        tokenizer.decode(ids, skip_special_tokens=True) for ids in greedy(trained(run_folder), tokenizer, asked, 16)
    ]
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.use_jinja = str(f32 / writer.NAME), 1024, True
    server = xllamacpp.Server(settings)

    def answer(question: str) -> str:
        chat = [
            {"role": "system", "content": "You are a helpful assistant"},
            {"role": "user", "content": question},
        ]
        made = server.handle_chat_completions({"messages": chat, "temperature": 0, "max_tokens": 16})
        return str(made["choices"][0]["message"]["content"])

    same = sum(answer(question) == text for question, text in zip(asked, wanted, strict=True))
    assert same >= 18, "keys and values in fp16 may tip a token of two that are all but equal"


def test_the_card_says_how_it_is_used(f32: Path) -> None:
    card = (f32 / "README.md").read_text(encoding="utf-8")
    assert "llama-server --jinja --model model.gguf" in card
    assert 'the system message "You are a helpful assistant"' in card
    assert "transformers" not in card


def test_what_does_not_run_it_says_so(f32: Path) -> None:
    for refuses in (trained_model.find, hub.resolve, lambda name: served.find(ServeSpec(model=name)), _content_of):
        with pytest.raises(ModelError, match=r"model.gguf is a GGUF file, which llama.cpp and what is built on it run"):
            refuses(str(f32))
    manifest = manifests.read(f32)
    assert manifest is not None
    assert manifest.kind == "gguf"
    assert manifest.files["model.gguf"] == manifest.weights_sha256 == sha256_of(f32 / "model.gguf")


def _content_of(name: str) -> Path:
    return sources._content(Path(name))
