"""Expected counts of entities: seqeval's get_entities (default mode) and classification_report, written out in plain Python.

The first cases are the examples of seqeval's README with the figures it prints; `check` compares them.
The others are random tags in IOB2 and IOBES, well and badly formed.
"""

import json
import random
from pathlib import Path


def entities(tags):
    """conlleval's rules, as seqeval.metrics.sequence_labeling.get_entities: (type, first, last)."""
    out, prev_tag, prev_type, begin = [], "O", "", 0
    for i, chunk in enumerate(tags + ["O"]):
        tag, kind = chunk[0], chunk[1:].split("-", maxsplit=1)[-1] or "_"
        end = (
            prev_tag in "ES"
            or (prev_tag == "B" and tag in "BSO")
            or (prev_tag == "I" and tag in "BSO")
            or (prev_tag != "O" and prev_type != kind)
        )
        start = (
            tag in "BS"
            or (prev_tag == "E" and tag in "EI")
            or (prev_tag == "S" and tag in "EI")
            or (prev_tag == "O" and tag in "EI")
            or (tag != "O" and prev_type != kind)
        )
        if end:
            out.append((prev_type, begin, i - 1))
        if start:
            begin = i
        prev_tag, prev_type = tag, kind
    return out


def ratios(tp, predicted, support):
    p = tp / predicted if predicted else 0.0
    r = tp / support if support else 0.0
    return {"precision": p, "recall": r, "f1-score": 2 * p * r / (p + r) if p + r else 0.0}


def report(true, pred):
    gold = {(s, *e) for s, tags in enumerate(true) for e in entities(tags)}
    said = {(s, *e) for s, tags in enumerate(pred) for e in entities(tags)}
    rows = {}
    for kind in sorted({e[1] for e in gold | said}):
        g, s = {e for e in gold if e[1] == kind}, {e for e in said if e[1] == kind}
        rows[kind] = {**ratios(len(g & s), len(s), len(g)), "support": len(g)}
    n = len(gold)
    keys = ("precision", "recall", "f1-score")
    averages = {
        "micro avg": ratios(len(gold & said), len(said), n),
        "macro avg": {k: sum(r[k] for r in rows.values()) / len(rows) for k in keys},
        "weighted avg": {k: sum(r[k] * r["support"] for r in rows.values()) / n if n else 0.0 for k in keys},
    }
    return {**rows, **{k: {**v, "support": n} for k, v in averages.items()}}


def accuracy(true, pred):
    pairs = [(a, b) for t, p in zip(true, pred) for a, b in zip(t, p)]
    return sum(a == b for a, b in pairs) / len(pairs)


readme_true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
readme_pred = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
# seqeval's README: f1_score 0.50, accuracy_score 0.80 and the rows MISC 0 0 0 1, PER 1 1 1 1.
found = report(readme_true, readme_pred)
assert found["micro avg"]["f1-score"] == 0.5 and accuracy(readme_true, readme_pred) == 0.8
assert found["MISC"] == {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 1}
assert found["PER"] == {"precision": 1.0, "recall": 1.0, "f1-score": 1.0, "support": 1}
# README: entities of ['B-PER', 'I-PER', 'O', 'B-LOC'].
assert entities(["B-PER", "I-PER", "O", "B-LOC"]) == [("PER", 0, 1), ("LOC", 3, 3)]
# README on strict mode: B-NP I-NP O against I-NP I-NP O is all right in the default mode (f1 1.0).
assert report([["B-NP", "I-NP", "O"]], [["I-NP", "I-NP", "O"]])["micro avg"]["f1-score"] == 1.0

rng = random.Random(7)


def case(name, letters, kinds, sentences=30):
    tags = ["O"] + [f"{letter}-{kind}" for kind in kinds for letter in letters]
    weights = [2] + [1] * (len(tags) - 1)
    true = [rng.choices(tags, weights, k=rng.randint(1, 12)) for _ in range(sentences)]
    pred = [[t if rng.random() < 0.7 else rng.choice(tags) for t in s] for s in true]
    return {"name": name, "classes": tags, "true": true, "pred": pred}


cases = [
    {"name": "README", "classes": sorted({t for s in readme_true for t in s}), "true": readme_true, "pred": readme_pred},
    {"name": "README, begun by I-", "classes": ["B-NP", "I-NP", "O"], "true": [["B-NP", "I-NP", "O"]], "pred": [["I-NP", "I-NP", "O"]]},
    case("IOB2", "BI", ["PER", "LOC", "NEW-YORK"]),
    case("IOBES", "BIES", ["PER", "LOC"]),
    case("one predicted only", "BI", ["A"], 1),
]
for c in cases:
    c["report"] = report(c["true"], c["pred"])
    c["accuracy"] = accuracy(c["true"], c["pred"])
    c["entities"] = [[list(e) for e in entities(s)] for s in c["true"]]

path = Path(__file__).parent.parent / "metrics" / "entities.json"
path.write_text(json.dumps(cases, ensure_ascii=False) + "\n")
