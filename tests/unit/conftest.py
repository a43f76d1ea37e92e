"""How Hypothesis runs: the same examples every time in CI, fresh ones on a laptop, and never a deadline."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("laptop", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "laptop")
