"""Labels of least cost with no cluster too small or too large."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import to_host
from sklearn_ternary.cluster._device_rows import DeviceRows

# Prices are first found for about so many rows of each cluster.
_SAMPLED = 100
# Most times that prices change, and that a change is halved.
_MAX_STEPS = 60
_MAX_HALVINGS = 8
# Rows at the borders of each cluster that tell how its size follows its price.
_AT_BORDERS = 30
# Added to the slopes, relative to their mean.
_DAMPING = 1e-6
# Prices change by at most this multiple of how far such rows are from a border.
_FARTHEST = 8
# Rows whose costs are found at a time.
_FOUND = 65536
# A path must be shorter than another by this part of the largest cost to count.
_ROUNDING = 1e-13


def size_limits(n_clusters, n_rows, min_cluster_size, max_cluster_size):
    """Smallest and largest number of rows of a cluster, or None without limits.

    Raises
    ------
    ValueError
        If `n_rows` cannot be parted so.
    """
    if min_cluster_size is None and max_cluster_size is None:
        return None
    smallest = 0 if min_cluster_size is None else min_cluster_size
    largest = n_rows if max_cluster_size is None else max_cluster_size
    if smallest > largest:
        raise ValueError(
            f"min_cluster_size={min_cluster_size} exceeds "
            f"max_cluster_size={max_cluster_size}"
        )
    if smallest * n_clusters > n_rows:
        raise ValueError(
            f"min_cluster_size={min_cluster_size} needs {smallest * n_clusters} rows "
            f"in n_clusters={n_clusters} clusters, and {n_rows} have weight"
        )
    if largest * n_clusters < n_rows:
        raise ValueError(
            f"max_cluster_size={max_cluster_size} leaves room for "
            f"{largest * n_clusters} rows in n_clusters={n_clusters} clusters, and "
            f"{n_rows} have weight"
        )
    return smallest, largest


class BalancedLabels:
    """Finds the labels of rows for centres, within limits of the sizes.

    Parameters
    ----------
    rows : DenseRows, SparseRows, BlockedRows or DeviceRows
        Of the latter, distances are found on the device, and prices of the host.
    weight : ndarray of shape (n,) or None
        Rows of weight 0 do not count and get the nearest centre.
    smallest, largest : int
        Rows of each cluster.
    """

    def __init__(self, rows, weight, smallest, largest):
        self.rows = rows
        self.weight = weight
        self.smallest = smallest
        self.largest = largest
        self.prices = None
        self.labels = None

    def begin(self, centers):
        """Find the labels; prices are kept for the next centres, which are similar."""
        labels = to_host(self.rows.nearest(centers))
        counted = slice(None)
        if self.weight is not None:
            counted = np.flatnonzero(self.weight > 0)
        self.labels = labels
        sizes = np.bincount(labels[counted], minlength=len(centers))
        if self.smallest <= sizes.min() and sizes.max() <= self.largest:
            return
        costs = self._costs(centers)
        if self.weight is not None:
            costs = costs.take(counted, axis=1) * self.weight[counted]
        limits, config = (self.smallest, self.largest), self.rows.config
        if isinstance(self.rows, DeviceRows):
            config = replace(config, backend="auto")
        if self.prices is None:
            self.prices = _prices_of_some(costs, *limits, config)
        labels[counted], self.prices = assign(
            costs, *limits, self.prices, config=config
        )

    def _costs(self, centers):
        """Squared distances, of the scale that rows are compared in, of the host."""
        if isinstance(self.rows, DeviceRows):
            return np.ascontiguousarray(self.rows.squared_distances(centers).T)
        costs = np.empty((len(centers), self.rows.shape[0]), dtype=self.rows.dtype)
        for part, block in self.rows.blocks():
            for start in range(0, part.stop - part.start, _FOUND):
                here = slice(
                    part.start + start, min(part.stop, part.start + start + _FOUND)
                )
                rows = block.part(slice(start, start + _FOUND))
                costs[:, here] = rows.squared_distances(centers).T
        return costs

    def of(self, part, block):
        """Labels of the rows in a slice."""
        return self.labels[part]


def assign(costs, smallest, largest, prices, *, config=None):
    """Labels of least total cost with `smallest` to `largest` rows for each.

    With a price p_j for each cluster, rows that go where cost and price together are
    least are assigned at the least cost that their numbers allow. Prices follow
    Newton's method for the dual of the transportation problem until the numbers are
    nearly right [1]_. Then rows are moved along shortest paths between the clusters,
    which keeps the cost the least one, until all numbers are right [2]_.

    Parameters
    ----------
    costs : C-contiguous ndarray of shape (k, n)
    smallest, largest : int
        ``k * smallest <= n <= k * largest``.
    prices : ndarray of shape (k,)
        To start from.
    config : Config, default=None

    Returns
    -------
    labels : ndarray of shape (n,), int32
        The total cost is the least one up to rounding.
    prices : ndarray of shape (k,)

    References
    ----------
    .. [1] J. Kitagawa, Q. Mérigot and B. Thibert, "Convergence of a Newton algorithm
       for semi-discrete optimal transport", JEMS 21, 2019.
    .. [2] R. Ahuja, T. Magnanti and J. Orlin, "Network Flows", 1993, section 9.7.
    """
    choice = _moved_prices(costs, smallest, largest, prices, config)
    _Paths(costs, choice.first, smallest, largest, choice.prices).make_right()
    return choice.first, choice.prices


def _prices_of_some(costs, smallest, largest, config):
    """Prices of a sample of the rows, which are near those of all."""
    k, n = costs.shape
    step = n // (_SAMPLED * k)
    prices = np.zeros(k)
    if step < 2:
        return prices
    limits = int(smallest / step), -int(-largest // step)
    some = np.ascontiguousarray(costs[:, ::step])
    return _moved_prices(some, *limits, prices, config).prices


def _moved_prices(costs, smallest, largest, prices, config):
    """The `_Choice` of prices with which nearly all numbers of rows are right."""
    k = len(costs)
    if k == 1:
        prices = np.zeros(1)
    choice = best = _Choice(costs, smallest, largest, prices, config)
    for _ in range(_MAX_STEPS):
        if choice.n_misplaced < best.n_misplaced:
            best = choice
        # Paths for so few rows take no longer than another step.
        if best.n_misplaced <= 2 * k:
            break
        step, further = _newton_step(choice), None
        for _ in range(_MAX_HALVINGS if step is not None else 0):
            trial = _Choice(costs, smallest, largest, choice.limited(step), config)
            if trial.value > choice.value:
                further = trial
                break
            step = step / 2
        if further is None:
            moved = choice.one_price_moved()
            further = _Choice(costs, smallest, largest, moved, config)
            if not further.value > choice.value:
                break
        choice = further
    return best


class _Choice:
    """Where rows go at given prices, and how good these are.

    Attributes
    ----------
    first, second : ndarray of shape (n,), int32
        The clusters where cost and price together are least, and second least.
    least, elsewhere : ndarray of shape (n,)
        Cost and price there.
    excess : ndarray of shape (k,)
        Rows of each cluster that are too many, or with a minus sign too few, by what
        its price asks for: a price above 0 the largest number, one below the smallest.
    value : float
        Of the dual, which the right prices make as large as can be.
    """

    def __init__(self, costs, smallest, largest, prices, config):
        self.costs, self.prices = costs, prices
        self.smallest, self.largest = smallest, largest
        self.first, self.second, self.least, self.elsewhere = _dispatch.cheapest(
            costs, prices, config=config
        )
        sizes = np.bincount(self.first, minlength=len(costs))
        aim = np.clip(sizes, smallest, largest)
        aim = np.where(prices > 0, largest, np.where(prices < 0, smallest, aim))
        self.excess = sizes - aim
        self.n_misplaced = int(np.abs(self.excess).sum())
        paid = np.where(prices > 0, largest * prices, smallest * prices).sum()
        self.value = float(self.least.sum() - paid)

    def limited(self, step):
        """Prices after a step, which stop at 0 where sizes may vary."""
        moved = self.prices + step
        if self.smallest < self.largest:
            side = np.where(self.prices == 0, self.excess, self.prices)
            moved[moved * side < 0] = 0
            moved = _shifted(moved, len(self.first), self.smallest, self.largest)
        return moved

    def one_price_moved(self):
        """Prices with that of the cluster with most misplaced rows made right."""
        j = int(np.abs(self.excess).argmax())
        # What a row pays elsewhere, less its cost here: it comes for any price below
        # that.
        other = np.where(self.first == j, self.elsewhere, self.least)
        prices = self.prices.copy()
        prices[j] = _price(other - self.costs[j], self.smallest, self.largest)
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
    share = max(2 * choice.n_misplaced / n, _AT_BORDERS * k / n)
    near = int(min(share, 0.5) * n)
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


class _Paths:
    """Clusters as the nodes of a graph, with moves of rows as edges.

    The edge from a to b is the row of a that costs least to move to b. One more node,
    the last, stands for what clusters may take or give within their limits: every
    cluster passes `given` rows on to it, between `smallest` and `largest`, and all of
    them together n.
    """

    def __init__(self, costs, labels, smallest, largest, prices):
        self.costs = costs
        self.labels = labels
        self.smallest = smallest
        self.largest = largest
        k = len(costs)
        self.sizes = np.bincount(labels, minlength=k)
        # Rows of each cluster, in order.
        together = np.argsort(labels, kind="stable")
        self.members = np.split(together, np.cumsum(self.sizes)[:-1])
        given = np.clip(self.sizes, smallest, largest)
        given[prices > 0] = largest
        given[prices < 0] = smallest
        self.given = given
        self.lengths = np.full((k + 1, k + 1), np.inf)
        self.row = np.zeros((k, k), dtype=np.intp)
        self.tolerance = _ROUNDING * float(np.abs(costs).max(initial=0))

    def make_right(self):
        """Move rows until each cluster has as many as it passes on."""
        k, n = self.costs.shape
        surplus = np.append(self.sizes - self.given, self.given.sum() - n)
        if not surplus.any():
            return
        for a in range(k):
            self._find_edges(a, np.arange(k))
        while (surplus > 0).any():
            self.lengths[:k, k] = np.where(self.given < self.largest, 0, np.inf)
            self.lengths[k, :k] = np.where(self.given > self.smallest, 0, np.inf)
            self._follow(self._shortest_path(surplus), surplus)

    def _follow(self, path, surplus):
        """Move rows along a path, as many as do so at the same cost."""
        k = len(self.sizes)
        most = min(surplus[path[0]], -surplus[path[-1]])
        # Of rows that move, all are found before the first does.
        moves = []
        for a, b in pairwise(path):
            if b == k:
                most = min(most, self.largest - self.given[a])
            elif a == k:
                most = min(most, self.given[b] - self.smallest)
            else:
                moves.append((a, b, self._cheapest(a, b)))
                most = min(most, len(moves[-1][2]))
        surplus[path[0]] -= most
        surplus[path[-1]] += most
        for a, b in pairwise(path):
            if b == k:
                self.given[a] += most
            elif a == k:
                self.given[b] -= most
        for a, b, rows in moves:
            rows = rows[:most]
            self.labels[rows] = b
            at = np.searchsorted(self.members[a], rows)
            self.members[a] = np.delete(self.members[a], at)
            at = np.searchsorted(self.members[b], rows)
            self.members[b] = np.insert(self.members[b], at, rows)
        for a, b, rows in moves:
            self._leave(a, rows[:most])
            self._join(b, rows[:most])

    def _cheapest(self, a, b):
        """All rows of a that cost least to move to b."""
        members = self.members[a]
        more = self.costs[b, members].astype(np.float64) - self.costs[a, members]
        return members[more <= self.lengths[a, b]]

    def _find_edges(self, a, others):
        """The edges from a to others, from the rows of a."""
        members = self.members[a]
        others = others[others != a]
        if not len(members) or not len(others):
            self.lengths[a, others] = np.inf
            return
        more = np.stack([self.costs[b].take(members) for b in others], dtype=np.float64)
        more -= self.costs[a].take(members)
        at = more.argmin(axis=1)
        self.lengths[a, others] = more[np.arange(len(others)), at]
        self.row[a, others] = members[at]

    def _leave(self, a, rows):
        """Rows are not in a any more."""
        k = len(self.sizes)
        of_rows = np.isin(self.row[a], rows) & np.isfinite(self.lengths[a, :k])
        self._find_edges(a, np.flatnonzero(of_rows))

    def _join(self, b, rows):
        """Rows are in b now."""
        k = len(self.sizes)
        more = self.costs[:, rows].astype(np.float64)
        more -= more[b]
        at = more.argmin(axis=1)
        least = more[np.arange(k), at]
        less = least < self.lengths[b, :k]
        less[b] = False
        self.lengths[b, :k][less] = least[less]
        self.row[b, less] = rows[at[less]]

    def _shortest_path(self, surplus):
        """Nodes from one with a surplus to one that lacks, at the least cost."""
        distance = np.where(surplus > 0, 0, np.inf)
        before = np.full(len(surplus), -1)
        for _ in range(len(surplus)):
            through = distance[:, None] + self.lengths
            by = through.argmin(axis=0)
            shorter = through[by, np.arange(len(by))]
            better = shorter < distance - self.tolerance
            if not better.any():
                break
            distance[better] = shorter[better]
            before[better] = by[better]
        end = np.where(surplus < 0, distance, np.inf).argmin()
        path = [int(end)]
        while before[path[-1]] >= 0:
            path.append(int(before[path[-1]]))
        return path[::-1]
