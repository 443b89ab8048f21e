"""Secrets in sentences, numbers that words explain, names in fields; and what is a machine's and stays."""

from __future__ import annotations

import random

import pytest

from app.core.ports import Scrubber
from app.privacy.presidio.scrubber import PresidioScrubber
from app.runtime.prepare import prepare


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    prepare(["bundled:names-minilm"])
    return PresidioScrubber()


PERSONAL = [
    ("the wifi password is Winter200!, same as before", "Winter200!"),
    ("My password, tulip72, is refused because it is too short.", "tulip72"),
    ("I changed my login to h@rb0r323! but the site wants the old one", "h@rb0r323!"),
    ("the passphrase is correct marble battery 28, keep it", "correct marble battery 28"),
    ("DB_PASSWORD=velvet19\nDB_HOST=db", "velvet19"),
    ("MAIL_PWD: correct velvet battery 61", "correct velvet battery 61"),
    ("export GITHUB_TOKEN='tok_9f8e7d6c'", "tok_9f8e7d6c"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCY"),
    ("pw: hunter2x", "hunter2x"),
    ('{"dbPassword": "swordfish12"}', "swordfish12"),
    ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
    ("mysql -u root -peQPs-77Vp shop < dump.sql", "eQPs-77Vp"),
    ("my card 5158-7307-2647-0497 was declined", "5158-7307-2647-0497"),
    ("card number 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    ("my visa is 410012345678 says the letter", "410012345678"),
    ("cvv 4655", "4655"),
    ("my ssn is 998967963, which form do I need", "998967963"),
    ("SSN 000-12-3456", "000-12-3456"),
    ("last 4 of my social are 1580", "1580"),
    ("Passport CNKZHFR2V, issued to Ann Smith", "CNKZHFR2V"),
    ("passport no. X1234567", "X1234567"),
    ("born on 4 March 1981 in Leeds", "4 March 1981"),
    ("Date of birth: 04.03.81", "04.03.81"),
    ("IBAN DE26 1502 7045 8448 3554 72", "DE26 1502 7045 8448 3554 72"),
    ('{"first": "Chiara", "last": "Banks"}', "Chiara"),
    ('{"name": "nora quill", "email": "n@example.org"}', "nora quill"),
    ("Thandi: are you coming?\nSky: only after nine\nThandi: fine", "Sky"),
    ("Nora: hi", "Nora"),
    ("write to nora (at) example dot org please", "nora (at) example dot org"),
    ("nora [at] example [dot] org", "nora [at] example [dot] org"),
    ("nora at example dot org", "nora at example dot org"),
    ("my landlord Bill Stone wants more rent", "Bill Stone"),
    ("My IP is 84.23.99.12", "84.23.99.12"),
]

NOBODYS = [
    "What does 127.0.0.1 mean, and how does it differ from 0.0.0.0?",
    "Compare 192.168.0.1 with 2001:db8::1",
    "Use 203.0.113.7 in examples, and ::1 at home.",
    "Our SKU is 3744112455.",
    "Our SKU is 590317463.",
    "Compare 1756849392 with the value before.",
    "Ticket 190724726673468 is closed.",
    "cc_version=2.1.197.123",
    "Bump Django from 4.2.11 to 5.0.6",
    "SNMP walk from 1.3.6.1.2.1.2.2.1.10 shows nothing",
    "The OID 1.3.6.1.4.1.311.21.8 belongs to whom?",
    "ISBN 978-0-306-40615-7, which publisher is that prefix?",
    "ticket INC99700650 is closed",
    "error 0x29755bc2 in module 93",
    "Explain the Cauchy-Schwarz inequality.",
    "What does Bayes' theorem say?",
    "Is Python faster than Kotlin?",
    "My password is wrong, what now?",
    "password: string",
    "PASSWORD=${DB_PASSWORD}",
    "max_tokens=100",
    "Note: this is short\nWarning: that is not",
    "pi to ten digits: 3.1415926535",
]


@pytest.mark.parametrize(("text", "value"), PERSONAL)
async def test_what_is_personal_is_found_whole(scrubber: Scrubber, text: str, value: str) -> None:
    (spans,) = await scrubber.scan([text])
    hidden = {at for span in spans for at in range(span.start, span.end)}
    start = text.index(value)
    assert all(at in hidden or not text[at].isalnum() for at in range(start, start + len(value))), spans


@pytest.mark.parametrize("text", NOBODYS)
async def test_what_is_nobodys_is_left(scrubber: Scrubber, text: str) -> None:
    assert await scrubber.scan([text]) == [[]]


async def test_of_random_numbers_hardly_one_is_taken_for_somebodys(scrubber: Scrubber) -> None:
    rng = random.Random(7)
    forms = ["Ticket {} is closed.", "Our SKU is {}.", "Compare {} with the value before.", "order {} has shipped",
             "The id {} is unknown", "error {} in module"]  # fmt: skip
    numbers = [str(rng.randrange(10 ** (size - 1), 10**size)) for size in range(9, 17) for _ in range(12)]
    found = await scrubber.scan([rng.choice(forms).format(number) for number in numbers])
    assert sum(map(bool, found)) <= 0.01 * len(numbers) + 1
