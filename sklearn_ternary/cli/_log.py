"""What was chosen, told on stderr where ``SKLEARN_TERNARY_LOG`` asks for it."""

import os

VARIABLE = "SKLEARN_TERNARY_LOG"
_LEVELS = ("debug", "info", "warning", "error")


def start_log():
    """Tell what the package logs, from the level that the environment names.

    Raises
    ------
    ValueError
        If it names none.
    """
    level = os.environ.get(VARIABLE, "").strip().lower()
    if not level:
        return
    if level not in _LEVELS:
        raise ValueError(f"{VARIABLE}={level!r} must be one of {', '.join(_LEVELS)}")
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("sklearn_ternary")
    log.handlers[:] = [handler]
    log.setLevel(level.upper())
    if log.isEnabledFor(logging.DEBUG):
        log.debug(_machine())


def _machine():
    from sklearn_ternary._config import current_config
    from sklearn_ternary.cli._bench_turns import available_isas

    config, isas = current_config(), available_isas()
    chosen = config.isa or (isas[0] if isas else "numpy")
    threads = config.n_threads or "automatic"
    return (
        f"SIMD level {chosen} of {', '.join(isas) or 'none'}; threads {threads}; "
        f"backend {config.backend}"
    )
