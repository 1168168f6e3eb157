"""How many threads OpenBLAS has, which numpy loads. It is decided when numpy is imported first."""

import os


def limit_threads() -> None:
    """Let it have one thread, if it is not loaded yet. It would start one for each core, for nothing."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
