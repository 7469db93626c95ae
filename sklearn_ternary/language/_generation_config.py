"""How text is generated: the options and their ranges."""

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real


@dataclass(frozen=True)
class GenerationConfig:
    """How text is generated.

    The next token is drawn after these steps, in this order, each on what the one
    before it has left: `repetition_penalty`, `temperature`, `top_k`, `top_p`,
    `min_p`.

    Attributes
    ----------
    max_new_tokens : int, default=128
        At least 1.
    temperature : float, default=0.0
        From 0 to 5. Logits are divided by it. 0 is greedy: always the token of the
        largest logit, the first of equals; `top_k`, `top_p` and `min_p` change
        nothing then.
    top_k : int, default=0
        Keep so many tokens of the largest logits; 0 keeps all.
    top_p : float, default=1.0
        Above 0, at most 1. Keep the fewest tokens, the likeliest first, whose
        probabilities sum up to it.
    min_p : float, default=0.0
        From 0 to 1. Keep tokens of at least so many times the probability of the
        likeliest.
    repetition_penalty : float, default=1.0
        From 0.1 to 10. Positive logits of tokens that occur in the prompt or the
        answer are divided by it, and negative ones multiplied [1]_: above 1, both
        become less likely.
    stop : str or tuple of str, default=()
        Texts that end the answer; they are not part of it.
    random_state : int, default=None
        Seed. Every prompt of a batch starts from it, so that a result does not
        depend on the others; None is different at each call.
    ignore_end : bool, default=False
        Whether to go on after tokens that end an answer.

    References
    ----------
    .. [1] N. S. Keskar et al., "CTRL: A Conditional Transformer Language Model for
       Controllable Generation", arXiv:1909.05858, 2019.

    Examples
    --------
    >>> from sklearn_ternary.language import GenerationConfig
    >>> GenerationConfig(temperature=0.7, top_p=0.9, random_state=0).greedy
    False
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple = ()
    random_state: int | None = None
    ignore_end: bool = False

    def __post_init__(self):
        _check_integer("max_new_tokens", self.max_new_tokens, 1)
        _check_integer("top_k", self.top_k, 0)
        if self.random_state is not None:
            _check_integer("random_state", self.random_state, 0)
        _check_real("temperature", self.temperature, 0, 5)
        _check_real("top_p", self.top_p, 0, 1, open_below=True)
        _check_real("min_p", self.min_p, 0, 1)
        _check_real("repetition_penalty", self.repetition_penalty, 0.1, 10)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if not all(isinstance(text, str) and text for text in stop):
            raise ValueError(f"stop={self.stop!r} must be texts that are not empty")
        object.__setattr__(self, "stop", stop)

    @property
    def greedy(self):
        """Whether the largest logit is taken without chance."""
        return self.temperature == 0

    def changed(self, **options):
        """Return a configuration with other values.

        Parameters
        ----------
        **options
            Attributes of this class.

        Returns
        -------
        config : GenerationConfig

        Raises
        ------
        ValueError
            If there is no such attribute, or a value is out of its range.
        """
        names = [field.name for field in fields(self)]
        unknown = sorted(set(options) - set(names))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no option; there are {names}")
        return GenerationConfig(**{n: getattr(self, n) for n in names} | options)


def config_of(config, options, n_vocab):
    """Return a configuration with options instead of its own, checked.

    Parameters
    ----------
    config : GenerationConfig or None
        None is the default.
    options : dict
        Values of None change nothing.
    n_vocab : int

    Raises
    ------
    ValueError
        If it is none, or an option is out of range or unknown.
    """
    config = GenerationConfig() if config is None else config
    if not isinstance(config, GenerationConfig):
        raise ValueError(
            f"config is a {type(config).__name__}; a GenerationConfig is required"
        )
    options = {name: value for name, value in options.items() if value is not None}
    config = config.changed(**options) if options else config
    if config.top_k > n_vocab:
        raise ValueError(f"top_k={config.top_k} is above the {n_vocab} tokens")
    return config


def _check_integer(name, value, least):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r} must be an integer of at least {least}")


def _check_real(name, value, least, most, open_below=False):
    fits = isinstance(value, Real) and not isinstance(value, bool)
    fits = fits and not math.isnan(value) and least <= value <= most
    if not fits or (open_below and value == least):
        bracket = "(" if open_below else "["
        raise ValueError(f"{name}={value!r} must be in {bracket}{least}, {most}]")
