"""Base schedules: by what the learning rate is multiplied at each step."""

import math

# Those that know no last step.
OPEN_ENDED = ("constant", "invscaling", "adaptive")
# Share of the steps that "wsd" spends on its decay.
DECAY_FRACTION = 0.2
# What is left at the end of that decay.
_FLOOR = 0.01


def base_schedule(name, step, n_steps, warmup_steps, power_t=0.5):
    """Multiplier of the learning rate and of the radius at a step.

    Parameters
    ----------
    name : {"cosine", "wsd", "invscaling", "constant", "adaptive"}
        - ``"cosine"``: ``(1 + cos(pi t / T)) / 2``.
        - ``"wsd"``: one, and in the last fifth a line down to 0.01 (warm-up, stable,
          decay).
        - ``"invscaling"``: ``(t + 1) ** -power_t``.
        - ``"constant"``: one; so is ``"adaptive"``, as the losses of epochs decide.
    step : int
        t, from 0 on.
    n_steps : int
        T, steps in all.
    warmup_steps : int
        Over this number of steps it rises from near 0, along a line.
    power_t : float, default=0.5
        For ``"invscaling"``.

    Returns
    -------
    multiplier : float
        In (0, 1].
    """
    rise = min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0
    if name == "invscaling":
        return rise * (step + 1) ** -power_t
    t = min(step, n_steps - 1) if n_steps else 0
    if name == "cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * t / n_steps))
    if name == "wsd":
        left = (n_steps - t) / max(1.0, DECAY_FRACTION * n_steps)
        return rise * max(_FLOOR, min(1.0, left))
    return rise
