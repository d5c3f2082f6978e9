# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New files are tried before they go into use: Fail2Ban itself says what it makes of them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..host.errors import HostError
from ..host.transaction import FileTransaction
from .comparison import (
    culprit,
    overruled,
    units,
)
from .configuration import (
    ACTION,
    Jail,
)
from .host import Fail2BanHost, running_jails
from .server import refusal

GOES_ON = "Nothing was changed and Fail2Ban goes on as before"


class Trial:
    """Files as they should be, and Fail2Ban's word on them.

    :param given: the jails as the role's variable has them, for the sentences.
    :param jails: the jails as they should be.
    :param transaction: all files as they should be.
    :param warn: takes sentences that fail nothing.
    """

    def __init__(
        self,
        host: Fail2BanHost,
        given: Sequence[Mapping[str, Any]],
        jails: Sequence[Jail],
        transaction: FileTransaction,
        warn: Callable[[str], None],
        *,
        check_mode: bool,
    ) -> None:
        self.host = host
        self.given = given
        self.jails = jails
        self.names = [jail.name for jail in jails]
        self.transaction = transaction
        self.check_mode = check_mode
        self.warn = warn

    def tried(self, changed: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Try the files as they should be, and return our jails as Fail2Ban understands them, and the running ones."""
        with self.whole(changed) as folder:
            answer = self.host.ask(folder, self.names)
            reason = refusal(answer["tried"], str(folder))
            if reason:
                raise HostError(f"Fail2Ban doesn't take the new configuration: {self.named(reason)}. {GOES_ON}.")
            found: dict[str, Any] = answer["tried"]["jails"]
            alone = self.alone(folder)
            for jail in self.jails:
                self.refuse_overruled(jail, found.get(jail.name), alone.get(jail.name, {}), folder)
            if changed:
                self.test(folder)
        self.check_units(found)
        return {name: found[name] for name in self.names}, running_jails(answer)

    @contextlib.contextmanager
    def whole(self, changed: bool) -> Iterator[Path]:
        """The whole folder as it would be: the one in use, or a copy with the new files."""
        if not changed:
            yield self.host.folder
            return
        with tempfile.TemporaryDirectory(prefix="postern-fail2ban-", dir=self.host.scratch) as scratch:
            copy = Path(scratch, "fail2ban")
            shutil.copytree(
                self.host.folder, copy, ignore=shutil.ignore_patterns(".postern-*"), ignore_dangling_symlinks=True
            )
            for path in self.transaction.previous():
                (copy / path).unlink(missing_ok=True)
            for path in self.transaction.files:
                (copy / path).unlink(missing_ok=True)
            self.transaction.stage(copy)
            yield copy

    def alone(self, folder: Path) -> dict[str, Any]:
        """Return the jails as Fail2Ban understands our files and its own; nothing where there are no others.

        :param folder: the whole one.
        """
        others = [path for path in self.others(folder) if path.is_file()]
        if not others or not self.jails:
            return {}
        with tempfile.TemporaryDirectory(prefix="postern-fail2ban-", dir=self.host.scratch) as scratch:
            copy = Path(scratch, "fail2ban")
            shutil.copytree(folder, copy, ignore_dangling_symlinks=True)
            for path in others:
                (copy / path.relative_to(folder)).unlink()
            tried = self.host.ask(copy, self.names)["tried"]
        found: dict[str, Any] = tried.get("jails", {})
        return found

    def others(self, folder: Path) -> list[Path]:
        """Return the files of others that can say something of our jails, in the order in which they are read."""
        own = {folder / name for name in self.transaction.files}
        found = [*sorted(folder.glob("jail.d/*.conf")), folder / "jail.local", *sorted(folder.glob("jail.d/*.local"))]
        action = folder / "action.d" / f"{ACTION}.local"
        return [path for path in (*found, action) if path not in own]

    def test(self, folder: Path) -> None:
        """Have ``fail2ban-client -t`` read the files."""
        done = self.host.run("fail2ban-client", "-c", str(folder), "-t")
        if done.returncode:
            said = [line.partition("ERROR")[2].strip() for line in (done.stderr + done.stdout).splitlines()]
            reason = "; ".join(dict.fromkeys(text.replace(f"{folder}/", "").rstrip(".") for text in said if text))
            raise HostError(
                f"Fail2Ban doesn't take the new configuration: {self.named(reason or 'it gives no reason')}. {GOES_ON}."
            )

    def named(self, reason: str) -> str:
        """Put the variable's name behind a reason that names a jail of ours."""
        for number, item in enumerate(self.given):
            if f"'{item['name']}'" in reason or f" {item['name']} jail" in reason:
                return f"{reason} (fail2ban_jails[{number}])"
        return reason

    def refuse_overruled(self, jail: Jail, found: dict[str, Any] | None, alone: dict[str, Any], folder: Path) -> None:
        """Refuse a jail that other files make something else of."""
        said = overruled(found, alone)
        if not said:
            return
        texts = [
            (str(self.host.folder / path.relative_to(folder)), path.read_text(encoding="utf-8", errors="replace"))
            for path in self.others(folder)
            if path.is_file()
        ]
        own = str(self.host.folder / jail.file)
        # What a file says is named before what only follows from it, and in its words: Fail2Ban shows no "/0".
        named = (
            (file, setting, text, should)
            for setting, _would, should in said
            for file, text in [culprit(texts, jail.name, setting, own)]
            if file
        )
        name, setting, would, should = next(named, (f"Another file below {self.host.folder}", *said[0]))
        raise HostError(
            f"{name} wins over this role for the jail '{jail.name}': {setting} would be {would} instead of "
            f"{should}. {GOES_ON}; remove the setting there."
        )

    def check_units(self, found: dict[str, Any]) -> None:
        """Refuse jails that wait for lines of a unit that isn't there: they would be active and read nothing."""
        for number, item in enumerate(self.given):
            name = item["name"]
            where = f"fail2ban_jails[{number}] '{name}'"
            named = units(found[name]["journalmatch"])
            states = [self.host.unit(unit) for unit in named]
            if not named or any(not reason for reason in states):
                continue
            text = f"{where} would read nothing, since {states[0]}"
            if self.check_mode:
                # What brings the unit may be about to be installed.
                self.warn(f"{text}.")
            else:
                raise HostError(f"{text}. {GOES_ON}; name the unit in journal_matches as the journal does.")
