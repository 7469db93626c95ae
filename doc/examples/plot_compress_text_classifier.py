"""
Compress a text classifier
==========================

A linear model of hashed text has a weight for each of its many features and for
each class, most of which say little. Packed to three levels it takes a fortieth of
the memory. What does that do to its accuracy, and to the time of a prediction?
"""

# %%
# The texts
# ---------
#
# No corpus comes with scikit-learn, but documentation does: the docstrings of NumPy,
# SciPy and scikit-learn, cut into paragraphs. The task is to tell from a paragraph
# which module it documents. Paragraphs that occur twice are taken once, and whole
# docstrings are kept for the test.

import copy
import importlib
import inspect
import pickle
import re
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

from sklearn_ternary import compress

PARTS = {
    "numpy": "fft linalg ma polynomial random",
    "scipy": "cluster fft integrate interpolate io linalg ndimage optimize signal "
    "sparse spatial special stats",
    "sklearn": "cluster datasets decomposition ensemble linear_model metrics "
    "model_selection preprocessing",
}
MODULES = [f"{a}.{b}" for a, parts in PARTS.items() for b in parts.split()]


def docstrings(module):
    """Return the docstrings of a module's public names and of their methods."""
    found = set()
    for name, thing in vars(importlib.import_module(module)).items():
        if name.startswith("_"):
            continue
        found.add(inspect.getdoc(thing))
        if inspect.isclass(thing):
            methods = (k for k in vars(thing) if not k.startswith("_"))
            found |= {inspect.getdoc(getattr(thing, k, None)) for k in methods}
    return sorted(found - {None})


texts, labels, owners, seen = [], [], [], set()
for module in MODULES:
    for i, text in enumerate(docstrings(module)):
        for paragraph in re.split(r"\n\s*\n", text):
            words = " ".join(paragraph.split())
            if len(words) >= 60 and words not in seen:
                seen.add(words)
                texts.append(words)
                labels.append(module)
                owners.append(f"{module} {i}")
labels = np.array(labels)
every_owner = np.unique(owners)
held_out = np.random.default_rng(0).choice(
    every_owner, len(every_owner) // 4, replace=False
)
test = np.isin(owners, held_out)

vectorizer = HashingVectorizer(n_features=2**18, ngram_range=(1, 2))
X = vectorizer.transform(texts)
X_train, X_test, y_train, y_test = X[~test], X[test], labels[~test], labels[test]
print(f"{len(texts):,} paragraphs, {X.shape[1]:,} features, {len(MODULES)} classes")

# %%
# The models
# ----------
#
# ``compress`` without calibration rounds the weights. With calibration it chooses
# codes, scales and biases so that the decision values stay close; that takes samples,
# but no labels.

model = SGDClassifier(alpha=1e-5, random_state=0).fit(X_train, y_train)
rounded = compress(model)
calibrated = compress(model, X_train)
print(calibrated.compression_report_)

# %%
# For one sparse sample scikit-learn's product first copies all the weights, unless
# they lie in memory feature by feature. That is a matter of one line, and the fair
# float model to compare with, so it takes part too.

by_feature = copy.copy(model)
by_feature.coef_ = np.asfortranarray(model.coef_)

models = {
    "float": model,
    "float,\nby feature": by_feature,
    "packed,\nrounded": rounded,
    "packed,\ncalibrated": calibrated,
}


samples = [X_test[i : i + 1] for i in range(50)]


def median_seconds(model):
    """Return the median time of predicting a single paragraph."""
    times = []
    for sample in samples:
        start = time.perf_counter()
        model.predict(sample)
        times.append(time.perf_counter() - start)
    return np.median(times)


accuracy = [m.score(X_test, y_test) for m in models.values()]
megabytes = [len(pickle.dumps(m)) / 1e6 for m in models.values()]
milliseconds = [1e3 * median_seconds(m) for m in models.values()]
for name, *row in zip(models, accuracy, megabytes, milliseconds, strict=True):
    name = name.replace("\n", " ")
    print("{:20} accuracy {:.3f}, {:6.2f} MB, {:6.2f} ms".format(name, *row))

# %%
# Size, accuracy, time
# --------------------

colours = ["#777777", "#777777", "#E69F00", "#0072B2"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
panels = [
    (accuracy, "accuracy on paragraphs not trained on", "{:.3f}"),
    (megabytes, "size of the pickled model [MB]", "{:.2f}"),
    (milliseconds, "time to classify one paragraph [ms]", "{:.2f}"),
]
for ax, (values, title, form) in zip(axes, panels, strict=True):
    bars = ax.bar(list(models), values, color=colours)
    ax.bar_label(bars, [form.format(v) for v in values], padding=2)
    ax.set_title(title, fontsize="medium")
    ax.tick_params(axis="x", labelsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(y=0.12)
plt.show()

# %%
# Size is gained at the price of some accuracy: with three levels small weights become
# 0, and large ones all equal. Calibration recovers more than half of what rounding
# loses. The packed models take less time than the float model by feature, too: that
# one's time is nearly all scikit-learn's check of the sample, in place of which they
# look whether the decision values are finite.
#
# Where it is lost
# ----------------
#
# Decision values of the compressed model against those of the original, on the test
# paragraphs, for the right class of each. Scatter around the diagonal is what the
# rounding adds; it changes a prediction where two classes are close.

rows = np.arange(len(y_test))
right = np.searchsorted(model.classes_, y_test)
wanted = model.decision_function(X_test)[rows, right]

figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for ax, (name, packed) in zip(
    axes, [("rounded", rounded), ("calibrated", calibrated)], strict=True
):
    found = packed.decision_function(X_test)[rows, right]
    limits = np.quantile(wanted, [0.001, 0.999])
    ax.hexbin(wanted, found, gridsize=50, bins="log", extent=(*limits, *limits))
    ax.plot(limits, limits, color="black", linewidth=1)
    error = np.mean((found - wanted) ** 2) / np.var(wanted)
    ax.set(
        xlim=limits,
        ylim=limits,
        xlabel="decision value of the original",
        title=f"{name}: error of {error:.0%} of the variance",
    )
axes[0].set_ylabel("decision value of the packed model")
plt.show()
