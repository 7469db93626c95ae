"""
Quantizing the weights of a fitted model
========================================

A network for scikit-learn's digits is trained with floats, and its weights are
rounded afterwards: to three and five levels with every kind of scale, with one
scale for a matrix and with scales for blocks, and to 4 and 8 bits. Shown are the
error, the bits that are stored, and what is left of the accuracy.

Rounding after training is the simplest thing to do with three levels and not the
best: the network has had no chance to adapt to them.
"""

# %%
# A network to quantize
# ---------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sklearn_ternary import AffineQuantizer, ternarize
from sklearn_ternary.metrics import quantization_report
from sklearn_ternary.plotting import QuantizationErrorDisplay

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.4, stratify=y, random_state=0
)
network = MLPClassifier((128, 128), max_iter=200, random_state=0, tol=1e-3)
network.fit(X_train, y_train)
print(f"accuracy with float weights: {network.score(X_test, y_test):.3f}")

# %%
# What rounding does to a matrix
# ------------------------------
#
# The middle matrix has 128 × 128 weights. With one scale for all of them,
# ``scale="mse"`` puts the levels where the squared error is least.

W = network.coefs_[1].T.astype(np.float32)
W_ternary = ternarize(W, scale="mse")
print(W_ternary, f"sparsity {W_ternary.sparsity:.2f}")

display = QuantizationErrorDisplay.from_arrays(W, W_ternary.toarray())
display.figure_.suptitle("Middle weights of the network, three levels")

# %%
# Error against bits
# ------------------
#
# The signal-to-noise ratio counts in decibels how much smaller the error is than
# the weights; 6 dB halve it. Along each line the groups that share a scale become
# smaller, from the whole matrix to blocks of 16 values, and the scales take more
# of the bits. The grey line is the rate–distortion bound for independent normal
# values: on such data no code of that many bits, however clever, is above it.

COLOURS = {
    "absmean": "#E69F00",
    "twn": "#009E73",
    "mse": "#0072B2",
    "absmax": "#D55E00",
    "norm": "#CC79A7",
}
BLOCKS = (None, 128, 32, 16)


def snr(approximation):
    """Signal-to-noise ratio of the middle weights in dB."""
    return quantization_report(W, approximation).snr_db


figure, axes = plt.subplots(
    1, 2, figsize=(10, 4.6), sharex=True, sharey=True, layout="constrained"
)
bits = np.linspace(1.4, 5.2, 50)
for ax, n_levels in zip(axes, (3, 5), strict=True):
    for scale, colour in COLOURS.items():
        if scale == "twn" and n_levels == 5:
            continue  # defined for three levels
        arrays = [
            ternarize(W, scale=scale, n_levels=n_levels, block_size=block)
            for block in BLOCKS
        ]
        ax.plot(
            [A.bits_per_value for A in arrays],
            [snr(A.toarray()) for A in arrays],
            color=colour,
            label=scale,
            # Lines that lie on each other stay visible.
            marker={"mse": "o", "twn": "x", "norm": "D"}.get(scale, "."),
            markersize={"mse": 10, "norm": 5}.get(scale, 8),
            linestyle="-" if scale == "mse" else "--",
            zorder=3 if scale == "twn" else 2,
        )
    quantizer = AffineQuantizer(4, granularity="tensor", calibration="mse")
    ax.plot(4, snr(quantizer.fit_transform(W)), "k*", ms=11, label="4-bit integers")
    ax.plot(bits, 20 * np.log10(2) * bits, color="0.6", label="bound, normal values")
    ax.set(
        xlabel="stored bits per value, scales included",
        title=f"{n_levels} levels",
        xlim=(1.4, 5.2),
        ylim=(0, 26),
    )
    ax.grid(color="0.9")
axes[0].set_ylabel("signal-to-noise ratio (dB)")
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside right center")
figure.suptitle("Middle weights: one scale, and scales for blocks of 128, 32, 16")

# %%
# Smaller blocks buy little here: weights of one layer are much alike. Two bits
# spent on more levels gain more than two bits spent on more scales.

# %%
# What is left of the accuracy
# ----------------------------
#
# All matrices of the network are replaced by their rounded forms, with one scale
# for each output unit. Biases stay floats.


def accuracy(round_matrix):
    """Accuracy on the test set with every weight matrix rounded."""
    floats = network.coefs_
    network.coefs_ = [round_matrix(coef.T).T for coef in floats]
    score = network.score(X_test, y_test)
    network.coefs_ = floats
    return score


def by_integers(n_bits):
    """Round each row to integers of `n_bits`."""
    return lambda M: AffineQuantizer(n_bits).fit_transform(M.T).T


rows = [("float32", 32.0, accuracy(lambda M: M))]
for n_bits in (8, 4):
    rows.append((f"{n_bits}-bit integers", n_bits, accuracy(by_integers(n_bits))))
for n_levels in (5, 3):
    for scale in ("mse", "absmean"):

        def by_levels(M, scale=scale, n_levels=n_levels):
            """Round each row to few levels."""
            return ternarize(M, scale=scale, axis=1, n_levels=n_levels).toarray()

        bits = 7 / 3 if n_levels == 5 else 1.6
        rows.append((f"{n_levels} levels, {scale}", bits, accuracy(by_levels)))

figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
names = [f"{name} ({bits:.3g} bits)" for name, bits, _ in rows]
bars = ax.barh(names, [score for *_, score in rows], color="#0072B2")
ax.bar_label(bars, fmt="%.3f", padding=3)
ax.invert_yaxis()
ax.set(
    xlim=(0, 1.1),
    xlabel="accuracy on the test set",
    title="Rounded after training, one scale per unit (bits without scales)",
)
plt.show()
