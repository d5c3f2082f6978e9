# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchange's parameter types: which values they take, and the text that the object then shows."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from . import values as v
from .clixml import Thing

_DATA = "Microsoft.Exchange.Data."
_CONFIGURATION = f"{_DATA}Directory.SystemConfiguration."
# Enumerations of the published help; the flags first, which may be combined. Their order is that in which they show.
FLAGS = {
    "AuthMechanisms": "None Tls Integrated BasicAuth BasicAuthRequireTLS ExchangeServer ExternalAuthoritative",
    "PermissionGroups": "None AnonymousUsers ExchangeUsers ExchangeServers ExchangeLegacyServers Partners Custom",
    "MessageRateSourceFlags": "None IPAddress User All",
    "OutlookProviderFlags": "None ServerExclusiveConnect ExternalClientsRequireSSL InternalClientsRequireSSL",
}
NAMES = {
    "ProtocolLoggingLevel": "None Verbose",
    "SizeMode": "Disabled Enabled EnabledWithoutValue",
    "ExtendedProtectionPolicySetting": "None Allow Require",
    "ExtendedProtectionTokenCheckingMode": "None Allow Require",
    "ServerRole": "FrontendTransport HubTransport",
    "UsageType": "Custom Internet Internal Client Partner",
    "LoginOptions": "PlainTextLogin PlainTextAuthentication SecureLogin",
    "LogFileRollOver": "Hourly Daily Weekly Monthly",
    "MimeTextFormat": "TextOnly HtmlOnly HtmlAndTextAlternative TextEnrichedOnly TextEnrichedAndTextAlternative "
    "BestBodyFormat Tnef",
    "CalendarItemRetrievalOptions": "iCalendar IntranetUrl InternetUrl Custom",
    "EwsApplicationAccessPolicy": "EnforceAllowList EnforceBlockList",
    "ShadowMessagePreference": "PreferRemote LocalOnly RemoteOnly",
    "SortOrder": "Ascending Descending",
    "ServiceState": "Inactive Active Draining",
    "ProtocolOption": "Any UseUdpOnly UseTcpOnly",
    "SyncLogLoggingLevel": "None Error Information Verbose RawData Debugging",
    "ActiveDirectorySecurityInheritance": "None All Descendents SelfAndChildren Children",
}
HOST = re.compile(r"(?=.{1,255}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*")


class Unfit(Exception):
    """A value that the type doesn't take; its text is what the type says."""


def full_type(name: str) -> str:
    if name in ("Boolean", "Int32", "String", "Uri", "Guid"):
        return f"System.{name}"
    if name in ("AuthMechanisms", "PermissionGroups", "SizeMode"):
        return _CONFIGURATION + name
    return _DATA + name


def _shown(value: Any) -> str:
    return str(value)


def flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return bool(value)
    raise Unfit("Boolean parameters accept only Boolean values and numbers, such as $True, $False, 1 or 0 instead.")


def number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not re.fullmatch(r"\s*-?\d+\s*", str(value)):
        raise Unfit("Input string was not in a correct format.")
    found = int(value)
    if not -(2**31) <= found < 2**31:
        raise Unfit("Value was either too large or too small for an Int32.")
    return found


def span(value: Any) -> str:
    text = str(value)
    if re.fullmatch(r"\d+", text):
        text = f"{text}.00:00:00"  # a number alone is days
    try:
        seconds = v.span(text)
    except ValueError:
        raise Unfit(f"String was not recognized as a valid TimeSpan: '{value}'.") from None
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}.{clock}" if days else clock


def size(value: Any) -> str:
    try:
        return v.size_text(v.size(value))
    except ValueError:
        raise Unfit(f"'{value}' isn't a valid ByteQuantifiedSize. The units are B, KB, MB, GB and TB.") from None


def unlimited(value: Any, *, sized: bool) -> str:
    if isinstance(value, str) and value.strip().lower() == "unlimited":
        return "Unlimited"
    return size(value) if sized else str(number(value))


def one_of(names: str, value: Any) -> str:
    wanted = str(value).strip()
    for name in names.split():
        if name.lower() == wanted.lower():
            return name
    raise Unfit(
        f"Unable to match the identifier name {wanted} to a valid enumerator name. "
        f"Specify one of the following enumerator names and try again: {', '.join(names.split())}"
    )


def some_of(names: str, value: Any) -> str:
    parts = value if isinstance(value, list) else str(value).split(",")
    found = {one_of(names, part) for item in parts for part in str(item).split(",")}
    kept = [name for name in names.split() if name in found and name != "None"]
    return ", ".join(kept) or "None"


def host(value: Any) -> str | None:
    if value is None or value == "":
        return None
    text = str(value)
    if not HOST.fullmatch(text):
        raise Unfit(f'"{text}" isn\'t a valid fully qualified domain name.')
    return text


def address_range(value: Any) -> str:
    text = str(value).strip()
    try:
        v.remote_range(text)
    except ValueError:
        raise Unfit(
            f'"{text}" isn\'t a valid IP address range. Specify an IP address, a range such as 10.0.0.1-10.0.0.9, '
            f"or an address with a mask such as 10.0.0.0/24 or 10.0.0.0(255.255.255.0)."
        ) from None
    return re.sub(r"[0-9A-Fa-f:.]*[:.][0-9A-Fa-f:.]*", lambda found: str(ipaddress.ip_address(found[0])), text)


def binding(value: Any) -> str:
    text = str(value).strip()
    try:
        return str(v.binding(text))
    except ValueError:
        raise Unfit(f'"{text}" isn\'t a valid binding. The format is <IP address>:<port>.') from None


def connection_setting(value: Any) -> str:
    """`host:port:SSL`, `host:port:TLS` or `host:port`."""
    found = re.fullmatch(r"([^:]+):(\d{1,5})(?::(SSL|TLS))?", str(value).strip(), re.IGNORECASE)
    if not found or not HOST.fullmatch(found[1]) or not 0 < int(found[2]) < 65536:
        raise Unfit(f'"{value}" isn\'t a valid connection setting. The format is <FQDN>:<port>:[SSL|TLS].')
    return f"{found[1]}:{found[2]}" + (f":{found[3].upper()}" if found[3] else "")


def url(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", str(value)):
        raise Unfit("Invalid URI: The format of the URI could not be determined.")
    return str(value)


def local_path(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not re.fullmatch(r'[A-Za-z]:\\[^<>:"/|?*]*', str(value)):
        raise Unfit(f'The value "{value}" isn\'t a valid local full path.')
    return str(value)


def address(value: Any) -> str | None:
    try:
        return None if value is None else str(ipaddress.ip_address(str(value)))
    except ValueError:
        raise Unfit("An invalid IP address was specified.") from None


# What a multi-valued parameter takes, by its name.
ELEMENTS = {
    "Bindings": binding,
    "RemoteIPRanges": address_range,
    "UnencryptedOrTLSBindings": binding,
    "SSLBindings": binding,
    "InternalConnectionSettings": connection_setting,
    "ExternalConnectionSettings": connection_setting,
    "InternalSMTPServers": address_range,
    "ExternalDNSServers": address,
    "InternalDNSServers": address,
}


def several(name: str, value: Any, present: list[str]) -> list[str]:
    """The new list: the value itself, or what @{Add=…; Remove=…} makes of the present one."""
    element = ELEMENTS.get(name, str)

    def items(raw: Any) -> list[str]:
        listed = raw if isinstance(raw, list) else [] if raw is None else [raw]
        return [text for text in (element(item) for item in listed) if text is not None]

    if not isinstance(value, dict):
        result: list[str] = []
        for item in items(value):
            if item.lower() in (other.lower() for other in result):
                raise Unfit(f'The value "{item}" is already present in the collection.')
            result.append(item)
        return result
    keys = {key.lower(): key for key in value}
    if not keys or set(keys) - {"add", "remove"}:
        raise Unfit(
            "Hashtables used to create an instance of MultiValuedProperty can contain only the keys Add and Remove."
        )
    gone = {item.lower() for item in items(value.get(keys.get("remove", ""), []))}
    result = [item for item in present if item.lower() not in gone]
    for item in items(value.get(keys.get("add", ""), [])):
        if item.lower() not in (other.lower() for other in result):
            result.append(item)
    return result


def convert(name: str, kind: str, value: Any, present: Any = None) -> Any:
    """What the object's property will be. Raises Unfit."""
    if isinstance(value, Thing) and not isinstance(value.text, str):
        value = str(value)
    if kind == "MultiValuedProperty":
        return several(name, value, present or [])
    if kind in FLAGS:
        return some_of(FLAGS[kind], value if value is not None else "")
    if kind in NAMES:
        return one_of(NAMES[kind], value if value is not None else "")
    if kind == "Boolean":
        return flag(value)
    if kind in ("Int32", "UInt32"):
        return number(value)
    if kind == "EnhancedTimeSpan":
        return span(value)
    if kind == "ByteQuantifiedSize":
        return size(value)
    if kind == "Unlimited":
        return unlimited(value, sized="Size" in name or "Quota" in name)
    if kind == "Fqdn":
        return host(value)
    if kind == "Uri":
        return url(value)
    if kind == "LocalLongFullPath":
        return local_path(value)
    if kind == "IPAddress":
        return address(value)
    return None if value is None else str(value)
