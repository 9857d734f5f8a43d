"""Giving freed memory back to the system."""

import ctypes

import torch


def release_unused() -> None:
    """Give freed memory back to the system: glibc keeps it for itself until it is asked, PyTorch's CUDA cache too.

    Worth a call between phases that need memory in different pieces, such as generating and training.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
