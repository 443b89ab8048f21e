"""What looks like somebody's and is a machine's: tools, theorems, standards, versions, part numbers, special addresses.

tagger, patterns -> [technical] -> engine. All of it is linear in the text around a finding.
"""

from __future__ import annotations

import ipaddress
import re

TOOLS = frozenset({
    "python", "java", "javascript", "typescript", "haskell", "kotlin", "scala", "golang", "rust", "perl", "lua",
    "elixir", "erlang", "clojure", "fortran", "cobol", "matlab", "django", "flask", "sinatra", "rails", "laravel",
    "symfony", "spring", "react", "angular", "vue", "svelte", "jquery", "redux", "webpack", "vite", "babel",
    "numpy", "pandas", "scipy", "sklearn", "pytorch", "tensorflow", "keras", "jupyter", "anaconda", "conda", "pip",
    "npm", "yarn", "maven", "gradle", "ansible", "terraform", "kubernetes", "docker", "podman", "helm", "istio",
    "envoy", "nginx", "apache", "tomcat", "redis", "mongo", "mongodb", "postgres", "postgresql", "mysql", "mariadb",
    "sqlite", "kafka", "rabbitmq", "celery", "sidekiq", "hadoop", "spark", "flink", "airflow", "elasticsearch",
    "kibana", "logstash", "grafana", "prometheus", "loki", "sentry", "splunk", "datadog", "github", "gitlab",
    "bitbucket", "jira", "confluence", "jenkins", "circleci", "vault", "consul", "etcd", "zookeeper", "cassandra",
    "hbase", "hive", "presto", "trino", "snowflake", "databricks", "bigquery", "dynamodb", "linux", "ubuntu",
    "debian", "fedora", "centos", "windows", "macos", "android", "ios", "alexa", "siri", "cortana", "chatgpt",
    "gpt", "copilot", "gemini", "llama", "mistral", "snmp", "http", "https", "tcp", "udp", "dns", "dhcp", "ssh",
    "ssl", "tls", "vpn", "ldap", "oauth", "saml", "jwt", "json", "yaml", "xml", "html", "css", "sql", "graphql",
    "grpc", "protobuf", "thrift", "avro", "parquet", "opencv", "unity", "unreal", "blender", "photoshop", "excel",
    "powerpoint", "tableau", "salesforce", "sap", "oracle", "swagger", "postman", "selenium", "pytest", "junit",
    "cypress", "playwright", "celsius", "fahrenheit", "kelvin", "eigen", "oid", "isbn", "issn", "uuid", "sku",
    "vin", "pin", "iban", "bash", "zsh", "powershell", "vim", "emacs", "vscode", "intellij", "eclipse", "pycharm",
    "homebrew", "vagrant", "puppet", "chef", "saltstack", "nagios", "zabbix", "memcached", "varnish", "haproxy",
    "caddy", "traefik", "wireshark", "nmap", "metasploit", "burp", "log4j", "hibernate", "lombok", "mockito",
})  # fmt: skip
"""Tools, languages and protocols, in lower case: as a whole finding, they name nobody."""
NAMED = frozenset({
    "julia", "ruby", "ada", "pascal", "claude", "cassandra", "travis", "hudson", "jackson", "apollo", "athena",
    "hermes", "gatsby", "ember", "dart", "swift", "crystal", "jasmine", "selenium", "eliza", "bert", "elmo",
    "alexa", "curry", "erlang", "dolly", "falcon",
})  # fmt: skip
"""Tools with a human name: tools where a word says so."""
SOFTWARE = re.compile(
    r"\b(?:librar(?:y|ies)|frameworks?|install\w*|packages?|modules?|compil\w+|deploy\w*|programm\w+|languages?|code|"
    r"versions?|repo\w*|servers?|databases?|api|sdk|class|function|syntax|script|monads?|upgrade|bump|docker|build|"
    r"models?|plugin|ci\b|kubernetes|python|mongo|redis|js\b)",
    re.IGNORECASE,
)
EPONYM = re.compile(
    r"(?:['\u2019]s?)?(?:[ -\u2013](?:[A-Z]\w+))?[ -](?:\w+[ ])?(?:theorem|lemma|law|rule|equation|algorithm|test|"
    r"constant|conjecture|"
    r"inequalit\w+|distribution|principle|effect|disease|syndrome|paradox|transform|series|method|razor|numbers?|"
    r"machine|"
    r"curve|diagram|index|scale|space|product|matrix|matrices|function|process|chain|filter|sequence|coefficient|"
    r"correlation|criterion|identity|polynomials?|integral|sum|group|algebra|field|operator|cycle|engine|reaction|"
    r"bottle|box|bridge|circle|cipher|code|tree|sort|search|trick|sauce|salad|kart|unit|degrees?|prize|award|medal)\b"
)
"""A theorem, a disease or a dish that is called after somebody: behind the name."""
STANDARD = re.compile(
    r"\b(?:ISO|IEC|DIN|EN|RFC|IEEE|ASTM|ANSI|CVE|CWE|BS|JIS|NIST|FIPS|PEP|KB|OID|UL|MIL-STD|ECMA|ITU|SAE|"
    r"EC)[ -]?[\w./:-]{0,12}$"
)
NUMBERED = re.compile(
    r"\b(?:part|sku|isbn|issn|ean|upc|asin|gtin|serial|s/n|order|ticket|batch|lot|item|article|ref(?:erence)?|model|"
    r"version|build|commit|error|errno|exception|code|oid|issue|pull request|pr|bug|job|run|task|shelf|bin|rack|"
    r"revision|"
    r"firmware|release|tracking|divisible|binary|hex|prime|checksum|hash|timestamp|epoch|unix|bytes?|pixels?|rows?)\b"
    r"(?:[^\n.?!]|no\.){0,24}$",
    re.IGNORECASE,
)
"""A word that says which number follows, and that it is nobody's."""
_VERSION = re.compile(
    r"(?:\b|_)(?:v|ver|version|release|build|firmware|driver|rev|upgrade[d]?(?: \w+)? to|downgrade[d]?(?: \w+)? to|"
    r"bump\w*"
    r"|patch|oid|snmp|mib|walk from|asn\.?1|libs?|pkg)[\s:=_/-]{0,3}(?:is |to |from |number )?[\"']?$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\b(?:ip|ips|host|client|server|peer|address|login|logged|connect\w*|visitor|attacker)\b", re.IGNORECASE
)
_WELL_KNOWN = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "255.255.255.255"})
_DOCUMENTATION = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "100.64.0.0/10"))
)


def is_machines(value: str) -> bool:
    """Whether an IP address is one of a machine's own net, of examples or of nobody: it leads to no person."""
    try:
        found = ipaddress.ip_interface(value.strip("[]").partition("%")[0])
    except ValueError:
        return False
    one = found.ip
    special = (
        one.is_loopback
        or one.is_unspecified
        or one.is_private
        or one.is_link_local
        or one.is_multicast
        or one.is_reserved
    )
    documented = any(one in net for net in _DOCUMENTATION if net.version == one.version)
    return special or documented or str(one) in _WELL_KNOWN


def is_version(text: str, start: int, end: int) -> bool:
    """Whether four numbers with dots between them are a version, or a part of an object identifier."""
    longer = re.match(r"\.\d", text[end : end + 2]) or re.search(r"\d\.$", text[max(0, start - 2) : start])
    if longer:
        return True
    before = text[max(0, start - 40) : start]
    return bool(_VERSION.search(before))


def is_tool(text: str, start: int, end: int) -> bool:
    """Whether a finding is a tool, or a theorem that is called after somebody."""
    words = re.findall(r"[\w.+#-]+", text[start:end])
    if not words:
        return False
    last = words[-1].casefold().rstrip(".")
    if last in TOOLS or (len(words) <= 2 and words[0].casefold() in TOOLS):
        return True
    if last in NAMED and SOFTWARE.search(text, max(0, start - 60), min(len(text), end + 60)):
        return True
    if EPONYM.match(text, end) or EPONYM.search(text[start:end]):
        return True
    whole = text[start:end]
    return whole.isupper() and whole.isalpha() and len(whole) <= 5 and not text[: end + 40].isupper()


def is_part_number(text: str, start: int) -> bool:
    """Whether the words before say that a number is a thing's."""
    before = text[max(0, start - 40) : start]
    return bool(STANDARD.search(before) or NUMBERED.search(before))
