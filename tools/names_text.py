"""Texts with personal data in them, for tools/train_names.py: sentences of tools/names_templates.txt, filled by Faker.

Names, streets, towns and telephone numbers are of many countries and are mixed: a Turkish name in a Polish street. The
same sentence comes in lower case, in capitals, quoted, or joined to another one, as callers write.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faker import Faker

from tools.names_lists import (
    DAYS,
    ENDS,
    FIRMS,
    KINDS,
    LOCALES,
    MONTHS,
    PARTS,
    PEOPLES,
    PLACES,
    PREFIXES,
)

TEMPLATES = Path(__file__).with_name("names_templates.txt")
LATIN_ONLY = 0.97  # share of names in other scripts that are passed over
SLOT = re.compile(r"\{(\w+)\}")
OTHER = "OTHER"  # numbers and addresses that patterns find: the model learns that they are not telephone numbers
LABELS = {
    "person": "PERSON", "first": "PERSON", "last": "PERSON",
    "city": "LOCATION", "country": "LOCATION", "state": "LOCATION", "stateabbr": "LOCATION", "place": "LOCATION",
    "address": "ADDRESS", "street": "ADDRESS", "streetname": "ADDRESS", "unit": "ADDRESS", "pobox": "ADDRESS",
    "military": "ADDRESS", "zip": "ZIP_CODE", "org": "ORGANIZATION", "job": "TITLE", "prefix": "TITLE",
    "date": "DATE_TIME", "time": "DATE_TIME", "weekday": "DATE_TIME", "age": "AGE", "nrp": "NRP",
    "phone": "PHONE_NUMBER", "license": "US_DRIVER_LICENSE",
    "email": OTHER, "url": OTHER, "ip": OTHER, "iban": OTHER, "card": OTHER, "ssn": OTHER,
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A text and what is in it: (start, end, label)."""

    text: str
    spans: list[tuple[int, int, str]]


class Writer:
    """Fills templates. Two with the same seed write the same."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - no secret
        Faker.seed(seed)
        self._fakers = {locale: Faker(locale) for locale in dict.fromkeys(LOCALES)}
        self.templates = [line.replace("\\n", "\n") for line in TEMPLATES.read_text(encoding="utf-8").splitlines()]
        own = (name.removeprefix("_make_") for name in dir(self) if name.startswith("_make_"))
        self._makers: dict[str, Callable[[], str]] = {name: getattr(self, f"_make_{name}") for name in own}

    def texts(self, count: int) -> Iterator[Text]:
        """So many texts: templates in random order, all equally often."""
        order: list[str] = []
        for _ in range(count):
            order = order or self.rng.sample(self.templates, len(self.templates))
            text = self.fill(order.pop())
            if self.rng.random() < 0.25:
                text = join(
                    text, self.fill(self.rng.choice(self.templates)), self.rng.choice([" ", "\n", "  ", "\n\n"])
                )
            yield self._cased(text)

    def fill(self, template: str) -> Text:
        """One template with its slots filled."""
        text, spans, at = "", [], 0
        for slot in SLOT.finditer(template):
            if slot[1] not in self._makers:
                continue
            value = self._makers[slot[1]]()
            text += template[at : slot.start()]
            if slot[1] in LABELS:
                spans.append((len(text), len(text) + len(value), LABELS[slot[1]]))
            text += value
            at = slot.end()
        return Text(text + template[at:], spans)

    def _cased(self, text: Text) -> Text:
        chance = self.rng.random()
        changed = text.text.lower() if chance < 0.22 else text.text.upper() if chance < 0.25 else text.text
        return Text(changed, text.spans) if len(changed) == len(text.text) else text

    def _any(self, method: str, locale: str = "") -> str:
        while True:
            faker = self._fakers[locale or self.rng.choice(LOCALES)]
            value = str(getattr(faker, method)()) if hasattr(faker, method) else ""
            foreign = any(c.isalpha() and ord(c) > 0x24F for c in value)
            if value and not (foreign and self.rng.random() < LATIN_ONLY):
                return value
            locale = ""

    def _digits(self, shape: str) -> str:
        return re.sub("#", lambda _: str(self.rng.randrange(10)), shape)

    def _make_first(self) -> str:
        return self._any("first_name")

    def _make_last(self) -> str:
        return self._any("last_name")

    def _make_person(self) -> str:
        first, last, chance = self._make_first(), self._make_last(), self.rng.random()
        if chance < 0.08:
            return self.rng.choice([first, last])
        if chance < 0.14:
            return f"{first} {self.rng.choice('ABCDEFGHJKLMNPRSTW')}. {last}"
        if chance < 0.19:
            return f"{first} {self._make_first()} {last}"
        if chance < 0.23:
            return f"{first} {last}{self.rng.choice(['-', ' '])}{self._make_last()}"
        if chance < 0.27:
            return (
                f"{first} {self.rng.choice(['van der', 'de', 'von', 'da', 'al', 'bin', 'van', 'O' + chr(39)])} {last}"
            )
        return f"{first} {last}"

    def _make_prefix(self) -> str:
        return self.rng.choice(PREFIXES)

    def _make_job(self) -> str:
        if self.rng.random() < 0.5:
            return self._any("job", "en_US").lower() if self.rng.random() < 0.4 else self._any("job", "en_US")
        kinds = (
            "teacher nurse engineer lawyer plumber driver analyst manager director secretary chef pilot mayor dentist"
        )
        role = self.rng.choice(kinds.split())
        front = self.rng.choice(["", "senior ", "head ", "chief ", "assistant ", "retired ", "school ", "Software "])
        return front + role

    def _make_city(self) -> str:
        return self._any("city")

    def _make_country(self) -> str:
        return self.rng.choice(
            [self._any("country", "en_US"), self._any("country", "en_US"), *["UK", "USA", "Russia"][:1]]
        )

    def _make_state(self) -> str:
        return self._any("state", self.rng.choice(["en_US", "en_US", "en_AU", "de_DE", "en_IN"]))

    def _make_stateabbr(self) -> str:
        return self._any("state_abbr", "en_US")

    def _make_place(self) -> str:
        return self.rng.choice(PLACES)

    def _make_streetname(self) -> str:
        return self._any("street_name")

    def _make_street(self) -> str:
        chance = self.rng.random()
        if chance < 0.45:
            return self._any("street_address").split("\n")[0]
        if chance < 0.7:
            return f"{self.rng.randrange(1, 300)} {self._any('street_name')}"
        if chance < 0.88:
            return f"{self.rng.randrange(1, 100)} {self._any('street_name')} {self.rng.randrange(1, 400)}"
        return f"{self._any('street_name')} {self.rng.randrange(1, 200)}{self.rng.choice(['', '', 'a', 'B', '/3'])}"

    def _make_unit(self) -> str:
        kind = self.rng.choice(["Apt.", "Suite", "Unit", "Flat", "Apt", "Floor", "Room", "Apartment", "#"])
        return f"{kind} {self._digits(self.rng.choice(['##', '###', '#']))}"

    def _make_pobox(self) -> str:
        return f"{self.rng.choice(['PO Box', 'P.O. Box', 'POB', 'Box'])} {self.rng.randrange(10, 9999)}"

    def _make_military(self) -> str:
        first = self.rng.choice([f"PSC {self._digits('####')}, Box {self._digits('####')}", f"USS {self._make_last()}"])
        return (
            f"{first}\n{self.rng.choice(['APO', 'FPO'])} {self.rng.choice(['AA', 'AE', 'AP'])} {self._digits('#####')}"
        )

    def _make_zip(self) -> str:
        if self.rng.random() < 0.6:
            return self._digits(self.rng.choice(["#####", "#####", "#####", "#####-####", "####"]))
        return self._any("postcode")

    def _make_address(self) -> str:
        gap = self.rng.choice([", ", "\n", " ", "\n ", ",\n"])
        parts = [self._make_street()]
        if self.rng.random() < 0.5:
            parts.append(self._make_unit())
        town = self.rng.random()
        city = self._make_city()
        if town < 0.3:
            parts.append(f"{city}, {self._make_stateabbr()} {self._make_zip()}")
        elif town < 0.55:
            parts.append(f"{self._make_zip()} {city}")
        else:
            parts.append(city)
        if town > 0.4:
            parts.append(
                f"{self._make_country()} {self._make_zip()}" if self.rng.random() < 0.6 else self._make_country()
            )
        if self.rng.random() < 0.12:
            return self._any("address")
        return gap.join(parts)

    def _make_org(self) -> str:
        chance = self.rng.random()
        if chance < 0.25:
            return self.rng.choice(FIRMS)
        if chance < 0.5:
            return self._any("company")
        if chance < 0.65:
            return f"{self._make_last()} {self.rng.choice(KINDS)}"
        made = self.rng.choice(PARTS) + self.rng.choice([*PARTS, *ENDS])
        made = self.rng.choice([made.capitalize(), made.capitalize(), made])
        return made if chance < 0.8 else f"{made} {self.rng.choice(KINDS)}"

    def _make_date(self) -> str:
        year, month, day = self.rng.randrange(1930, 2026), self.rng.randrange(1, 13), self.rng.randrange(1, 29)
        name = self.rng.choice([MONTHS[month - 1], MONTHS[month - 1][:3]])
        clock = self._digits(f"{self.rng.randrange(24):02}:{self.rng.randrange(60):02}:0#")
        return self.rng.choice([
            f"{month}/{day}/{year}", f"{day:02}.{month:02}.{year}", f"{year}-{month:02}-{day:02}",
            f"{day}/{month}/{year % 100:02}",
            f"{name} {day}, {year}", f"{day} {name} {year}", f"{name} {day}", f"{day} {name}", f"the {day}th of {name}",
            f"{year}-{month:02}-{day:02} {clock}", f"{year}-{month:02}-{day:02}T{clock}Z", f"{name} {year}",
            f"{self.rng.choice(DAYS)}, {name} {day}", f"{month:02}/{day:02}/{year}", f"{name} {day}th, {year}",
        ])  # fmt: skip

    def _make_time(self) -> str:
        hour, minute = self.rng.randrange(1, 13), self.rng.randrange(60)
        return self.rng.choice(
            [f"{hour}:{minute:02}", f"{hour} pm", f"{hour}am", f"{hour}:{minute:02} PM", f"{hour + 11}:{minute:02}"]
        )

    def _make_weekday(self) -> str:
        return self.rng.choice(DAYS)

    def _make_age(self) -> str:
        return str(self.rng.randrange(3, 99))

    def _make_nrp(self) -> str:
        people = self.rng.choice(PEOPLES)
        return people + "s" if people.endswith("n") and self.rng.random() < 0.1 else people

    def _make_phone(self) -> str:
        if self.rng.random() < 0.65:
            return self._any("phone_number", self.rng.choice(["en_US", *LOCALES]))
        return self._digits(self.rng.choice([
            "## ## ## ##", "##-##-##-##", "0## ### ## ##", "(0##) ####-###", "## ### ### ####", "0#-########",
            "+## ### ### ###", "## ## ##", "0### ## ## ##", "(###)###-####x###", "###.###.####", "00# ### ### ####",
            "0### #######", "### ## ###", "(##) ####-####",
            "+##(0)### ######", "0##-###-###", "## ### ####", "##-####-###",
        ]))  # fmt: skip

    def _make_license(self) -> str:
        shapes = ("A#######", "K########", "#########", "########", "S############", "AB######C", "D###-####-####")
        return self._digits(self.rng.choice(shapes))

    def _make_email(self) -> str:
        return self._any("email", "en_US")

    def _make_url(self) -> str:
        return self.rng.choice([self._any("url", "en_US"), self._any("domain_name", "en_US")])

    def _make_ip(self) -> str:
        return self._any(self.rng.choice(["ipv4", "ipv4", "ipv6"]), "en_US")

    def _make_iban(self) -> str:
        return self._any("iban", self.rng.choice(["en_GB", "de_DE", "fr_FR", "it_IT"]))

    def _make_card(self) -> str:
        card = self._any("credit_card_number", "en_US")
        return card if self.rng.random() < 0.7 else " ".join(card[i : i + 4] for i in range(0, len(card), 4))

    def _make_ssn(self) -> str:
        return self._digits("###-##-####")

    def _make_n(self) -> str:
        kind = self.rng.random()
        if kind < 0.6:
            return str(self.rng.randrange(1, 60))
        if kind < 0.85:
            return str(self.rng.randrange(60, 5000))
        return self.rng.choice(
            [
                f"{self.rng.randrange(1, 90)}.{self.rng.randrange(100)}",
                f"{self.rng.randrange(1, 9)},{self.rng.randrange(100, 999)}",
                "1/2",
                "3/4",
                "two",
                "five",
                "ten",
                f"{self.rng.randrange(10000, 99999)}",
            ]
        )

    def _make_year(self) -> str:
        return str(self.rng.randrange(1700, 2027))


def join(first: Text, second: Text, gap: str) -> Text:
    """Two texts as one."""
    by = len(first.text) + len(gap)
    return Text(first.text + gap + second.text, first.spans + [(s + by, e + by, label) for s, e, label in second.spans])
