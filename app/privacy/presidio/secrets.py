"""Secrets as people write them: in a sentence, in a settings file, in a header, on a command line.

engine -> [SECRETS]. A word says that it is one (`password`, `DB_PASSWORD=`, `pw:`); the value follows. What only
names a secret (`password: string`, `${TOKEN}`, `my password is wrong`) is none. Every repetition is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.privacy.presidio.patterns import Rule, rule

_NONE = (
    r"(?!(?:string|str|text|number|int|integer|bool|boolean|any|null|none|nil|true|false|undefined|required|optional|"
    r"hidden|varchar|char|bytes|object|array|secret|password|token|empty|unset|changeme|example|redacted|value|default|"
    r"self|this|args|req|request|config|env|os|process|settings|field|column|input|getpass|prompt|yes|"
    r"no)\b(?![-@!$#%&*\d]))"
    r"(?![*x\u2022.]{3,}|your[-_ ]|my[-_ ](?:pass|secret|token)|<|\$|%\(|\{|\[|\(|@)"
)
"""A value that is a type, a variable or a row of stars is no secret."""
_KEYS = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|pw|passwort|kennwort|secret(?:[_-]?(?:access)?[_-]?key)?|api[_-]?(?:key|"
    r"secret)|"
    r"(?:access|private|secret|signing|encryption|account|auth|master|storage|session)[_-]?key|"
    r"(?:access|auth|refresh|bearer|bot|session|api|id|personal)?[_-]?token|client[_-]?secret|credentials?|"
    r"conn(?:ection)?[_-]?str(?:ing)?)"
)
_OPEN = r"[\"'`\u2018\u201c\u201e\u00ab]?"
_END = r"[^\s\"'`\u2019\u201d\u00bb<>,;]"
_WORDS = (
    r"(?:pass ?words?|pass ?phrases?|pass ?codes?|passwd|pwd|pw|pass|log-?in|credentials|pin|passwort|kennwort|"
    r"mot de passe|contrase\u00f1a|clave|senha|palavra-passe|wachtwoord|has\u0142o|l\u00f6senord|adgangskode|"
    r"passord|\u043f\u0430\u0440\u043e\u043b\u044c|\u5bc6\u7801|\u30d1\u30b9\u30ef\u30fc\u30c9)"
)
_IS = (
    r"(?:\s{0,2}(?:=|:|->|\u2192|\uff1a)\s{0,2}|\s{1,2}(?:is still|is now|is|was|to|are|ist|war|lautet|est|es|\u00e9|"
    r"era|"
    r"\u00e8|jest|\u00e4r|er)\s{1,2}(?:now |still |set to |just |actually )?)"
)
_TOLD = rf"\b{_WORDS}\b(?:[ ][\w'\u2019.-]{{1,20}}){{0,5}}?{_IS}{_OPEN}"
_SIGNED = r"(?=[^\s]{0,60}[\d!$%&*#@^+=_~?-]{1})(?!\d{1,2}\b(?![\w!@#$%]))"

SECRETS: Sequence[Rule] = (
    # `DB_PASSWORD=...` of a settings file: to the end of its line
    rule("SECRET", rf"(?m)^[ \t]{{0,20}}(?:export |set |ENV |- )?[\w.-]{{0,60}}{_KEYS}\d?[ \t]{{0,3}}(?:=|"
         rf"(?<=[A-Z]):[ ])[ \t]{{0,3}}{_OPEN}"
         rf"({_NONE}[^\s\"'#;,(){{}}][^\n\"'#;,(){{}}]{{1,200}}[^\s\"'#;,(){{}}])(?=[\"' \t]{{0,4}}(?:#|;|,|$))",
         0.9, case=False, group=1),
    rule("SECRET", rf"(?<![A-Za-z0-9])[\w.-]{{0,60}}{_KEYS}\d?[\"']?[ \t]{{0,3}}(?::=|=|:)[ \t]{{0,3}}{_OPEN}"
         rf"({_NONE}(?=[^\s\"']{{0,80}}\d|[^\s\"']{{0,80}}[!$%&*#@^+=])[^\s\"'`;,<>(){{}}\[\]]{{4,200}})",
         0.88, case=False, group=1),
    rule("SECRET", rf"[\"'][\w.-]{{0,60}}{_KEYS}\d?[\"'][ \t]{{0,3}}:[ \t]{{0,3}}\"({_NONE}[^\"\n]{{4,200}})\"",
         0.9, case=False, group=1),
    # in a sentence
    rule("SECRET", rf"{_TOLD}({_NONE}{_SIGNED}{_END}{{3,80}}[^\s\"'`\u2019\u201d\u00bb<>,;.:?)])",
         0.88, case=False, group=1),
    rule("SECRET", rf"{_TOLD}((?:[A-Za-z]{{3,14}}[ -]){{2,6}}\d{{1,6}})\b", 0.85, case=False, group=1),
    rule("SECRET", rf"\b{_WORDS}\b(?:[ ][\w.-]{{1,20}}){{0,4}}?{_IS}[\"'`\u2018\u201c\u201e\u00ab]({_NONE}[^\"'`\n\u2"
         rf"019\u201d\u00bb]{{3,80}})"
         r"[\"'`\u2019\u201d\u00bb]", 0.85, case=False, group=1),
    rule("SECRET", rf"\b(?:pw|pwd|passwd|password|passcode|passwort)[ ]?:[ ]?({_NONE}{_END}{{3,80}})",
         0.8, case=False, group=1),
    rule("SECRET", rf"\b{_WORDS},[ ]{_OPEN}({_NONE}(?=[^\s,]{{0,80}}\d){_END}{{3,80}}|"
         rf"(?:[a-z]{{3,14}}[ ]){{2,5}}\d{{1,6}}),", 0.85, case=False, group=1),
    rule("SECRET", r"\bis ((?=\S{0,40}\d)\S{6,40}) (?:a )?(?:\w+ )?(?:strong|good|safe|secure|weak|bad|ok|"
         r"okay) (?:enough )?(?:as )?(?:a |my )?(?:pass|pin)", 0.8, case=False, group=1),
    # headers and command lines
    rule("SECRET", r"\b(?:mysql\w{0,8}|mariadb|sshpass|psql|redis-cli|"
         r"mongo\w{0,6})\b[^\n]{0,80}? -p ?[\"']?([^\s\"'-][^\s\"']{3,100})", 0.85, group=1),
    rule("SECRET", r"\b(?:proxy-)?authorization[\"']?[ ]?[:=][ ]?[\"']?(?:basic|digest|token|apikey|negotiate|"
         r"bearer)[ ]{1,3}"
         r"([A-Za-z0-9._~+/=-]{6,2000})", 0.95, case=False, group=1),
    rule("SECRET", r"\bbasic[ ]([A-Za-z0-9+/]{12,400}={0,2})(?![A-Za-z])",
         0.85, r"auth|header|curl|http", group=1, case=False),
    rule("SECRET", r"\b(?:x-)?(?:api|auth|access)[_-](?:key|token)[\"']?[ ]?[:=][ ]?[\"']?([A-Za-z0-9._~+/=-]{8,400})",
         0.9, case=False, group=1),
    rule("SECRET", r"(?:^|\s)(?:-u|--user)[ =][\"']?[\w.@-]{1,64}:([^\s\"']{3,128})", 0.88, group=1),
    rule("SECRET", rf"--(?:password|passwd|pass|token|secret|api-key)[ =][\"']?({_NONE}[^\s\"']{{3,200}})",
         0.88, group=1),
    # what stands beside a card
    rule("SECRET", r"\b(?:cvv2?|cvc2?|csc|security code|card code)\b[ :=#]{0,4}(?:is |"
         r"no\.? )?(\d{3,4})\b", 0.85, case=False, group=1),
    rule("SECRET", r"\bpin\b(?:[ -]?(?:code|number))?(?:[ ]for[ ][\w ]{1,24}?)?[ ]?(?:is|was|:|"
         r"=)?[ ]?(\d{4,8})\b", 0.8, case=False, group=1),
)  # fmt: skip
