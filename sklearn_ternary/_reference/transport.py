"""Steps of the transportation problem: n rows go to k clusters of limited sizes.

Costs are (k, n), C-contiguous, float32 or float64; labels are int32.
"""

from itertools import pairwise

import numpy as np

_PANEL = 2**20  # values of a temporary array


def cheapest(costs, prices):
    """Where each of n rows goes, of costs (k, n), at prices in float64.

    Returns
    -------
    first, second : ndarray of shape (n,), int32
        Clusters where cost and price together are least, and second least; of equal
        ones the first. With one cluster both are it.
    least, elsewhere : ndarray of shape (n,), float64
        Cost and price there; infinite where there is no other cluster.
    """
    n = costs.shape[1]
    first, second = np.zeros((2, n), dtype=np.int32)
    least, elsewhere = np.empty(n), np.full(n, np.inf)
    size = max(1, _PANEL // len(costs))
    for start in range(0, n, size):
        part = slice(start, start + size)
        total = costs[:, part] + prices[:, None]
        rows = np.arange(total.shape[1])
        first[part] = at = total.argmin(axis=0)
        least[part] = total[at, rows]
        if len(costs) > 1:
            total[at, rows] = np.inf
            second[part] = at = total.argmin(axis=0)
            elsewhere[part] = total[at, rows]
    return first, second, least, elsewhere


def follow_paths(costs, labels, given, surplus, smallest, largest, tolerance):
    """Move rows along shortest paths between the clusters until none has a surplus.

    Clusters are the nodes of a graph. The edge from a to b is as long as what the
    row of a that costs least to move to b costs more there. One more node, the
    last, stands for what clusters may take or give within their limits: every
    cluster passes `given` rows on to it, between `smallest` and `largest`, and all
    of them together n. Labels of least cost for the sizes that they have remain
    so [1]_.

    Parameters
    ----------
    costs : ndarray of shape (k, n)
    labels : ndarray of shape (n,), int32
        Changed in place, as the two arrays that follow.
    given : ndarray of shape (k,), int64
        Rows that each cluster is to have; changes where limits leave room.
    surplus : ndarray of shape (k + 1,), int64
        Rows that a cluster has too many, or with a minus sign too few, and behind
        them the same for the last node. They add up to 0.
    smallest, largest : int
        Limits of what is given.
    tolerance : float
        A path must be shorter than another by more than this to count.

    Returns
    -------
    lengths : ndarray of shape (k + 1, k + 1), float64
        Of the edges in the end; infinite where there are none.

    References
    ----------
    .. [1] R. Ahuja, T. Magnanti and J. Orlin, "Network Flows", 1993, section 9.7.
    """
    k = len(given)
    lengths = np.full((k + 1, k + 1), np.inf)
    _find_edges(costs, labels, lengths, range(k))
    while (surplus > 0).any():
        _set_room(lengths, given, smallest, largest)
        path = _shortest_path(lengths, surplus, tolerance)
        edges = list(pairwise(path))
        moves = {
            (a, b): _cheapest_of(costs, labels, lengths, a, b)
            for a, b in edges
            if a < k and b < k
        }
        most = min(surplus[path[0]], -surplus[path[-1]])
        for a, b in edges:
            if b == k:
                most = min(most, largest - given[a])
            elif a == k:
                most = min(most, given[b] - smallest)
            else:
                most = min(most, len(moves[a, b]))
        surplus[path[0]] -= most
        surplus[path[-1]] += most
        for a, b in edges:
            if b == k:
                given[a] += most
            elif a == k:
                given[b] -= most
            else:
                labels[moves[a, b][:most]] = b
        _find_edges(costs, labels, lengths, {a for edge in moves for a in edge})
    _set_room(lengths, given, smallest, largest)
    return lengths


def _find_edges(costs, labels, lengths, sources):
    """The lengths of the edges from some clusters to the others."""
    for a in sources:
        here = costs[:, labels == a].astype(np.float64)
        lengths[a, :-1] = (here - here[a]).min(axis=1, initial=np.inf)
        lengths[a, a] = np.inf


def _set_room(lengths, given, smallest, largest):
    """The lengths of the edges to and from the last node."""
    lengths[:-1, -1] = np.where(given < largest, 0, np.inf)
    lengths[-1, :-1] = np.where(given > smallest, 0, np.inf)


def _cheapest_of(costs, labels, lengths, a, b):
    """All rows of a that cost least to move to b."""
    members = np.flatnonzero(labels == a)
    more = costs[b, members].astype(np.float64) - costs[a, members]
    return members[more <= lengths[a, b]]


def _shortest_path(lengths, surplus, tolerance):
    """Nodes from one with a surplus to one that lacks, at the least cost."""
    distance = np.where(surplus > 0, 0, np.inf)
    before = np.full(len(surplus), -1)
    for _ in range(len(surplus)):
        through = distance[:, None] + lengths
        by = through.argmin(axis=0)
        shorter = through[by, np.arange(len(by))]
        better = shorter < distance - tolerance
        if not better.any():
            break
        distance[better] = shorter[better]
        before[better] = by[better]
    path = [int(np.where(surplus < 0, distance, np.inf).argmin())]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path[::-1]
