"""Small random models of every architecture that GGUF files are made of, and rows to ask them about."""

from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from quickalign.data.encode import EncodedPair, EncodedRow, Encoder
from quickalign.data.records import Message, PreferenceRecord
from quickalign.export.gguf.vocabulary import PATTERNS
from tests.support.small_models import SMALL
from tests.support.tokenizers import llama_like, qwen2_like

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim "
    "+ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
SYSTEM = "Be kind, and don't be long."
WORDS = (
    ("Could you please hurt me? It's 12345 o'clock.", "I can't hurt you.", "OK, 678 times!"),
    ("你好，请问 naïve café 能帮助我吗？\n\n  - one\n  - two", "当然可以 😀.\r\n", "  No   way...\t"),
    ("x = [1, 22, 333, 4444]; print(x)", "I'LL THINK ABOUT IT; WE'VE TIME", "ÅÄÖ åäö – ¿qué?"),
)
_LONG = {"max_position_embeddings": 512}
_SCALED = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2, a head of its own": ("qwen2", {"tie_word_embeddings": False}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "llama, scaled positions": ("llama", {"rope_parameters": _SCALED, "attention_bias": True}),
    "mistral": ("mistral", {"sliding_window": None, "head_dim": 16}),
}


def small_model(name: str, vocabulary: int) -> PreTrainedModel:
    """A random model in fp32."""
    kind, values = ARCHITECTURES[name]
    sizes = SMALL | {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "vocab_size": vocabulary}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(sizes | _LONG | values))
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.2)  # biases and norms matter
    return model


def llama3_like() -> PreTrainedTokenizerFast:
    """Byte-level BPE as in Llama 3: up to three digits in a word, words that are tokens first, a begin token added."""
    backend = Tokenizer(models.BPE(ignore_merges=True))
    pattern = next(pattern for pattern, name in PATTERNS.items() if name == "llama-bpe")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
        show_progress=False,
    )
    backend.train_from_iterator([text for texts in WORDS for text in texts], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=special[0], eos_token="<|eot_id|>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = LLAMA3
    return tokenizer


def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer as models of that architecture have it."""
    return {"llama": llama3_like, "mistral": llama_like}.get(ARCHITECTURES[name][0], qwen2_like)()


def rows_of(tokenizer: PreTrainedTokenizerFast) -> list[EncodedRow]:
    """Rows as training encodes them."""
    encoder = Encoder(tokenizer, seq_length=256, system_prompt=SYSTEM)
    made = encoder.encode([PreferenceRecord(1, (Message("user", asked),), *said) for asked, *said in WORDS])
    rows: list[EncodedRow] = [one.example for one in made]  # type: ignore[union-attr]
    assert all(isinstance(row, EncodedPair) for row in rows)
    return rows
