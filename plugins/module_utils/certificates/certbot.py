# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""certbot: its command, its lineages, and what it says, as one sentence."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import stat
import time
from pathlib import Path

from ..host.errors import HostError
from ..host.files import read, write
from .haproxy_swap import flat
from .settings import PROGRAM, Settings, Wanted
from .turns import DUE
from .x509 import Certificate

LOG = "/var/log/letsencrypt/letsencrypt.log"


class Held(HostError):
    """The authority asked to be left alone for a while."""


HOOK = f"{PROGRAM} install"
#: Other people's hooks are about their certificates: one that stops HAProxy would cut off every client. What stands in
#: certbot's own files (cli.ini, renewal-hooks) gives way to what stands on its command line.
OWN_HOOKS = ("--no-directory-hooks", "--pre-hook", "", "--post-hook", "", "--deploy-hook", HOOK)


def renewal_file(settings: Settings, name: str) -> Path:
    """Return where certbot keeps what it knows of a lineage."""
    return Path(settings.lineages, "renewal", f"{name}.conf")


def renewal_value(settings: Settings, name: str, key: str) -> str:
    """Return a value of a lineage's file; "" where there is none."""
    with contextlib.suppress(OSError):
        text = renewal_file(settings, name).read_text(encoding="utf-8")
        if found := re.search(rf"^{key}\s*=\s*(.+?)\s*$", text, re.MULTILINE):
            return found[1]
    return ""


def is_ours(settings: Settings, name: str) -> bool:
    """Tell whether a lineage is the role's: its hook is our program, whoever else may have taken the same name."""
    return renewal_value(settings, name, "renew_hook") == HOOK


def refuse_foreign(settings: Settings) -> None:
    """Raise HostError where certbot has a certificate of somebody else's under one of our names."""
    for wanted in settings.certificates:
        path = renewal_file(settings, wanted.name)
        if path.exists() and not is_ours(settings, wanted.name):
            raise HostError(
                f"letsencrypt_certificates: certbot has a certificate '{wanted.name}' on this host that isn't this "
                f"role's ({path}); give ours another name, or remove that one by 'certbot delete --cert-name "
                f"{wanted.name}' if nobody needs it. Nothing was changed."
            )


def account(settings: Settings) -> str:
    """Return which of several accounts at the authority is asked by; "" where certbot has no choice.

    That of our own certificates, or the first that was made.
    """
    server = settings.authority.removeprefix("https://")
    folder = Path(settings.lineages, "accounts", server)
    known = {path.parent.name: path for path in folder.glob("*/meta.json")}
    if len(known) < 2:
        return ""
    for wanted in settings.certificates:
        own = is_ours(settings, wanted.name) and lineage_server(settings, wanted.name) == settings.authority
        used = renewal_value(settings, wanted.name, "account")
        if own and used in known:
            return used

    def made(name: str) -> tuple[str, str]:
        try:
            return str(json.loads(known[name].read_text(encoding="utf-8"))["creation_dt"]), name
        except (OSError, ValueError, KeyError, TypeError):
            return "9", name  # behind all years

    return min(known, key=made)


def lineage(settings: Settings, name: str) -> bytes | None:
    """Return key, certificate and chain of a lineage of ours; None where there is none that is whole."""
    if not is_ours(settings, name):
        return None
    live = Path(settings.lineages, "live", name)
    key, chain = read(live / "privkey.pem"), read(live / "fullchain.pem")
    return key + b"\n" + chain if key and chain else None


def lineage_server(settings: Settings, name: str) -> str:
    """Return the URL of the authority that a lineage is from; "" where it isn't known."""
    return renewal_value(settings, name, "server")


def schedule_renewal(settings: Settings, name: str, leaf: Certificate, *, renews: bool) -> None:
    """Tell certbot when to renew a lineage (ours to decide, as certbot before 4 counts thirty days), and whether.

    Other settings of the lineage, and the comments in its file, stay.
    """
    path = renewal_file(settings, name)
    if not is_ours(settings, name):
        return
    try:
        before = path.read_text(encoding="utf-8")
    except OSError:
        return
    minutes = max(1, int((leaf.not_after - leaf.not_before) * DUE / 60))
    lines = [line for line in before.splitlines() if not re.match(r"(renew_before_expiry|autorenew)\s*=", line)]
    lines.insert(0, f"renew_before_expiry = {minutes} minutes")
    if not renews:
        place = lines.index("[renewalparams]") + 1 if "[renewalparams]" in lines else len(lines)
        lines[place:place] = ["autorenew = False"] if place < len(lines) else []
    after = "\n".join(lines) + "\n"
    if after != before:
        write(path, after.encode(), stat.S_IMODE(path.stat().st_mode))


def certbot_command(settings: Settings, wanted: Wanted) -> list[str]:
    """Return the command that has one certificate issued. No secret is on it."""
    command = [
        "certbot", "certonly", "--non-interactive", "--agree-tos", "--no-eff-email", "--cert-name", wanted.name,
        "--server", settings.authority, "--config-dir", settings.lineages,
        "--authenticator", "standalone", "--preferred-challenges", "http-01",
        "--http-01-address", "127.0.0.1", "--http-01-port", str(settings.http_port),
        "--key-type", settings.key_type, "--force-renewal", "--renew-with-new-domains",
        *OWN_HOOKS,
    ]  # fmt: skip
    if chosen := account(settings):
        command += ["--account", chosen]
    if settings.key_type == "rsa":
        command += ["--rsa-key-size", str(settings.key_size)]
    command += ["--email", settings.contact] if settings.contact else ["--register-unsafely-without-email"]
    if settings.certbot_options:
        command += ["--config", settings.certbot_options]
    for name in wanted.names:
        command += ["--domain", name]
    return command


def forget_account(settings: Settings) -> bool:
    """Put the account aside that an authority no longer knows, so that certbot makes another; tell whether it was."""
    host, _unused, path = settings.authority.removeprefix("https://").partition("/")
    folder = Path(settings.lineages, "accounts", host, path)
    if not path or not folder.is_dir():
        return False
    folder.rename(folder.with_name(f"{folder.name}.lost-{int(time.time())}"))
    return True


def certbot_environment(settings: Settings) -> dict[str, str]:
    """Return what certbot needs to trust a company's own ACME server."""
    return {"REQUESTS_CA_BUNDLE": settings.bundle} if settings.bundle else {}


def certbot_failure(output: str, settings: Settings) -> HostError:
    """Return certbot's output as one sentence."""
    line = " ".join(output.split())
    if "rateLimited" in output or re.search(
        r"too many (certificates|failed|new|requests|currently)", line, re.IGNORECASE
    ):
        until = re.search(r"retry after (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)", line, re.IGNORECASE)
        text = f"{until[1]} {until[2]} UTC" if until else "an hour has passed"
        return Held(f"{settings.authority} limits how often it is asked; nothing is asked again before {text}.")
    details = re.findall(r"Domain:\s*(\S+)\s+Type:\s*(\S+)\s+Detail:\s*(.+?)(?=\s+Domain:|\s+Hint:|$)", line)
    if details:
        told = "; ".join(f"{name} ({kind}): {flat(detail)}" for name, kind, detail in details[:3])
        return HostError(f"{settings.authority} could not validate {told}.")
    if re.search(r"ConnectionError|Max retries|Connection refused|timed out|NewConnectionError", line):
        return HostError(f"{settings.authority} can't be reached; the next run of certbot's timer tries again.")
    if not settings.contact and re.search(
        r"invalidContact|(contact|email)[^.]*(required|missing)", line, re.IGNORECASE
    ):
        return HostError(f"{settings.authority} wants a contact for its account; give letsencrypt_contact.")
    problem = re.search(r"urn:ietf:params:acme:error:(\w+)(?: :: (.+?))?(?: Ask for help|$)", line)
    if problem:
        return HostError(f"{settings.authority} answers '{problem[1]}': {flat((problem[2] or '').lstrip(': '))}.")
    returned = re.search(r"Error returned by the ACME server: (.+?)(?: Ask for help|$)", line)
    if returned:
        return HostError(f"{settings.authority} answers: {flat(returned[1])}.")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Ask for help", "Saving debug log", "See the logfile"))]
    return HostError(f"certbot failed: {flat(lines[-1] if lines else '')}; see {LOG}.")


def hold_seconds(sentence: str, at: float) -> float:
    """Return until when the authority wants to be left alone."""
    found = re.search(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC", sentence)
    if not found:
        return at + 3600
    until = dt.datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00").timestamp()
    return min(max(until, at + 60), at + 8 * 86400)
