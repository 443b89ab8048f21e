"""The English words that app/cache/paraphrase/rules.py looks for. Data, no rules."""

from __future__ import annotations

from collections import defaultdict


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _table(lines: str) -> dict[str, str]:
    """Each line: words of one meaning; every one of them -> the first."""
    rows = [line.split() for line in lines.strip().splitlines()]
    return {word: row[0] for row in rows for word in row}


FUNCTION = _words("""
    a an the this that these those it its i me my mine we us our you your yours he him his she her hers they
    them their one ones someone somebody anyone anybody something anything there here who whom whose which what
    when where why how is are was were be been being am do does did done doing have has had having will would
    shall should can could may might must of in on at to for from by with about into onto as than then so and or
    but if because while not no too very really just also ever even still only quite actually please tell
    explain know like get got any some all each every much many more most best good way ways thing things kind
    sort hi hello thanks help need want s t up out off over give let
""")
NEGATORS = _words("not no never without none nobody nothing neither nor cannot hardly isn aren non")
SPELLED = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty"""
NUMBERS = {
    word: str(value)
    for value, word in enumerate(SPELLED.split())
    if word != "one"  # mostly a pronoun
} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
    "hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000", "lakh": "100000",
    "crore": "10000000", "first": "1", "second": "2", "third": "3", "fourth": "4", "fifth": "5", "half": "1/2",
    "double": "2x", "triple": "3x", "twice": "2x", "dozen": "12",
}  # fmt: skip
UNITS = _table("""
kilometer km kilometers kilometre kilometres kms
meter m meters metre metres
centimeter cm centimeters centimetre centimetres
millimeter mm millimeters millimetre millimetres
mile mi miles
foot ft feet
inch inches
yard yards
kilogram kg kilo kilos kilograms kgs
gram g grams gm gms
milligram mg milligrams
pound lb lbs pounds
ounce oz ounces
ton tons tonne tonnes
liter l liters litre litres
milliliter ml milliliters millilitres
gallon gallons
cup cups
tablespoon tablespoons tbsp
teaspoon teaspoons tsp
millisecond ms milliseconds
second seconds secs sec
minute minutes mins min
hour hours hrs hr hourly
day days daily
week weeks weekly
month months monthly
year years yearly yr yrs annual annually
decade decades
century centuries
byte bytes
kilobyte kb kilobytes
megabyte mb megabytes
gigabyte gb gigabytes
terabyte tb terabytes
bit bits
volt volts v
watt watts w
kilowatt kw kilowatts
ampere amp amps amperes
hertz hz
kilohertz khz
megahertz mhz
gigahertz ghz
celsius centigrade
fahrenheit
kelvin
acre acres
hectare hectares
mph
kph kmph kmh
percent percentage %
dollar dollars usd $
euro euros eur €
rupee rupees rs inr ₹
yen jpy ¥
yuan rmb
sterling gbp £
cent cents
calorie calories kcal
joule joules
pixel pixels px
""")  # fmt: skip
CALENDAR = _table("""
january jan
february feb
march
april apr
may
june jun
july jul
august aug
september sep sept
october oct
november nov
december dec
monday mondays
tuesday tuesdays
wednesday wednesdays
thursday thursdays
friday fridays
saturday saturdays
sunday sundays
today
tomorrow
yesterday
tonight
morning mornings
noon
afternoon afternoons
evening evenings
night nights
midnight
weekend weekends
weekday weekdays
spring
summer summers
autumn fall
winter winters
christmas xmas
easter
""")  # fmt: skip
ALIASES = _table("""
america usa american americans u.s
britain uk british england english
india indian indians
russia russian russians
china chinese
germany german germans
france french
japan japanese
javascript js
typescript ts
tv television
phone cellphone smartphone
photo photograph picture pic
movie film
""")
_PAIRS = """
best worst; good bad; better worse; increase decrease; increase reduce; increase lower; raise lower; gain lose;
gain lost; gain reduce; buy sell; buying selling; start stop; begin end; more less; most least; more fewer;
maximum minimum; max min; maximize minimize; male female; man woman; men women; boy girl; boys girls; guy girl;
guys girls; husband wife; boyfriend girlfriend; mother father; mom dad; son daughter; brother sister; uncle aunt;
king queen; he she; his her; him her; left right; open close; enable disable; install uninstall; import export;
upload download; send receive; send get; encrypt decrypt; encode decode; compress decompress; connect disconnect;
add remove; add delete; create delete; create destroy; insert delete; legal illegal; possible impossible; like hate;
love hate; like dislike; hot cold; warm cold; high low; higher lower; highest lowest; cheap expensive; cheapest
expensive; old new; older newer; oldest newest; old young; older younger; oldest youngest; first last; early late;
earliest latest; input output; teach learn; win lose; win lost; advantage disadvantage; advantages disadvantages;
pros cons; benefit drawback; benefits drawbacks; positive negative; rich poor; strong weak; big small; bigger smaller;
biggest smallest; large small; largest smallest; longest shortest; longer shorter; fast slow; fastest
slowest; faster slower; easy hard; easy difficult; easiest hardest; true false; real fake; public private; internal
external; inside outside; before after; north south;
east west; northern southern; eastern western; lend borrow; push pull; push pop; lock unlock; block unblock; follow
unfollow; friend unfriend; subscribe unsubscribe; login logout; employer employee; employers employees; teacher
student; teachers students; doctor patient; doctors patients; landlord tenant; buyer seller; buyers sellers; client
server; parent child; parents children; parents kids; mentor mentee; interviewer interviewee; lender borrower;
manager employee; boss employee; doctor nurse; lawyer client; driver passenger; author reader; host guest; veto
approve; accept reject; accept refuse; accept decline; allow deny; allow forbid; allow prevent; cause prevent; cause
cure; help hurt; attack defend; save waste; save spend; earn spend; hire fire; marry divorce; arrive leave; arrive
depart; enter exit; enter leave; credit debit; asset liability; assets liabilities; supply demand; import export;
theist atheist; liberal conservative; democrat republican; democrats republicans; alive dead; awake asleep; day
night; dark light; happy sad; happiest saddest; introvert extrovert; introverts extroverts; ascending descending;
horizontal vertical; row column; rows columns; synchronous asynchronous; static dynamic; odd even; prefix suffix;
front back; top bottom; widen narrow; thick thin; fat thin; wet dry; heavy light; hardware software; undergraduate
graduate; android ios; windows mac; windows linux; mac linux; iphone android; online offline; indoor outdoor;
national international; domestic foreign; physical mental; mean median; vegan vegetarian; deposit withdraw; deposit
withdrawal; backward forward; ally enemy; friend enemy; victory defeat; success failure; succeed fail; pass fail;
present absent; guilty innocent; mandatory optional; required optional; temporary permanent; simple complex; single
multiple; single married; full empty; full part; encourage discourage; approve reject; lenient strict; ancient
modern; civil criminal; acid base; acids bases; proton electron; artery vein; arteries veins; bull bear; plaintiff
defendant; senior junior; major minor; upper lower; upgrade downgrade; appear disappear; agree disagree; trust
distrust; visible invisible; legal unlawful; safe dangerous; safe unsafe; healthy unhealthy; common rare; always never
"""


def _opposites() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for pair in _PAIRS.split(";"):
        one, other = pair.split()
        found[one].add(other)
        found[other].add(one)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITES = _opposites()
"""Word -> the words that say the contrary, or name the other side of a pair."""
JOINS = _words("and or vs versus")
"""Words on whose two sides things may change places."""
