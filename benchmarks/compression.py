"""What `compress` costs in accuracy, for the page "Compressed estimators".

    python benchmarks/compression.py -o benchmarks/results/compression.json

Fits each kind of model on each bundled data set, compresses it with and without
calibration on the training data, and scores all three on samples not trained on.
About a minute.
"""

import argparse
import warnings

import numpy as np
from sklearn import datasets
from sklearn.base import clone, is_classifier
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from sklearn_ternary.compression import compress

DATASETS = ("digits", "breast_cancer", "wine", "diabetes")
N_SPLITS = 5

# Steps after a StandardScaler, as they come but for what makes them converge.
MODELS = {
    "LogisticRegression": [LogisticRegression(max_iter=1000)],
    "LogisticRegression, C=0.01": [LogisticRegression(C=0.01, max_iter=1000)],
    "SGDClassifier": [SGDClassifier(random_state=0)],
    "RidgeClassifier": [RidgeClassifier()],
    "LinearSVC": [LinearSVC(random_state=0)],
    "LinearDiscriminantAnalysis": [LinearDiscriminantAnalysis()],
    "OneVsRest of LogisticRegression": [
        OneVsRestClassifier(LogisticRegression(max_iter=1000))
    ],
    "MLPClassifier, 64": [MLPClassifier((64,), max_iter=100, random_state=0)],
    "PCA(8), LogisticRegression": [PCA(8), LogisticRegression(max_iter=1000)],
    "Ridge": [Ridge()],
    "Lasso, alpha=0.01": [Lasso(0.01)],
    "LinearSVR": [LinearSVR(random_state=0, max_iter=10_000)],
    "PoissonRegressor": [PoissonRegressor(max_iter=300)],
    "MLPRegressor, 64": [
        MLPRegressor(
            hidden_layer_sizes=(64,),
            learning_rate_init=0.01,
            max_iter=300,
            random_state=0,
        )
    ],
    "TruncatedSVD(8), Ridge": [TruncatedSVD(8, random_state=0), Ridge()],
}


def load(name, classify):
    """Return data; classes are 0, 1, … for regressors, halves for classifiers."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if classify and name == "diabetes":
        y = (y > np.median(y)).astype(int)
    return X, y


def measure(models=MODELS, names=DATASETS, n_splits=N_SPLITS):
    """Return one row for each model and data set: means over random splits."""
    rows = []
    for model, steps in models.items():
        for name in names:
            pipeline = make_pipeline(StandardScaler(), *steps)
            X, y = load(name, is_classifier(pipeline))
            splits = [_split(pipeline, X, y, seed) for seed in range(n_splits)]
            row = {key: float(np.mean([s[key] for s in splits])) for key in splits[0]}
            rows.append({"model": model, "data": name, **row})
    return rows


def _split(pipeline, X, y, seed):
    classify = is_classifier(pipeline)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=seed, stratify=y if classify else None
    )
    model = clone(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are stopped before they converge
        model.fit(X_train, y_train)
    rounded = compress(model)
    calibrated = compress(model, X_train)
    report = calibrated.compression_report_
    wanted, found = model.predict(X_test), calibrated.predict(X_test)
    agreement = np.mean(wanted == found) if classify else r2_score(wanted, found)
    return {
        "classifier": classify,
        "float": _score(model, X_test, y_test),
        "rounded": _score(rounded, X_test, y_test),
        "calibrated": _score(calibrated, X_test, y_test),
        "agreement": agreement,
        "bits_per_weight": report.bits_per_weight,
        "ratio": report.ratio,
    }


def _score(model, X, y):
    """Accuracy, or R² with squared errors for every regressor."""
    if is_classifier(model):
        return model.score(X, y)
    return r2_score(y, model.predict(X))


def main():
    """Run as a script."""
    from _machine import describe_machine
    from _results import write_results

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, help="JSON file to write")
    arguments = parser.parse_args()
    rows = measure()
    for row in rows:
        print(
            f"{row['model']:32}{row['data']:15}{row['float']:7.3f}"
            f"{row['rounded'] - row['float']:+8.3f}"
            f"{row['calibrated'] - row['float']:+8.3f}"
            f"{row['agreement']:7.3f}{row['bits_per_weight']:6.2f}"
        )
    results = {
        "format": "sklearn-ternary compression 1",
        "machine": describe_machine(),
        "n_splits": N_SPLITS,
        "results": rows,
    }
    write_results(arguments.output, results)


if __name__ == "__main__":
    main()
