"""What requests that have a model answer prompts have in common."""

from quickalign.core.errors import OptionError


def check_answers(prompts: int, answer_tokens: int, *, default: int) -> None:
    """Refuse a length for answers where no prompts are answered; its default may be given.

    Raises:
        OptionError: names both options.
    """
    if prompts == 0 and answer_tokens != default:
        raise OptionError(
            f"answer_tokens={answer_tokens} has no effect with prompts=0.",
            "Set prompts above 0, or leave answer_tokens out.",
        )
