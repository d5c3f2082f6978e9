# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run read from a server, in a file that can be shown to others."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....module_utils.host import files
from ....module_utils.values.sentences import listed, show
from ..refusals import Refused
from .addresses import Dense
from .scrub import Scrubber, leftovers, without_secrets

FORMAT = 1
"""The number of the form that recordings have."""


def recording_of(
    arguments: Mapping[str, Any], question: Mapping[str, Any], answer: Mapping[str, Any], versions: Mapping[str, str]
) -> dict[str, Any]:
    """What was asked for and read, without anything private.

    :raises Refused: where something private would be left.
    """
    # The digest is of what was there before; nobody needs it.
    read = {key: value for key, value in answer.items() if key != "digest"}
    original = without_secrets({"arguments": arguments, "question": question, "answer": read})
    try:
        scrubber = Scrubber(original)
    except Dense as dense:
        raise Refused([f"The server can't be recorded, since {dense}; run without exchange_record."]) from None
    scrubbed = scrubber.document(original)
    left = leftovers(original, scrubber, scrubbed)
    if left:
        text = f"{listed(list(map(show, left[:5])))} would be left in the recording"
        raise Refused([f"{text}, so none was written and nothing was changed; run without exchange_record."])
    return {"format": FORMAT, "versions": dict(versions), **scrubbed}


def write(folder: str, recording: Mapping[str, Any]) -> Path:
    """Write a recording into a folder, for its owner's eyes, under a name that says nothing about the server.

    :raises Refused: where that can't be done.
    """
    content = (json.dumps(recording, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    build = re.findall(r"\d+", str(recording["answer"].get("server", {}).get("AdminDisplayVersion")))
    name = f"exchange-{'.'.join(build) or 'unknown'}-{hashlib.sha256(content).hexdigest()[:8]}.json"
    path = Path(folder).expanduser() / name
    try:
        files.make_folder(path.parent, 0o700)
        files.write_new(files.beside(path), content, 0o600)
        files.replace(files.beside(path), path)
    except OSError as error:
        reason = f"{error.strerror or error}"
        raise Refused([f"exchange_record is {show(folder)}, but {name} can't be written there: {reason}."]) from None
    return path
