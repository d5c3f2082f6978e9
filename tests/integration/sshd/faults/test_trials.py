"""Ways to lock oneself out, as far as there is time for them here; ``make trials`` tries them all."""

from lockouts.scenario import pytest_generate_tests, results, test_nobody_is_locked_out_by

__all__ = ["pytest_generate_tests", "results", "test_nobody_is_locked_out_by"]

ROLE = "sshd"
