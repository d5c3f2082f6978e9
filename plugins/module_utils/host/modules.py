# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules do at their end: an error is one sentence, never a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule

from .errors import HostError, os_sentence


@contextlib.contextmanager
def sentences(module: AnsibleModule) -> Iterator[None]:
    """Fail a module with the sentence of what went wrong inside."""
    try:
        yield
    except HostError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=os_sentence(error))
