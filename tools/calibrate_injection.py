"""Print the constants that make the injection guard's 0.5 mean about 1 % false positives.

    python tools/calibrate_injection.py labelled.jsonl [--model bundled:injection-minilm]

The file has one object a line: `text`, `attack` (0 or 1) and, if there is one, `source`. Platt's scaling fits
the slope on the odd lines; the intercept then moves so that 1 % of their benign texts score 0.5 or more. AUC and
recall are of the even lines. The constants go into `CALIBRATED` of app/adapters/injection.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from app.adapters.injection import OnnxInjection

FALSE_POSITIVES = 0.01


def main() -> None:
    """Score the file, fit, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="bundled:injection-minilm")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.file.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["text"].strip()]
    attack = np.array([row["attack"] for row in rows], dtype=bool)
    logits = np.array(asyncio.run(OnnxInjection(args.model).logits([row["text"] for row in rows])))
    fit, held = slice(1, None, 2), slice(0, None, 2)

    platt = LogisticRegression(C=1e6, class_weight="balanced").fit(logits[fit, None], attack[fit])
    slope = float(platt.coef_[0, 0])
    limit = float(np.quantile(logits[fit][~attack[fit]], 1 - FALSE_POSITIVES))
    print(f'"{args.model}": ({slope:.4f}, {-slope * limit:.4f})')

    caught, true = logits[held] >= limit, attack[held]
    print(f"held out, {len(true)} texts: AUC {roc_auc_score(true, logits[held]):.3f}")
    print(f"at 0.5: recall {caught[true].mean():.1%}, false positives {caught[~true].mean():.1%}")
    sources = defaultdict(list)
    for row, hit in zip(rows[held], caught, strict=True):
        sources[row.get("source", "?"), row["attack"]].append(hit)
    for (source, kind), hits in sorted(sources.items()):
        print(f"  {source} ({'attack' if kind else 'benign'}): {np.mean(hits):.1%} of {len(hits)}")


if __name__ == "__main__":
    main()
