"""Whether a folder holds a whole model in Hugging Face layout: configuration, safetensors weights, tokenizer."""

import json
from pathlib import Path
from typing import Any

from quickalign.core.errors import ModelError
from quickalign.hub.safetensors_header import TensorHeader, read_header

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")


def check_folder(path: Path) -> None:
    """Check that `path` holds a whole model that can be loaded without running foreign code.

    Raises:
        ModelError: names the file that is missing or damaged, or the architecture that would need foreign code.
    """
    if not path.is_dir():
        raise ModelError(f"The model folder {path} does not exist.", "Check the path.")
    refuse_gguf(path)
    if not (path / CONFIG).is_file() and (path / "adapter_config.json").is_file():
        base = read_json(path / "adapter_config.json").get("base_model_name_or_path")
        raise ModelError(f"{path} is an adapter, not a model.", f"Name its base model instead: {base}.")
    check_config(read_json(path / CONFIG), str(path))
    read_headers(path)
    if not any((path / name).is_file() for name in _TOKENIZERS):
        raise ModelError(f"{path} has no tokenizer: {_TOKENIZERS[0]} is missing.", "Fetch the model's tokenizer files.")


def refuse_gguf(path: Path) -> None:
    """Refuse a folder whose weights are a GGUF file, such as an export to one.

    Raises:
        ModelError: names the file.
    """
    found = sorted(path.glob("*.gguf"))
    if found and not any(path.glob("*.safetensors")):
        raise ModelError(
            f"{found[0]} is a GGUF file, which llama.cpp and what is built on it run.",
            "Name the run that it was made from, or a folder in Hugging Face layout.",
        )


def weight_files(path: Path) -> tuple[Path, ...]:
    """The safetensors files that hold the model's weights, sorted by name.

    Raises:
        ModelError: there are none, a file of the index is missing, or the weights are in an unsafe format.
    """
    if (path / INDEX).is_file():
        return tuple(sorted(_indexed(path)))
    if (path / WEIGHTS).is_file():
        return (path / WEIGHTS,)
    unsafe = sorted(file.name for file in path.glob("*") if file.suffix in _UNSAFE_SUFFIXES)
    if unsafe:
        raise no_safetensors(str(path), unsafe[0])
    raise ModelError(f"{path} has no weights: {WEIGHTS} is missing.", "Fetch the model's safetensors files.")


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """All tensors of the model by name, after checking that no shard is missing or truncated.

    Raises:
        ModelError: names the file.
    """
    tensors: dict[str, TensorHeader] = {}
    for file in weight_files(path):
        tensors |= read_header(file)
    if (path / INDEX).is_file():
        missing = sorted(set(read_json(path / INDEX)["weight_map"]) - set(tensors))
        if missing:
            raise ModelError(
                f"{path / INDEX} lists the tensor {missing[0]!r}, and no weights file holds it.",
                "Fetch the model again.",
            )
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model.

    Raises:
        ModelError: the file is missing or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent} holds no model: {path.name} is missing.", "Check the path.") from None
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise ModelError(f"{path} cannot be read as a JSON object.", "Fetch the model again.")
    return content


def check_config(config: dict[str, Any], model: str) -> None:
    """Refuse a model that cannot be trained as it is.

    Raises:
        ModelError: its classes are not in transformers, so it would need `trust_remote_code`; or it is quantised.
    """
    if scheme := config.get("quantization_config"):
        kind = scheme.get("quant_method") if isinstance(scheme, dict) else None
        raise ModelError(
            f"{model} is stored quantised ({kind or 'it has a quantization_config'}), and training starts from "
            "full-precision weights.",
            "Name the original model; load_in_4bit and load_in_8bit quantise it while loading.",
        )
    if not config.get("auto_map"):
        return
    from transformers import CONFIG_MAPPING  # noqa: PLC0415 - heavy, and rarely needed

    if config.get("model_type") not in CONFIG_MAPPING:
        raise ModelError(
            f"{model} has the architecture {config.get('model_type')!r}, which only its own Python code can load, and "
            "code from model repositories is never run.",
            "Choose a model whose architecture is part of transformers.",
        )


def no_safetensors(model: str, found: str) -> ModelError:
    """The error for weights in a pickle format, which can run code when loaded."""
    return ModelError(
        f"{model} has its weights only in {found}, a format that can run code when it is loaded.",
        "Choose a revision with safetensors files, or convert it once where you trust it: "
        "AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder).",
    )


def _indexed(path: Path) -> set[Path]:
    weight_map = read_json(path / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{path / INDEX} has no weight_map.", "Fetch the model again.")
    files = set()
    for name in map(str, weight_map.values()):
        if Path(name).name != name:
            raise ModelError(
                f"{path / INDEX} names the file {name!r}, which lies outside the folder.", "Do not use it."
            )
        if not (path / name).is_file():
            raise ModelError(f"{path} is not complete: {name} is missing.", "Fetch the model again.")
        files.add(path / name)
    return files
