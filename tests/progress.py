"""Say what is being done, that it goes on, and how long it took."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

FIRST = 10  # seconds until somebody wonders
NEXT = 10 if sys.stdout.isatty() else 30
#: What such a line begins with; whoever keeps another's output leaves them out.
MARK = "    … "

_SAYING = threading.Lock()


def say(text: str) -> None:
    """Print at once, and in one piece."""
    with _SAYING:
        print(text, flush=True)


@contextlib.contextmanager
def alive(now: Callable[[], str]) -> Iterator[None]:
    """While the block runs, say every now and then what it is at, beginning after ten seconds."""
    start = time.monotonic()
    over = threading.Event()

    def talk() -> None:
        wait = FIRST
        while not over.wait(wait):
            say(f"{MARK}{time.monotonic() - start:.0f} s: {now()}")
            wait = NEXT

    speaker = threading.Thread(target=talk, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        over.set()
        speaker.join()


@contextlib.contextmanager
def progress(title: str) -> Iterator[None]:
    """Say what is being done, every now and then that it goes on, and afterwards how long it took."""
    start = time.monotonic()
    say(f"==> {title}")
    with alive(lambda: title.partition(":")[0]):
        yield
    say(f"    {title.partition(':')[0]}: {time.monotonic() - start:.0f} s")
