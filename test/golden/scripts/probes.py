"""scikit-learn's answers on small feature tables: test/golden/parity/probes.json.

python test/golden/scripts/probes.py
"""
import json
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(7)
WIDTH, CLASSES = 6, 3
centres = rng.normal(0, 1.2, (CLASSES, WIDTH))


def blobs(n):
    labels = rng.integers(0, CLASSES, n)
    return (centres[labels] + rng.normal(0, 1, (n, WIDTH)) * [1, 2, 0.5, 1, 3, 1]).astype(np.float32), labels


def rounded(values, digits=6):
    return np.round(np.asarray(values, dtype=np.float64), digits).ravel().tolist()


x, y = blobs(60)
xt, yt = blobs(30)
scaler = StandardScaler().fit(x)
probe = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000).fit(scaler.transform(x), y)
start = x[:CLASSES]
means = KMeans(CLASSES, init=start, n_init=1, tol=0, algorithm="lloyd").fit(x)
pca = PCA(2).fit(x)
wide = rng.normal(0, 1, (5, 9)).astype(np.float32)
knn = {m: KNeighborsClassifier(3, metric=m).fit(x, y).predict(xt).tolist() for m in ("euclidean", "cosine")}
golden = {
    "train": {"vectors": rounded(x, 9), "labels": y.tolist()},
    "test": {"vectors": rounded(xt, 9), "labels": yt.tolist()},
    "linear": {
        "weights": rounded(probe.coef_),
        "bias": rounded(probe.intercept_),
        "predictions": probe.predict(scaler.transform(xt)).tolist(),
        "accuracy": probe.score(scaler.transform(xt), yt),
    },
    "kMeans": {
        "clusters": means.labels_.tolist(),
        "inertia": means.inertia_,
        "centres": rounded(means.cluster_centers_),
        "nmi": normalized_mutual_info_score(y, means.labels_),
        "ari": adjusted_rand_score(y, means.labels_),
    },
    "pca": {"points": rounded(pca.transform(x)), "explained": rounded(pca.explained_variance_ratio_)},
    "wide": {"vectors": rounded(wide, 9), "points": rounded(PCA(2).fit_transform(wide))},
    "knn": knn,
}
out = Path(__file__).parent.parent / "parity" / "probes.json"
out.write_text(json.dumps(golden) + "\n")
print(f"{out.name}: {out.stat().st_size} bytes")
