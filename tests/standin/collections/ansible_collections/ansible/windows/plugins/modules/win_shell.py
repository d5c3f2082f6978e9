#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_shell for the tests: the interface and the faults of the real one, on a Linux host with `powershell`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: win_shell
short_description: Run PowerShell on a stand-in
description:
  - Stands in for C(ansible.windows.win_shell) in tests. It takes the same parameters and gives the same result.
options:
  _raw_params:
    description: The script.
    type: str
  cmd:
    description: The script.
    type: str
  chdir:
    description: Folder in which it runs.
    type: path
  creates:
    description: Not run where this file exists.
    type: path
  removes:
    description: Not run where this file doesn't exist.
    type: path
  executable:
    description: Only PowerShell is here.
    type: path
  stdin:
    description: Standard input.
    type: str
  no_profile:
    description: Passed on.
    type: bool
    default: false
  output_encoding_override:
    description: Accepted.
    type: str
author:
  - postern.mail_gateway contributors
"""

EXAMPLES = r"""
- name: The server's name is known
  ansible.windows.win_shell: Get-ExchangeServer
"""

RETURN = r"""
rc:
  description: Exit status.
  returned: always
  type: int
"""

import base64
import datetime as dt
import json
import os
import re
import subprocess
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# The longest command line of CreateProcess, its final zero included.
LONGEST = 32767
INPUT_ENCODING = "[Console]::InputEncoding = New-Object Text.UTF8Encoding $false; "
CLIXML = re.compile(r"(?s)#< CLIXML(.*?)(<Objs.+?</Objs>)")


def end(module: AnsibleModule, result: dict[str, Any]) -> None:
    """Print the result. Its invocation holds every argument, standard input as well, unless the task is no_log."""
    if not module.no_log:
        result["invocation"] = {
            "module_args": {key: value for key, value in module.params.items() if value is not None}
        }
    print("\n" + json.dumps(result))
    sys.exit(1 if result.get("failed") else 0)


def errors_of(text: str) -> str:
    """Replace CLIXML on standard error by the lines of errors in it."""

    def lines(found: re.Match[str]) -> str:
        errors = re.findall(r'<S S="Error">(.*?)</S>', found[2])
        return "".join(error.replace("_x000D__x000A_", "") + "\r\n" for error in errors)

    return CLIXML.sub(lines, text)


def main() -> None:
    """Run the script as the real module does."""
    module = AnsibleModule(
        argument_spec={
            "_raw_params": {"type": "str"},
            "cmd": {"type": "str"},
            "chdir": {"type": "path"},
            "creates": {"type": "path"},
            "removes": {"type": "path"},
            "executable": {"type": "path"},
            "stdin": {"type": "str"},
            "no_profile": {"type": "bool", "default": False},
            "output_encoding_override": {"type": "str"},
        },
        required_one_of=[("_raw_params", "cmd")],
        mutually_exclusive=[("_raw_params", "cmd")],
        supports_check_mode=False,
    )
    script = (module.params["_raw_params"] or module.params["cmd"] or "").strip()
    stdin = module.params["stdin"]
    for name, there in (("creates", True), ("removes", False)):
        path = module.params[name]
        if path and os.path.exists(path) == there:  # noqa: PTH110
            why = "exists" if there else "does not exist"
            end(
                module,
                {"changed": False, "skipped": True, "cmd": script, "rc": 0, "msg": f"skipped, since {path} {why}"},
            )
    result: dict[str, Any] = {"changed": True, "cmd": script}

    encoded = base64.b64encode((INPUT_ENCODING + script).encode("utf-16-le", "surrogatepass")).decode()
    arguments = ["-encodedcommand", encoded]
    if not stdin:
        arguments.insert(0, "-noninteractive")
    if module.params["no_profile"]:
        arguments.insert(0, "-noprofile")
    executable = "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"
    if len(f'"{executable}" {" ".join(arguments)}') >= LONGEST:
        message = "CreateProcessW() failed (The filename or extension is too long, Win32ErrorCode 206 - 0x000000CE)"
        end(module, {**result, "changed": False, "failed": True, "rc": 206, "msg": message})

    start = dt.datetime.now(tz=dt.UTC)
    try:
        done = subprocess.run(
            ["powershell", *arguments],
            input=(stdin or "").encode(),
            capture_output=True,
            check=False,
            cwd=module.params["chdir"],
        )
    except OSError as problem:
        end(
            module, {**result, "changed": False, "failed": True, "rc": 2, "msg": f"CreateProcessW() failed ({problem})"}
        )
        return
    stop = dt.datetime.now(tz=dt.UTC)

    def text(octets: bytes) -> str:
        return re.sub(r"\r?\n", "\r\n", octets.decode("utf-8", "replace"))

    # A killed process has its exception's number as exit status there.
    result["rc"] = done.returncode if done.returncode >= 0 else 1
    result["stdout"] = text(done.stdout)
    result["stderr"] = errors_of(text(done.stderr))
    result["start"], result["end"] = (moment.strftime("%Y-%m-%d %H:%M:%S.%f") for moment in (start, stop))
    result["delta"] = str(stop - start) if (stop - start).microseconds else f"{stop - start}.000000"
    if result["rc"]:
        result |= {"failed": True, "msg": "non-zero return code"}
    end(module, result)


if __name__ == "__main__":
    main()
