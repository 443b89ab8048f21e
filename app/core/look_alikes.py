"""Letters that pass for Latin ones, by alphabet. Made by tools/look_alikes.py; do not edit.

Each entry: theirs, then ours, one by one.
"""

from __future__ import annotations

ALPHABETS: dict[str, tuple[str, str]] = {
    "armenian": (
        ("\u053c\u054d\u054f\u0555\u0561\u0563\u0566\u0570\u0578\u057c\u057d\u0581\u0584\u0585"),
        ("LUSOwqqhnnugfo"),
    ),
    "cherokee": (
        (
            "\u13a0\u13a1\u13a2\u13a5\u13a9\u13aa\u13ab\u13ac\u13b3\u13b7\u13bb\u13bd"
            "\u13c0\u13c2\u13c3\u13ce\u13cf\u13d2\u13d4\u13d5\u13d9\u13da\u13de\u13df"
            "\u13e2\u13e6\u13e7\u13f3\u13f4\uab75\uab81\uab83\uab93\uaba9\uabaa\uabaf"
        ),
        ("DRTiYAJEWMHYGhZ4bRWSVSLCPKdGBirwzvsc"),
    ),
    "coptic": (
        ("\u2c85\u2c8e\u2c92\u2c94\u2c98\u2c9a\u2c9e\u2c9f\u2ca2\u2ca3\u2ca4\u2ca5\u2ca6\u2ca8\u2cac\u2cd0"),
        ("rHlKMNOoPpCcTYXL"),
    ),
    "cyrillic": (
        (
            "\u0405\u0406\u0408\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421"
            "\u0422\u0423\u0425\u042c\u0430\u0433\u0435\u043a\u043d\u043e\u0440\u0441"
            "\u0443\u0445\u0455\u0456\u0458\u0461\u0474\u0475\u04ae\u04af\u04bb\u04bd"
            "\u04c0\u04cf\u0501\u050c\u051b\u051c\u051d\ua647"
        ),
        ("SIJABEKMHOPCTYXbarekhopcyxsijwVvYyhelldGqWwi"),
    ),
    "greek": (
        (
            "\u037f\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1"
            "\u03a4\u03a5\u03a7\u03b1\u03b2\u03b3\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf"
            "\u03c1\u03c3\u03c4\u03c5\u03c7\u03c9\u03dc\u03f2\u03f3\u03fa\u1d26"
        ),
        ("JABEZHIKMNOPTYXabyenikvopotuxwFcjMr"),
    ),
    "latin": (
        (
            "\u0131\u0184\u018d\u0196\u01a6\u01bd\u01c0\u0251\u0261\u0262\u0263\u0269"
            "\u026a\u026f\u0274\u0280\u028b\u028f\u0299\u029c\u029f\u1d00\u1d04\u1d05"
            "\u1d07\u1d0a\u1d0b\u1d0d\u1d0f\u1d11\u1d18\u1d1b\u1d1c\u1d20\u1d21\u1d22"
            "\u1d83\u1d8c\u1e9d\u1eff\ua730\ua731\ua798\ua799\ua79f\ua7b2\ua7b3\ua7b4"
            "\uab32\uab35\uab3d\uab47\uab48\uab4e\uab52\uab5a"
        ),
        ("ibglRslaggyiiwnruybhlacdejkmooptuvwzgyfyfsFfuJXBeforruuy"),
    ),
}
