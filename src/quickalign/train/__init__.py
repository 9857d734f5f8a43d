"""One training run as a plain program: a specification in, an adapter, metrics and a report out."""

import logging

# bitsandbytes logs an error at import where an optional kernel package is missing; it works without.
logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)
