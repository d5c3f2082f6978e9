"""External accounts in the declaration: a key identifier there; its secret beside it, in no fact and no sentence."""

from __future__ import annotations

from typing import Any

import pytest
from tools.declared import declared, derive_gateway

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import validate

HMAC = "mail_gateway_external_account_hmac_key"


def bound(key_id: Any = "Zk3vT9sQ") -> dict[str, Any]:
    return {"certificate": {"authority": "letsencrypt", "external_account_key_id": key_id}}


WHOLE = {**bound(), f"gw1.{HMAC}": "zWNDZM6eQGHWpSRTPal5", f"gw2.{HMAC}": "zWNDZM6eQGHWpSRTPal5"}
HALVES = [
    (
        bound(),
        f"certificate.external_account_key_id is 'Zk3vT9sQ', but {HMAC} of gw1 is missing; set it to the key that the",
    ),
    ({**WHOLE, f"gw2.{HMAC}": ""}, f"but {HMAC} of gw2 is missing; set it to the key that the authority gave with it."),
    (
        {**WHOLE, **bound("")},
        f"{HMAC} of gw1 is set, but mail_gateway.certificate.external_account_key_id isn't; declare the key identifier",
    ),
    ({**WHOLE, f"gw1.{HMAC}": "+SECRET/"}, f"{HMAC} of gw1 is not shown, but must be base64url (letters, digits, - "),
    ({**WHOLE, f"gw1.{HMAC}": "SECRE"}, f"{HMAC} of gw1 is not shown, but must be base64url"),
    ({**WHOLE, f"gw1.{HMAC}": 5238732}, f"{HMAC} of gw1 is not shown, but must be base64url"),
    ({**WHOLE, f"gw1.{HMAC}": ["SECRET"]}, f"{HMAC} of gw1 is not shown, but must be base64url"),
    (
        {**WHOLE, **bound("kid\neab-kid = other")},
        "certificate.external_account_key_id is 'kid\\neab-kid = other', but must be the key identifier that the",
    ),
    ({**WHOLE, **bound(17)}, "certificate.external_account_key_id is 17, but must be"),
]


@pytest.mark.parametrize(("changes", "sentence"), HALVES)
def test_half_an_external_account_is_told_and_its_key_never_shown(changes: dict[str, Any], sentence: str) -> None:
    found = [str(problem) for problem in validate(*declared(changes))]
    assert [told for told in found if sentence in told.replace('"', "'")], found
    for secret in ("zWNDZM6eQGHWpSRTPal5", "SECRE", "5238732"):
        assert secret not in "".join(found)


@pytest.mark.parametrize("key", ["", "SECRET-_", "c2VjcmV0cw==", "c2VjcmV0cw"])
def test_the_key_of_an_external_account_is_among_no_facts(key: str) -> None:
    declaration, inventory = declared(
        {**bound("Zk3vT9sQ" if key else ""), **{f"{gateway}.{HMAC}": key for gateway in ("gw1", "gw2")}}
    )
    found = derive_gateway(declaration, "gw1", inventory)
    assert found["letsencrypt_external_account_key_id"] == ("Zk3vT9sQ" if key else "")
    assert not key or key not in repr(found)
