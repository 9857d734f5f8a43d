"""Loading a model to answer with: a model's name or folder, an adapter's folder, or a run's folder.

What was trained is loaded as it was trained; `quickalign.train.trained` says how it is found.
"""

from quickalign.data.tokenizer import load_tokenizer
from quickalign.hub import source as hub
from quickalign.train import trained
from quickalign.train.answer import Generator
from quickalign.train.device import find_device
from quickalign.train.model import DTYPES, load_base


def load_for_generation(
    source: str,
    *,
    revision: str | None = None,
    system_prompt: str | None = None,
    progress: hub.Progress | None = None,
) -> Generator:
    """Load what `source` names, on this process's device and in the precision it was trained in.

    A chip that has not that precision computes in its own best; `Generator.precision` says in which.

    Args:
        source: a model card's name, a Hugging Face id, a model's or an adapter's folder, or a run's folder.
        revision: of a model that is not a folder.
        system_prompt: replaces the one of the training (the default one for a model that was not trained here); empty
            adds none.
        progress: told of downloads.

    Raises:
        ModelError: nothing that can be loaded is there, or the adapter was trained on another base.
        OptionError: an option that has no effect on this source.
    """
    found = trained.find(source, revision, progress)
    device = find_device()
    precision = trained.precision_of(found.manifest, device)
    tokenizer = load_tokenizer(found.tokenizer)
    encoder = trained.encoder_of(tokenizer, found.manifest, system_prompt)
    model = load_base(
        found.weights,
        dtype=DTYPES[precision],
        quantization=found.manifest.quantization if found.manifest else "none",
        device=device.torch_device,
    )
    if found.adapter is None:
        return Generator(model, encoder, name=source, base=None, precision=precision)
    tuned = trained.with_adapter(model, found.adapter)
    return Generator(tuned, encoder, name=source, base=found.base, precision=precision)
