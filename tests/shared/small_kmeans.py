"""Small problems of k-means, and fits of them."""

import numpy as np
from sklearn.datasets import make_blobs

from sklearn_ternary import ClusteredKMeans


def blobs(n=400, d=5, k=6, dtype=np.float64, seed=0, std=1.0):
    X, y = make_blobs(n, d, centers=k, cluster_std=std, random_state=seed)
    return X.astype(dtype), y


def fitted(X, weight=None, **options):
    kmeans = ClusteredKMeans(12, random_state=0, **options)
    return kmeans.fit(X, sample_weight=weight)


def bits(kmeans):
    return (
        kmeans.labels_.tobytes(),
        kmeans.cluster_centers_.tobytes(),
        kmeans.inertia_,
        kmeans.n_iter_,
    )
