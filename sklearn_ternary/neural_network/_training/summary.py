"""Figures and text about a finished run."""

import numpy as np

from sklearn_ternary.neural_network._training.history import wilson_interval
from sklearn_ternary.quantization import TernaryArray


def summarize(run, packed, n_iter, interrupted):
    """Figures of a run.

    Parameters
    ----------
    run : Run
    packed : PackedNetwork
    n_iter : int
    interrupted : bool

    Returns
    -------
    summary : dict
        See `ConstrainedTrainer.training_summary_`.
    """
    columns = run.history.columns()
    n_steps = run.n_steps_done
    losses = columns["loss"]
    controller = run.controller
    ternary = [W for W in packed.weights if isinstance(W, TernaryArray)]
    return {
        "n_iter": n_iter,
        "n_steps": n_steps,
        "n_samples_seen": run.history.n_samples,
        "seconds": float(columns["seconds"][-1]) if n_steps else 0.0,
        "final_loss": float(np.mean(losses[-10:])) if n_steps else float("nan"),
        "final_learning_rate": float(columns["learning_rate"][-1]) if n_steps else 0.0,
        "accept_rate": wilson_interval(run.n_successes, run.n_tested),
        "descent_rate": wilson_interval(run.signals.n_descents, max(n_steps - 1, 0)),
        "meta_hit_rate": wilson_interval(controller.n_hits, controller.n_judged),
        "flip_rate": float(run.flips.rate),
        "n_frozen": run.flips.n_frozen,
        "n_rollbacks": run.guard.n_rollbacks,
        "interrupted": interrupted,
        "n_parameters": len(run.network.parameters),
        "n_ternary": int(sum(W.size for W in ternary)),
        "optimizer_bytes": run.optimizer.n_bytes + run.gradients.n_kept_bytes,
        "gradient_bytes": run.gradients.n_bytes,
        "float_bytes": run.network.parameters.nbytes,
        "packed_bytes": packed.nbytes,
    }


def summary_text(summary):
    """The figures as lines of text."""
    s = summary
    ratio = s["float_bytes"] / max(s["packed_bytes"], 1)
    rates = [
        f"{label:<15}{_rate(s[name])}"
        for label, name in (
            ("accepted", "accept_rate"),
            ("loss fell", "descent_rate"),
            ("meta hits", "meta_hit_rate"),
        )
    ]
    return "\n".join(
        [
            f"{s['n_steps']} steps in {s['n_iter']} epochs, {s['seconds']:.1f} s"
            f"{', interrupted' if s['interrupted'] else ''}",
            f"final loss     {s['final_loss']:.4g}",
            *rates,
            f"flips          {s['flip_rate']:.2e} of the codes per step, "
            f"{s['n_frozen']} weights frozen",
            f"rollbacks      {s['n_rollbacks']}",
            f"parameters     {s['n_parameters']}, {s['n_ternary']} of them ternary",
            f"memory         {s['packed_bytes']} bytes packed, {s['float_bytes']} as "
            f"float32 ({ratio:.1f} times), optimizer {s['optimizer_bytes']}",
        ]
    )


def _rate(rate):
    share, low, high = rate
    if share != share:
        return "not measured"
    return (
        f"{100 * share:.1f} % of the steps (95 %: {100 * low:.1f} to {100 * high:.1f})"
    )
