/* Shortest paths between clusters, for one type of costs T.
 *
 * The rows of each cluster are a list in ascending order: `head` leads to the first
 * and `next` from each to the one behind it. The length of an edge is known by the
 * row that it is of, `row`; where that leaves, it is looked for anew. */

#define PATHS F(stern_paths)
#define HEAD(p) ((p)->nodes)
#define NEXT(p) ((p)->rows)
#define MOVED(p) ((p)->rows + (p)->n)
#define LENGTH(p, a, b) ((p)->lengths[(a) * ((p)->k + 1) + (b)])
#define MORE(p, b, r) ((double)(p)->costs[(b) * (p)->n + (r)] - (p)->paid[r])

/* The edges from a whose row is not there any more, or all. */
static void F(find_edges)(PATHS *p, ptrdiff_t a, int all, int32_t *lost)
{
    const ptrdiff_t k = p->k;
    ptrdiff_t n_lost = 0;
    for (ptrdiff_t b = 0; b < k; b++) {
        const int32_t row = p->row[a * k + b];
        if (b == a || !(all || (row >= 0 && p->labels[row] != a)))
            continue;
        lost[n_lost++] = (int32_t)b;
        LENGTH(p, a, b) = INFINITY;
        p->row[a * k + b] = -1;
    }
    for (ptrdiff_t i = 0; i < n_lost; i++) {
        const ptrdiff_t b = lost[i];
        double least = INFINITY;
        int32_t row = -1;
        for (int32_t r = HEAD(p)[a]; r >= 0; r = NEXT(p)[r]) {
            const double more = MORE(p, b, r);
            row = more < least ? r : row;
            least = more < least ? more : least;
        }
        LENGTH(p, a, b) = least;
        p->row[a * k + b] = row;
    }
}

/* Rows are in b now, in ascending order. */
static void F(join)(PATHS *p, ptrdiff_t b, const int32_t *rows, ptrdiff_t n)
{
    const ptrdiff_t k = p->k;
    int32_t *to = &HEAD(p)[b];
    for (ptrdiff_t i = 0; i < n; i++) {
        const int32_t r = rows[i];
        while (*to >= 0 && *to < r)
            to = &NEXT(p)[*to];
        NEXT(p)[r] = *to;
        *to = r;
        to = &NEXT(p)[r];
        for (ptrdiff_t c = 0; c < k; c++) {
            const double more = MORE(p, c, r);
            if (c != b && more < LENGTH(p, b, c)) {
                LENGTH(p, b, c) = more;
                p->row[b * k + c] = r;
            }
        }
    }
}

/* Whether a node has edges to and from the last one. */
static void F(set_room)(PATHS *p)
{
    for (ptrdiff_t a = 0; a < p->k; a++) {
        LENGTH(p, a, p->k) = p->given[a] < p->largest ? 0 : INFINITY;
        LENGTH(p, p->k, a) = p->given[a] > p->smallest ? 0 : INFINITY;
    }
}

/* The path, its end first, and how many nodes it has. Nodes that came no nearer in
 * a round bring none nearer in the next. */
static ptrdiff_t F(shortest_path)(PATHS *p, int32_t *path)
{
    const ptrdiff_t n = p->k + 1;
    double *distance = p->distance, *shorter = p->distance + n;
    int32_t *before = p->nodes + n, *nearer = p->nodes + 2 * n;
    ptrdiff_t n_nearer = 0, length = 0, end = -1;
    for (ptrdiff_t a = 0; a < n; a++) {
        distance[a] = p->surplus[a] > 0 ? 0 : INFINITY;
        before[a] = -1;
        if (p->surplus[a] > 0)
            nearer[n_nearer++] = (int32_t)a;
    }
    for (ptrdiff_t round = 0; round < n && n_nearer; round++) {
        for (ptrdiff_t b = 0; b < n; b++) {
            shorter[b] = INFINITY;
            path[b] = -1;
        }
        for (ptrdiff_t i = 0; i < n_nearer; i++) {
            const double *lengths = &LENGTH(p, nearer[i], 0);
            const double from = distance[nearer[i]];
            for (ptrdiff_t b = 0; b < n; b++) {
                const double through = from + lengths[b];
                path[b] = through < shorter[b] ? nearer[i] : path[b];
                shorter[b] = through < shorter[b] ? through : shorter[b];
            }
        }
        n_nearer = 0;
        for (ptrdiff_t b = 0; b < n; b++)
            if (shorter[b] < distance[b] - p->tolerance) {
                distance[b] = shorter[b];
                before[b] = path[b];
                nearer[n_nearer++] = (int32_t)b;
            }
    }
    for (ptrdiff_t a = 0; a < n; a++)
        if (p->surplus[a] < 0 && (end < 0 || distance[a] < distance[end]))
            end = a;
    for (; end >= 0; end = before[end])
        path[length++] = (int32_t)end;
    return length;
}

/* The rows of a that cost least to move to b: their number, at most `most`, and
 * where there is an array, themselves. */
static int64_t F(cheapest_of)(const PATHS *p, ptrdiff_t a, ptrdiff_t b, int64_t most,
                              int32_t *rows)
{
    const double length = LENGTH(p, a, b);
    int64_t n = 0;
    for (int32_t r = HEAD(p)[a]; r >= 0 && n < most; r = NEXT(p)[r])
        if (MORE(p, b, r) <= length) {
            if (rows)
                rows[n] = r;
            n++;
        }
    return n;
}

static int64_t F(less)(int64_t a, int64_t b) { return a < b ? a : b; }

/* Move rows along a path, as many as do so at the same cost. */
static void F(follow)(PATHS *p, const int32_t *path, ptrdiff_t length, int32_t *lost)
{
    const ptrdiff_t k = p->k;
    int64_t most = F(less)(p->surplus[path[length - 1]], -p->surplus[path[0]]);
    int32_t *moved = MOVED(p);
    for (ptrdiff_t i = 0; i + 1 < length; i++) {
        const ptrdiff_t a = path[i + 1], b = path[i];
        if (b == k)
            most = F(less)(most, p->largest - p->given[a]);
        else if (a == k)
            most = F(less)(most, p->given[b] - p->smallest);
        else
            most = F(cheapest_of)(p, a, b, most, NULL);
    }
    p->surplus[path[length - 1]] -= most;
    p->surplus[path[0]] += most;
    /* From the end, so that no row moves on that has only just come. */
    for (ptrdiff_t i = 0; i + 1 < length; i++) {
        const ptrdiff_t a = path[i + 1], b = path[i];
        if (b == k) {
            p->given[a] += most;
        } else if (a == k) {
            p->given[b] -= most;
        } else {
            F(cheapest_of)(p, a, b, most, moved);
            for (int64_t m = 0; m < most; m++) {
                p->labels[moved[m]] = (int32_t)b;
                p->paid[moved[m]] = (double)p->costs[b * p->n + moved[m]];
            }
            int32_t *to = &HEAD(p)[a];
            while (*to >= 0) {
                if (p->labels[*to] == a)
                    to = &NEXT(p)[*to];
                else
                    *to = NEXT(p)[*to];
            }
            F(join)(p, b, moved, most);
            moved += most;
        }
    }
    for (ptrdiff_t i = 1; i < length; i++)
        if (path[i] < k)
            F(find_edges)(p, path[i], 0, lost);
}

void F(stern_follow_paths)(PATHS *p)
{
    const ptrdiff_t n = p->n, k = p->k;
    int32_t *path = p->nodes + 3 * (k + 1), *lost = p->nodes + 2 * (k + 1);
    for (ptrdiff_t a = 0; a <= k; a++) {
        HEAD(p)[a] = -1;
        LENGTH(p, a, a) = INFINITY;
    }
    for (ptrdiff_t r = n - 1; r >= 0; r--) {
        const ptrdiff_t a = p->labels[r];
        p->paid[r] = (double)p->costs[a * n + r];
        NEXT(p)[r] = HEAD(p)[a];
        HEAD(p)[a] = (int32_t)r;
    }
    for (ptrdiff_t a = 0; a < k; a++)
        F(find_edges)(p, a, 1, lost);
    for (;;) {
        int any = 0;
        F(set_room)(p);
        for (ptrdiff_t a = 0; a <= k; a++)
            any |= p->surplus[a] > 0;
        if (!any)
            return;
        F(follow)(p, path, F(shortest_path)(p, path), lost);
    }
}

#undef PATHS
#undef HEAD
#undef NEXT
#undef MOVED
#undef LENGTH
#undef MORE
