"""
A quantizer in a pipeline
=========================

How many levels do features need? A quantizer is a transformer, so it goes into a
``Pipeline``, and a grid search chooses its options as it chooses any others.
"""

# %%
# The pixels of scikit-learn's digits are standardized, rounded to a few levels,
# and given to a logistic regression. Each fold of the cross-validation learns its
# scales from its training part alone.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ternary import AffineQuantizer, TernaryQuantizer

X, y = load_digits(return_X_y=True)

pipeline = Pipeline(
    [
        ("standardize", StandardScaler()),
        ("quantize", TernaryQuantizer()),
        ("classify", LogisticRegression(C=0.1, max_iter=1000)),
    ]
)

# %%
# The grid
# --------
#
# The step ``quantize`` is itself a parameter: it can be replaced by integers of 4
# or 8 bits, or left out.

grid = [
    {
        "quantize": [TernaryQuantizer(n_levels=3)],
        "quantize__scale": ["absmean", "twn", "mse", "absmax", "norm"],
    },
    {
        "quantize": [TernaryQuantizer(n_levels=5)],
        "quantize__scale": ["absmean", "mse", "absmax", "norm"],
    },
    {"quantize": [AffineQuantizer(n_bits=4), AffineQuantizer(n_bits=8)]},
    {"quantize": ["passthrough"]},
]
folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
search = GridSearchCV(pipeline, grid, cv=folds).fit(X, y)

# %%
# Accuracy against bits
# ---------------------
#
# Bits are those that the quantizer needs to store the standardized data: scales,
# and rows that are padded to whole bytes, are counted.

COLOURS = {
    "absmean": "#E69F00",
    "twn": "#009E73",
    "mse": "#0072B2",
    "absmax": "#D55E00",
    "norm": "#CC79A7",
}
standardized = StandardScaler().fit_transform(X)


def label_of(quantizer):
    """Return what the axis says of a quantizer: its kind, and bits per value."""
    if quantizer == "passthrough":
        return "float64\n64 bits"
    bits = clone(quantizer).fit(standardized).bits_per_value_
    if isinstance(quantizer, TernaryQuantizer):
        return f"{quantizer.n_levels} levels\n{bits:.2f} bits"
    return f"integers\n{bits:.2f} bits"


results = search.cv_results_
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
offsets = dict(zip(COLOURS, np.linspace(-0.2, 0.2, len(COLOURS)), strict=True))
labels = []
named = set()
for parameters, mean, std in zip(
    results["params"],
    results["mean_test_score"],
    results["std_test_score"],
    strict=True,
):
    label = label_of(parameters["quantize"])
    if label not in labels:
        labels.append(label)
    scale = parameters.get("quantize__scale")
    ax.errorbar(
        labels.index(label) + offsets.get(scale, 0),
        mean,
        yerr=std,
        marker="o",
        capsize=3,
        linestyle="none",
        color=COLOURS.get(scale, "black"),
        label=scale if scale not in named else None,
    )
    named.add(scale)
ax.set(
    ylabel="accuracy, mean and standard deviation of 5 folds",
    title="Digits, standardized and rounded: accuracy of a logistic regression",
)
ax.set_xticks(range(len(labels)), labels=labels)
ax.grid(axis="y", color="0.9")
ax.legend(title="scale")
plt.show()

# %%
# From fold to fold the accuracy varies by about as much as from scale to scale:
# what counts here is the number of levels, and it costs one or two percent to do
# with three.
#
# The best of them
# ----------------

best = search.best_params_
print(f"best mean accuracy: {search.best_score_:.3f}")
for name, value in best.items():
    print(f"{name}: {value}")
