"""Write app/core/look_alikes.py: letters that pass for a Latin one, from Unicode's confusables (TR39), and ours.

    pip install confusable-homoglyphs==3.3.1 && python tools/look_alikes.py && ruff format app/core

Taken is every single letter of another alphabet, or of phonetic Latin, that Unicode calls confusable with one ASCII
letter and that NFKC leaves as it is. BY_HAND stands above it: what people do take for a Latin letter and Unicode's
data, which compares shapes in a few fonts, does not hold or sees otherwise.
"""

# ruff: noqa: RUF001 - letters that pass for others are what it is about

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import groupby
from pathlib import Path

PACKAGE, DATA = "confusable_homoglyphs", "confusables.json"
TARGET = Path(__file__).parents[1] / "app" / "core" / "look_alikes.py"
SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC")
"""Alphabets that text of today mixes with Latin letters; by the first word of a character's name."""
BY_HAND: Mapping[str, str] = {
    **dict(zip("аеорсухіјѕԁһӏԛԝѵкнАВЕКМНОРСТУХІЈЅԌ", "aeopcyxijsdhlqwvkhABEKMHOPCTYXIJSG", strict=True)),
    **dict(zip("αβεικνορτυχγηωϲΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "abeikvoptuxynwcABEZHIKMNOPTYX", strict=True)),
    **dict(zip("օոսհցզԼՏՍՕ", "onuhgqLSUO", strict=True)),
    **dict(zip("ᎠᎡᎢᎥᎪᎫᎬᎳᎷᎻᏀᏂᏃᏎᏏᏒᏔᏙᏚᏞᏟᏢᏦᏴ", "DRTiAJEWMHGhZ4bRWVSLCPKB", strict=True)),
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɡɑ", "abcdefghijklmnoprstuvwyzga", strict=True)),
    "\u0131": "i",
}


def found(data: Mapping[str, list[dict[str, str]]]) -> Iterator[tuple[str, str]]:
    """Unicode's pairs: a letter of SCRIPTS, and the ASCII letter that it looks like."""
    for letter, others in data.items():
        if len(letter) != 1 or letter.isascii() or not unicodedata.category(letter).startswith("L"):
            continue
        if unicodedata.normalize("NFKC", letter) != letter or unicodedata.name(letter, "?").split()[0] not in SCRIPTS:
            continue
        alike = [other["c"] for other in others if other["c"].isascii() and len(other["c"]) == 1]
        # Several ASCII letters that look alike themselves: the one of the same case, l rather than I.
        fits = [one for one in alike if one.isalpha()]
        if fits:
            yield letter, min(fits, key=lambda one: (one.isupper() != letter.isupper(), one not in "lo", one))


def written(table: Mapping[str, str]) -> str:
    """The module's text: an alphabet's letters, and below them what they look like."""
    lines = ['"""Letters that pass for Latin ones, by alphabet. Made by tools/look_alikes.py; do not edit.', ""]
    lines += ["Each entry: theirs, then ours, one by one.", '"""', "", "from __future__ import annotations", ""]
    lines += ["ALPHABETS: dict[str, tuple[str, str]] = {"]
    pairs = sorted(table.items(), key=lambda pair: (_script(pair[0]), pair[0]))
    for script, group in groupby(pairs, key=lambda pair: _script(pair[0])):
        own = list(group)
        lines.append(f'    "{script.lower()}": (')
        for column in (0, 1):
            rows = [own[at : at + 12] for at in range(0, len(own), 12)]
            spelt = ['            "' + "".join(_spelt(pair[column]) for pair in row) + '"' for row in rows]
            lines += ["        (", *spelt, "        ),"]
        lines.append("    ),")
    return "\n".join([*lines, "}", ""])


def _script(letter: str) -> str:
    return unicodedata.name(letter).split()[0]


def _spelt(letter: str) -> str:
    return letter if letter.isascii() else letter.encode("unicode_escape").decode()


def main() -> None:
    """Read the package's data, write the module."""
    data = json.loads(files(PACKAGE).joinpath(DATA).read_text(encoding="utf-8"))
    table = {**dict(found(data)), **BY_HAND}
    TARGET.write_text(written(table), encoding="utf-8")
    print(f"{len(table)} letters, {len(table.keys() - BY_HAND.keys())} of them Unicode's alone")


if __name__ == "__main__":
    main()
