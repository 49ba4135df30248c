"""Records scikit-learn's classification_report on cases of every kind: test/golden/metrics/reports.json.

python test/golden/scripts/metrics.py
"""
import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import classification_report

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20240611)


def noisy(classes, n, right=0.8, weights=None):
    true = rng.choice(classes, n, p=weights)
    pred = np.where(rng.random(n) < right, true, rng.integers(0, classes, n))
    return true.tolist(), pred.tolist()


digits10 = [str(i) for i in range(10)]
cases = []


def case(name, names, pair, digits=2, labels=None):
    true, pred = pair
    chosen = list(range(len(names))) if labels is None else labels
    options = dict(labels=chosen, target_names=[names[k] for k in chosen], zero_division=0)
    cases.append(
        {
            "name": name,
            "classes": names,
            "labels": labels,
            "digits": digits,
            "true": true,
            "pred": pred,
            "json": classification_report(true, pred, output_dict=True, **options),
            "text": classification_report(true, pred, digits=digits, **options),
        }
    )


case("ten digits", digits10, noisy(10, 1000, 0.97))
case("ten digits, 4 decimals", digits10, noisy(10, 1000, 0.97), digits=4)
case("two classes", ["no", "yes"], noisy(2, 50))
case("the documentation's example", ["class 0", "class 1", "class 2"], ([0, 1, 2, 2, 2], [0, 0, 2, 2, 1]))
case("perfect", ["a", "b", "c"], ([0, 1, 2, 0], [0, 1, 2, 0]))
case("all wrong", ["a", "b"], ([0, 0, 1], [1, 1, 0]))
case("one sample", ["a", "b"], ([1], [1]))
case("one class", ["only"], ([0, 0], [0, 0]))
case("a class that never occurs", ["a", "b", "ghost"], noisy(2, 40))
case("a class never predicted", ["a", "b", "c"], ([0, 1, 2, 2, 1], [0, 1, 1, 0, 1]), digits=3)
case("a class predicted but absent", ["a", "b", "c"], ([0, 1, 1], [0, 2, 1]))
case("imbalanced", ["rare", "common"], noisy(2, 500, 0.9, [0.01, 0.99]), digits=5)
case("long names", ["a class with quite a long name", "b"], noisy(2, 30))
case("names of other scripts", ["数字", "é", "🐈 cat"], noisy(3, 60))
case("names that look like numbers, unsorted", ["10", "9", "1", "02"], noisy(4, 80))
case("ties at two decimals", ["a", "b"], ([0] * 8 + [1] * 8, [0] + [1] * 7 + [1] * 3 + [0] * 5))
case("ties without decimals", ["a", "b"], ([0, 0, 1, 1], [0, 1, 1, 0]), digits=0)
case("ties at one decimal", ["a", "b"], ([0] * 4 + [1] * 4, [0, 1, 1, 1, 1, 1, 1, 0]), digits=1)
case("fifteen decimals", ["a", "b", "c"], noisy(3, 97), digits=15)
case("a subset of labels", digits10, noisy(10, 300), labels=[7, 1, 3], digits=3)
case("a subset that is all that occurs", ["a", "b", "c"], noisy(2, 30), labels=[1, 0])
case("a subset that never occurs", ["a", "b", "c", "d"], noisy(2, 30), labels=[2, 3])
case("three hundred classes", [f"c{i:03}" for i in range(300)], noisy(300, 3000), digits=6)

out = Path(__file__).parents[1] / "metrics" / "reports.json"
out.parent.mkdir(parents=True, exist_ok=True)
rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in cases)
out.write_text(f'{{"scikit-learn": "{sklearn.__version__}", "cases": [\n{rows}\n]}}\n', encoding="utf-8")
print(len(cases), "cases", out.stat().st_size, "bytes")
