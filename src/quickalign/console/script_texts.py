"""The texts that scripts show. They travel with each page; the English form is the key."""


def _(text: str) -> str:
    """Marks a text for the catalogues."""
    return text


TEXTS = (
    _("The server does not answer. Check that it runs, and try again."),
    _("Yes"),
    _("Copy"),
    _("Copied"),
    _("Selected"),
    _("%(done)s of %(total)s"),
    _("The connection was lost. Send the file again."),
    _("%(name)s is here."),
    _("a number is needed"),
    _("a whole number is needed"),
    _("at least %(bound)s"),
    _("more than %(bound)s"),
    _("at most %(bound)s"),
    _("less than %(bound)s"),
    _("The whole file is read and checked…"),
    _("Loss"),
    _("Rewards"),
    _("Reward accuracy"),
    _("Log-probabilities"),
    _("Gradient norm"),
    _("Learning rate"),
    _("Tokens per second"),
    _("Peak memory"),
    _("Reward margin"),
    _("Log-probability of chosen answers"),
    _("loss"),
    _("chosen"),
    _("rejected"),
    _("margin"),
    _("accuracy"),
    _("norm"),
    _("rate"),
    _("tokens/s"),
    _("memory"),
    _("step"),
    _("measured"),
    _("validation"),
    _("Save %(name)s as a picture"),
    _("%(total)s steps"),
    _("%(shown)s points of %(total)s steps; drag to look closer"),
    _("“%(text)s” is not found any further."),
    _("Searched to %(place)s of %(total)s…"),
    _("The job has said nothing yet."),
    _("Bytes %(first)s to %(last)s of %(total)s"),
)
