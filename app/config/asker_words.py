# ruff: noqa: RUF001 - other scripts are what this is about
"""Words with which somebody speaks of himself, by language: what the semantic cache shares with nobody else."""

from __future__ import annotations

ASKER_WORDS = (
    # English
    "i", "i'm", "i've", "i'd", "i'll", "me", "us", "my", "mine", "myself", "we", "we're", "we've", "our",
    "ours", "ourselves", "this account", "this user", "current user", "this customer", "logged in", "signed in",
    # German, Dutch
    "ich", "mich", "mir", "mein", "meine", "meinen", "meinem", "meiner", "meines", "meins", "wir", "uns", "unser",
    "unsere", "unseren", "unserem", "unserer", "unseres", "ik", "mij", "mijn", "wij", "ons", "onze",
    # French
    "je", "j'ai", "j'avais", "m'a", "moi", "mon", "ma", "mes", "mien", "mienne", "nous", "notre", "nos",
    # Spanish, Portuguese, Italian, Catalan, Romanian
    "yo", "mi", "mis", "mí", "mío", "mía", "míos", "mías", "conmigo", "nosotros", "nosotras", "nuestro", "nuestra",
    "nuestros", "nuestras", "tengo", "soy", "estoy", "debo", "puedo", "eu", "meu", "minha", "meus", "minhas", "mim",
    "comigo", "nós", "nosso", "nossa", "nossos", "nossas", "tenho", "sou", "estou", "devo", "posso", "io", "mio",
    "mia", "miei", "mie", "noi", "nostro", "nostra", "nostri", "nostre", "ho", "meva", "meu", "meves", "meus",
    "jo", "nosaltres", "eu", "mea", "mei", "mele", "noi", "nostru", "noastră",
    # Polish, Czech, Slovak
    "ja", "mnie", "mną", "mój", "moja", "moje", "mojego", "mojej", "moim", "moich", "dla nas", "do nas", "o nas",
    "nasz", "nasza", "nasze",
    "mam", "jestem", "já", "mě", "mně", "můj", "mého", "mojí", "náš", "naše", "mám", "jsem", "môj", "mojej",
    # Russian, Ukrainian, Bulgarian
    "я", "меня", "мне", "мной", "мой", "моя", "моё", "мое", "мои", "моего", "моей", "моему", "моих", "моим", "моими",
    "мою", "мы", "нас", "нам", "нами", "наш", "наша", "наше", "наши", "нашего", "нашей", "нашу", "мене", "мені",
    "мій", "моє", "мої", "мого", "моєї", "ми", "аз", "мен", "ми", "моят", "моята", "моето", "моите",
    # Swedish, Danish, Norwegian, Finnish
    "jag", "jeg", "mig", "meg", "min", "mitt", "mina", "er mit", "på mit", "til mit", "med mit", "om mit", "for mit",
    "af mit", "i mit", "vi", "vår", "vårt", "våra", "vores", "oss", "minä",
    "minun", "minua", "minulla", "minulle", "meidän", "olen",
    # Turkish, Hungarian, Greek
    "ben", "benim", "bana", "beni", "bende", "biz", "bizim", "hesabım", "hesabımda", "én", "engem", "nekem", "enyém",
    "mi", "miénk", "εγώ", "εμένα", "μου", "εμείς", "μας", "έχω", "είμαι",
    # Arabic, Persian, Urdu, Hebrew
    "أنا", "انا", "لي", "عندي", "لدي", "حسابي", "اسمي", "نحن", "لدينا", "لنا", "مرا", "منو", "دارم", "هستم",
    "حسابم", "میں", "مجھے", "میرا", "میری", "میرے", "ہم", "ہمارا", "אני", "שלי", "לי", "אותי", "אנחנו", "שלנו",
    # Hindi, Bengali, Tamil
    "मैं", "मै", "मुझे", "मुझको", "मेरा", "मेरी", "मेरे", "हम", "हमें", "हमारा", "हमारी", "हमारे", "আমি", "আমার",
    "আমাকে", "আমরা", "আমাদের", "நான்", "என்", "எனது", "என்னுடைய", "எனக்கு",
    # Chinese, Japanese, Korean, Thai
    "我", "咱", "俺", "本人", "私", "僕", "わたし", "わたくし", "あたし", "ぼく", "おれ", "自分", "弊社", "当社",
    "나", "나는", "내", "내가", "나의", "나를", "저", "저는", "제", "제가", "저의", "저를", "우리", "저희",
    "나한테", "내게", "저에게", "제게", "우리의",
    "ฉัน",
    "ผม", "ดิฉัน", "เรา",
    # Vietnamese, Indonesian, Malay, Swahili, Tagalog
    "tôi", "mình", "chúng tôi", "saya", "aku", "kami", "kita", "mimi", "yangu", "langu", "wangu", "ako", "akin",
    "ko",
)  # fmt: skip
"""Each holds as a whole word, in any case; in scripts without blanks anywhere. One too many costs a hit, one too few
shows one end user what was said to another.
"""
