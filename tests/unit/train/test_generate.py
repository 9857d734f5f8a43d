"""Loading what can answer, prompts as training sees them, and answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from quickalign.core.errors import ModelError, OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import EncodedRecord, Encoder
from quickalign.data.records import Message, PreferenceRecord
from quickalign.hub.source import resolve
from quickalign.train import manifest as manifests
from quickalign.train.answer import Generator, answer_ids
from quickalign.train.generate import load_for_generation
from quickalign.train.manifest import BaseReference, Manifest
from quickalign.train.prompts import PromptEncoder
from tests.support.chat import byte_tokenizer, chat_model, save_chat_model

USER = "Hello, wörld!"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_chat_model(tmp_path / "base", chat_model())


def encoder(**changes: Any) -> PromptEncoder:
    return PromptEncoder(byte_tokenizer(), **{"apply_chat_template": True, "system_prompt": "Be kind", **changes})


def make_adapter(folder: Path, base: Path, **changes: Any) -> Path:
    """A random adapter with the manifest that a run writes."""
    torch.manual_seed(1)
    model = get_peft_model(chat_model(), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))  # type: ignore[arg-type]
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    reference = BaseReference(name="base", source=str(base), revision=None, fingerprint=resolve(str(base)).fingerprint)
    options = Hyperparameters(load_in_4bit=False).model_dump()
    values: dict[str, Any] = {"version": "0", "kind": "adapter", "base": reference, "method": "lora"}
    values |= {"training_strategy": "dpo", "precision": "fp32", "system_prompt": "Be kind", "apply_chat_template": True}
    values |= {"seq_length": 128, "data_fingerprint": "", "hyperparameters": options, "step": 1}
    manifests.write(folder, Manifest(**{**values, **changes}))
    return folder


@pytest.mark.parametrize("chat", [True, False])
def test_a_prompt_has_the_ids_that_training_gives_it(chat: bool) -> None:
    prompt = (Message("user", USER),)
    record = PreferenceRecord(1, prompt, "a", "b", raw_prompt=USER)
    trained = Encoder(
        byte_tokenizer(), seq_length=512, apply_chat_template=chat, system_prompt="Be kind" if chat else ""
    )
    (row,) = trained.encode([record])
    assert isinstance(row, EncodedRecord)
    own = encoder(apply_chat_template=chat, system_prompt="Be kind" if chat else "")
    assert own.encode(USER) == own.encode(prompt) == row.example.prompt.tolist()


def test_the_template_is_written_out() -> None:
    text = byte_tokenizer().decode(encoder().encode(USER))
    assert text == (
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHello, wörld!<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("text", [USER, "", "two\nlines <|im_end|>", "你好"])
def test_show_gives_back_what_the_user_said(text: str) -> None:
    assert encoder().show(encoder().encode(text)) == text


def test_show_gives_the_whole_chat_where_there_are_more_messages() -> None:
    chat = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    shown = encoder(system_prompt="").show(encoder(system_prompt="").encode((Message("system", "x"), *chat)))
    assert shown.startswith("<|im_start|>system\nx<|im_end|>")


def test_answers_end_at_the_mark_of_the_template_too() -> None:
    tokenizer = byte_tokenizer()
    end, mark = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    model = chat_model()
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [7, 8]
    assert encoder().stop_tokens(model) == {7, 8, end, mark}
    assert encoder(apply_chat_template=False, system_prompt="").stop_tokens(model) == {7, 8, end}


def test_a_chat_without_a_template_is_refused() -> None:
    plain = encoder(apply_chat_template=False, system_prompt="")
    with pytest.raises(OptionError, match="2 messages"):
        plain.encode((Message("user", "a"), Message("assistant", "b")))
    with pytest.raises(OptionError, match="empty prompt"):
        plain.encode("")


def test_what_was_changed_since_its_training_does_not_answer(tmp_path: Path, base: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", base, beside={"tokenizer.json": "of another content"})
    with pytest.raises(ModelError, match=r"tokenizer\.json is not what was trained"):
        load_for_generation(str(adapter))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"max_new_tokens": 0}, "max_new_tokens=0"), ({"temperature": -1.0}, "temperature=-1.0")],
)
def test_bad_options_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        answer_ids(chat_model(), encoder(), [encoder().encode(USER)], **options)


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    with pytest.raises(OptionError, match="context of 32"):
        answer_ids(chat_model(max_position_embeddings=32), encoder(), [encoder().encode(USER)])


def test_a_model_folder_answers(base: Path) -> None:
    generator = load_for_generation(str(base))
    assert generator.base is None
    prompts = [USER, "x", [Message("system", "Be rude"), Message("user", "y")]]
    together = generator.answer_many(prompts, max_new_tokens=8)
    assert together == [generator.answer(prompt, max_new_tokens=8) for prompt in prompts]
    with pytest.raises(ModelError, match="whole model"), generator.without_adapter():
        pass


def test_an_adapter_answers_as_itself_and_as_its_base(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "run" / "adapter", base)
    generator = load_for_generation(str(adapter))
    assert generator.base == "base"
    tuned = answer_with(PeftModel.from_pretrained(chat_model(), str(adapter)))
    plain = answer_with(chat_model())
    assert tuned != plain
    assert generator.answer(USER, max_new_tokens=12) == tuned
    with generator.without_adapter():
        assert generator.answer(USER, max_new_tokens=12) == plain
    assert load_for_generation(str(tmp_path / "run")).answer(USER, max_new_tokens=12) == tuned


def answer_with(model: Any) -> str:
    return Generator(model, encoder(), name="", base=None, precision="fp32").answer(USER, max_new_tokens=12)


def test_the_system_prompt_of_the_training_is_used_unless_another_is_given(base: Path, tmp_path: Path) -> None:
    adapter = str(make_adapter(tmp_path / "adapter", base, system_prompt="Be brief"))
    brief = [Message("system", "Be brief"), Message("user", USER)]
    assert load_for_generation(adapter).answer(USER, max_new_tokens=8) == load_for_generation(
        adapter, system_prompt="Be kind"
    ).answer(brief, max_new_tokens=8)


def test_a_changed_base_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", base)
    save_chat_model(base, chat_model(seed=5))
    with pytest.raises(ModelError, match="other weights"):
        load_for_generation(str(adapter))


def test_an_adapter_of_another_trainer_names_its_base(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", base)
    (adapter / manifests.FILE).unlink()
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(base)}))
    for file in adapter.glob("tokenizer*"):
        file.unlink()
    assert load_for_generation(str(adapter)).base == "base"


def test_a_damaged_adapter_is_one_sentence(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", base)
    (adapter / "adapter_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_for_generation(str(adapter))


def test_a_run_that_has_not_finished_names_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "step-00000010").mkdir(parents=True)
    with pytest.raises(ModelError, match="step-00000010"):
        load_for_generation(str(tmp_path))


def test_a_model_without_a_template_goes_on_from_text(tmp_path: Path) -> None:
    folder = str(save_chat_model(tmp_path / "plain", chat_model(), chat_template=None))
    assert load_for_generation(folder).answer("abc", max_new_tokens=4)
    with pytest.raises(OptionError, match="system_prompt has no effect"):
        load_for_generation(folder, system_prompt="Be kind")


def test_a_revision_of_a_trained_folder_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="revision='main'"):
        load_for_generation(str(make_adapter(tmp_path / "adapter", base)), revision="main")
