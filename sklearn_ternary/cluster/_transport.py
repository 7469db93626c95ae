"""The transportation problem: rows go to clusters of limited sizes."""

from typing import NamedTuple

import numpy as np

from sklearn_ternary import _dispatch

# Prices are first found for about so many rows of each cluster.
_SAMPLED = 100, 400
# Most times that prices change, and that a change is halved.
_MAX_STEPS = 60
_MAX_HALVINGS = 8
# After so many changes in a row that do not lower the number of misplaced rows to such
# a part, paths for so many rows of each cluster take less time than further changes.
_PATIENCE = 3
_GAIN = 0.8
_FEW = 32
# Rows at the borders of each cluster that tell how its size follows its price.
_AT_BORDERS = 30
# Added to the slopes, relative to their mean.
_DAMPING = 1e-6
# Prices change by at most this multiple of how far such rows are from a border.
_FARTHEST = 8
# A path must be shorter than another by this part of the largest cost to count.
_ROUNDING = 1e-13
# Rows that lie together in the sample.
_TOGETHER = 16
# Part of the rows that paths are found among, and how much larger it is where that
# does not do.
_OPEN = 1 / 16
_WIDER = 2


def assign(costs, smallest, largest, prices=None, *, config=None):
    """Labels of least total cost with `smallest` to `largest` rows for each.

    With a price p_j for each cluster, rows that go where cost and price together are
    least are assigned at the least cost that their numbers allow. Prices follow
    Newton's method for the dual of the transportation problem until the numbers are
    nearly right [1]_. Then rows are moved along shortest paths between the clusters,
    which keeps the cost the least one, until all numbers are right.

    For the paths only the rows nearest to a border between two clusters are looked
    at, all others are settled where they go. In the end there are prices for the
    labels that were found: if each settled row still goes where it is, these labels
    are the cheapest; if not, paths are found among more rows.

    Parameters
    ----------
    costs : C-contiguous ndarray of shape (k, n)
    smallest, largest : int
        ``k * smallest <= n <= k * largest``.
    prices : ndarray of shape (k,), default=None
        To start from; None is those of a sample of the rows.
    config : Config, default=None

    Returns
    -------
    labels : ndarray of shape (n,), int32
        The total cost is the least one up to rounding.
    prices : ndarray of shape (k,)
        With which each row goes where cost and price together are least, up to
        rounding.

    References
    ----------
    .. [1] J. Kitagawa, Q. Mérigot and B. Thibert, "Convergence of a Newton algorithm
       for semi-discrete optimal transport", JEMS 21, 2019.
    """
    k, n = costs.shape
    limits = _Limits(n, smallest, largest)
    prices = np.zeros(k) if prices is None or k == 1 else prices
    for n_sampled in _SAMPLED:
        prices = _prices_of_some(costs, limits, prices, n_sampled * k, config)
    # Paths for so few rows take no longer than another step.
    choice = _with_better_prices(_Choice(costs, limits, prices, config), 2 * k)
    n_open = max(_OPEN * n, _AT_BORDERS * k, 2 * choice.n_misplaced)
    while True:
        here = _near_borders(choice, n_open)
        found = None if here is None else _with_right_sizes(choice, here)
        if found and _settled_stay(choice, here, found[1]):
            break
        n_open *= _WIDER
    choice.first[here], prices = found
    return choice.first, prices


class _Limits(NamedTuple):
    """What the number of rows of a cluster must be, of so many rows."""

    n_rows: int
    smallest: int
    largest: int


def _near_borders(choice, n_open):
    """Rows near a border, by cluster, or None where they are too few for the limits."""
    k, n = len(choice.prices), len(choice.first)
    _, smallest, largest = choice.limits
    here = np.arange(n)
    if n_open < n // 2:
        gaps = choice.elsewhere - choice.least
        here = np.flatnonzero(gaps < np.partition(gaps, int(n_open))[int(n_open)])
        settled = choice.sizes - np.bincount(choice.first[here], minlength=k)
        needed = np.maximum(smallest - settled, 0).sum()
        if settled.max() > largest or needed > len(here):
            return None
    return here[np.argsort(choice.first[here], kind="stable")]


def _with_right_sizes(choice, here):
    """Labels of some rows with which all sizes are right, and prices for them."""
    n, smallest, largest = choice.limits
    costs, labels = choice.costs.take(here, axis=1), choice.first[here]
    given = choice.sizes - choice.excess
    surplus = np.append(choice.excess, given.sum() - n)
    lengths = _dispatch.follow_paths(
        *(costs, labels, given, surplus, smallest, largest, _rounding(costs)),
        config=choice.config,
    )
    # Prices that no edge leads below: those of shortest paths.
    prices = np.append(choice.prices, 0.0)
    for _ in choice.prices:
        lower = np.minimum(prices, (lengths + prices).min(axis=1))
        if np.array_equal(lower, prices):
            break
        prices = lower
    return labels, prices[:-1] - prices[-1]


def _settled_stay(choice, here, prices):
    """Whether all rows but some go where they went at other prices."""
    change = prices - choice.prices
    # A row is not lured by a price that falls by less than it would pay more there.
    lured = choice.elsewhere - choice.least <= change[choice.first] - change.min()
    lured[here] = False
    lured = np.flatnonzero(lured)
    costs, labels = choice.costs.take(lured, axis=1), choice.first[lured]
    _, _, least, _ = _dispatch.cheapest(costs, prices, config=choice.config)
    paid = costs[labels, np.arange(len(lured))] + prices[labels]
    return bool((paid <= least + _rounding(costs)).all())


def _rounding(costs):
    """What sums of costs and prices may differ by."""
    return _ROUNDING * float(np.abs(costs).max(initial=0))


def _prices_of_some(costs, limits, prices, n_sampled, config):
    """Prices of a sample of the rows, which are near those of all."""
    k, n = costs.shape
    step = n // n_sampled
    if step < 2 or n < _TOGETHER * step:
        return prices
    # Of a line of the cache all rows are as good as one.
    runs = costs[:, : n // (_TOGETHER * step) * _TOGETHER * step]
    some = runs.reshape(k, -1, step * _TOGETHER)[:, :, :_TOGETHER].reshape(k, -1)
    limits = _Limits(
        some.shape[1], int(limits.smallest / step), -int(-limits.largest // step)
    )
    # Another sample would differ by as many rows.
    enough = k * np.sqrt(some.shape[1] / k) / 2
    return _with_better_prices(_Choice(some, limits, prices, config), enough).prices


def _with_better_prices(choice, enough):
    """The `_Choice` of prices with which nearly all numbers of rows are right."""
    k = len(choice.prices)
    best, n_lost = choice, 0
    for _ in range(_MAX_STEPS if k > 1 else 0):
        if best.n_misplaced <= (enough if n_lost < _PATIENCE else _FEW * k):
            break
        step, further = _newton_step(choice), None
        for _ in range(_MAX_HALVINGS if step is not None else 0):
            trial = choice.at(choice.limited(step))
            if trial.value > choice.value:
                further = trial
                break
            step = step / 2
        if further is None:
            further = choice.at(choice.one_price_moved())
            if not further.value > choice.value:
                break
        choice = further
        n_lost = 0 if choice.n_misplaced < _GAIN * best.n_misplaced else n_lost + 1
        if choice.n_misplaced < best.n_misplaced:
            best = choice
    return best


class _Choice:
    """Where rows go at given prices, and how good these are.

    Attributes
    ----------
    first, second : ndarray of shape (n,), int32
        The clusters where cost and price together are least, and second least.
    least, elsewhere : ndarray of shape (n,)
        Cost and price there.
    sizes : ndarray of shape (k,)
        Rows of each cluster.
    excess : ndarray of shape (k,)
        Those that are too many, or with a minus sign too few, by what its price asks
        for: a price above 0 the largest number, one below the smallest.
    value : float
        Of the dual, which the right prices make as large as can be.
    """

    def __init__(self, costs, limits, prices, config):
        self.costs, self.limits, self.prices, self.config = (
            costs,
            limits,
            prices,
            config,
        )
        self.first, self.second, self.least, self.elsewhere = _dispatch.cheapest(
            costs, prices, config=config
        )
        _, smallest, largest = limits
        sizes = np.bincount(self.first, minlength=len(prices))
        aim = np.clip(sizes, smallest, largest)
        aim = np.where(prices > 0, largest, np.where(prices < 0, smallest, aim))
        self.sizes, self.excess = sizes, sizes - aim
        self.n_misplaced = int(np.abs(self.excess).sum())
        paid = np.where(prices > 0, largest * prices, smallest * prices).sum()
        self.value = float(self.least.sum() - paid)

    def at(self, prices):
        """The same at other prices."""
        return _Choice(self.costs, self.limits, prices, self.config)

    def limited(self, step):
        """Prices after a step, which stop at 0 where sizes may vary."""
        moved = self.prices + step
        if self.limits.smallest < self.limits.largest:
            side = np.where(self.prices == 0, self.excess, self.prices)
            moved[moved * side < 0] = 0
            moved = _shifted(moved, *self.limits)
        return moved

    def one_price_moved(self):
        """Prices with that of the cluster with most misplaced rows made right."""
        j = int(np.abs(self.excess).argmax())
        # What a row pays elsewhere, less its cost here: it comes for any price below
        # that.
        other = np.where(self.first == j, self.elsewhere, self.least)
        prices = self.prices.copy()
        prices[j] = _price(other - self.costs[j], *self.limits[1:])
        return prices


def _shifted(prices, n, smallest, largest):
    """Prices raised together so that the numbers they ask for add up to n."""
    k = len(prices)
    # So many above 0 ask for no more than n, and one more for no less.
    n_above = min((n - k * smallest) // (largest - smallest), k - 1)
    return prices - np.partition(prices, k - 1 - n_above)[k - 1 - n_above]


def _newton_step(choice):
    """Change of the prices that makes the excess 0, to first order, or None.

    How many rows pass a border as prices change is told by those near it.
    """
    k, n = len(choice.prices), len(choice.first)
    gaps = choice.elsewhere - choice.least
    near = min(max(2 * choice.n_misplaced, _AT_BORDERS * k), n // 2)
    width = float(np.partition(gaps, near)[near])
    if not 0 < width < np.inf:
        return None
    here = gaps < width
    pairs = choice.first[here].astype(np.intp) * k + choice.second[here]
    rates = np.bincount(pairs, minlength=k * k).reshape(k, k)
    rates = (rates + rates.T) / (2 * width)
    slopes = np.diag(rates.sum(axis=1)) - rates
    # Prices of 0 stay where the size is within the limits.
    moving = np.flatnonzero((choice.excess != 0) | (choice.prices != 0))
    slopes = slopes[np.ix_(moving, moving)]
    slopes[np.diag_indices_from(slopes)] += (
        _DAMPING * (np.trace(slopes) + 1 / width) / k
    )
    excess = choice.excess[moving]
    if len(moving) == k:
        # What all prices together change is no matter of rows at borders.
        excess = excess - excess.mean()
    step = np.zeros(k)
    step[moving] = np.linalg.solve(slopes, excess)
    return np.clip(step, -_FARTHEST * width, _FARTHEST * width)


def _price(worth, smallest, largest):
    """Price nearest to 0 for which from `smallest` to `largest` rows are above it."""
    n = len(worth)
    above = np.count_nonzero(worth > 0)
    if smallest <= above <= largest:
        return 0.0
    size = largest if above > largest else smallest
    if size == 0:
        return np.nextafter(worth.max(), np.inf)
    if size == n:
        return np.nextafter(worth.min(), -np.inf)
    here = np.partition(worth, (n - size - 1, n - size))[n - size - 1 : n - size + 1]
    return here[0] + (here[1] - here[0]) / 2
