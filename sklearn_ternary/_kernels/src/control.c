#include "control.h"

#include <math.h>

#include "steps.h"

#define PI 3.141592653589793

/* As Python's: the first of two that are no numbers, or equal. */
static double larger(double a, double b)
{
    return b > a ? b : a;
}

static double smaller(double a, double b)
{
    return b < a ? b : a;
}

static double between(double low, double x, double high)
{
    return smaller(high, larger(low, x));
}

/* signals.py */
static double average(double old, double value, double keep)
{
    return isnan(old) ? value : keep * old + (1 - keep) * value;
}

static void observe(const stern_control *c, double loss, double gradient_norm,
                    double alignment, double norm, double t, double *features)
{
    stern_signals *s = c->signals;
    const double tiny = 1e-12, before = s->fast_loss;
    s->fast_loss = average(s->fast_loss, loss, 0.9);
    s->slow_loss = average(s->slow_loss, loss, 0.98);
    s->gradient_norm = average(s->gradient_norm, gradient_norm, 0.95);
    s->n_descents += s->fast_loss < before;
    const double ratio = norm > 0 ? s->step_norm / norm : 0;
    features[0] = log(larger(s->fast_loss, tiny) / larger(s->slow_loss, tiny));
    features[1] = log(larger(gradient_norm, tiny) / larger(s->gradient_norm, tiny));
    features[2] = alignment;
    features[3] = s->trust;
    features[4] = ratio > 0 ? log10(ratio) / 3 + 1 : 0;
    features[5] = c->n_steps > 0 ? 2 * t / c->n_steps - 1 : 0;
    for (int i = 0; i < STERN_FEATURES; ++i)
        features[i] = isnan(features[i]) ? 0 : between(-3, features[i], 3);
}

/* auxiliary_network.py; the weights of a layer are rows of inputs. */
enum {
    HEAD = STERN_FEATURES * STERN_HIDDEN,
    BIAS = HEAD + STERN_HIDDEN * STERN_OUTPUTS,
    HEAD_BIAS = BIAS + STERN_HIDDEN
};

static void answer(const double *p, stern_memory *m)
{
    for (int j = 0; j < STERN_HIDDEN; ++j) {
        double sum = 0;
        for (int i = 0; i < STERN_FEATURES; ++i)
            sum += m->features[i] * p[i * STERN_HIDDEN + j];
        m->hidden[j] = tanh(sum + p[BIAS + j]);
    }
    for (int k = 0; k < STERN_OUTPUTS; ++k) {
        double sum = 0;
        for (int j = 0; j < STERN_HIDDEN; ++j)
            sum += m->hidden[j] * p[HEAD + j * STERN_OUTPUTS + k];
        m->outputs[k] = sum + p[HEAD_BIAS + k];
    }
}

static void learn(const stern_learner *l, double reward, int is_active)
{
    const double beta_1 = 0.9, beta_2 = 0.99, epsilon = 1e-8, penalty = 0.04;
    const stern_memory *m = l->last;
    double *p = l->weights, *first = p + STERN_WEIGHTS, *second = first + STERN_WEIGHTS;
    double g[STERN_WEIGHTS], *dout = g + HEAD_BIAS;
    for (int k = 0; k < STERN_OUTPUTS; ++k)
        dout[k] = penalty * m->outputs[k];
    const double bend = tanh(m->outputs[is_active]);
    dout[is_active] -= reward * (1 - bend * bend);
    for (int j = 0; j < STERN_HIDDEN; ++j) {
        double sum = 0;
        for (int k = 0; k < STERN_OUTPUTS; ++k) {
            g[HEAD + j * STERN_OUTPUTS + k] = m->hidden[j] * dout[k];
            sum += dout[k] * p[HEAD + j * STERN_OUTPUTS + k];
        }
        g[BIAS + j] = sum * (1 - m->hidden[j] * m->hidden[j]);
        for (int i = 0; i < STERN_FEATURES; ++i)
            g[i * STERN_HIDDEN + j] = m->features[i] * g[BIAS + j];
    }
    *l->n_steps += 1;
    const double rate = 0.01 / (1 - pow(beta_1, *l->n_steps));
    const double correction = 1 - pow(beta_2, *l->n_steps);
    for (int i = 0; i < STERN_WEIGHTS; ++i) {
        first[i] = first[i] * beta_1 + g[i] * (1 - beta_1);
        second[i] = second[i] * beta_2 + g[i] * g[i] * (1 - beta_2);
        p[i] -= first[i] / (sqrt(second[i] / correction) + epsilon) * rate;
    }
}

/* step_controller.py */
static void move(const stern_control *c, const double *features)
{
    const double most = log(100), increment = 0.03, alignment = features[2];
    const int is_active = c->trust->is_active != 0;
    const stern_learner *l = &c->learner;
    stern_controller *u = c->controller;
    double o1 = 0, o2 = 0;
    if (u->last_increment != 0 && alignment != 0) {
        u->n_judged += 1;
        u->n_hits += (u->last_increment > 0) == (alignment > 0);
    }
    if (l->weights) {
        if (l->learns && l->last->is_known)
            learn(l, alignment, is_active);
        for (int i = 0; i < STERN_FEATURES; ++i)
            l->last->features[i] = features[i];
        l->last->is_known = 1;
        answer(l->weights, l->last);
        o1 = l->last->outputs[0];
        o2 = l->last->outputs[1];
    }
    const double push = c->gain * alignment;
    const double du1 = increment * tanh((is_active ? 0 : push) + o1);
    const double du2 = increment * tanh((is_active ? push : 0) + o2);
    u->log_rate = smaller(u->log_rate_limit, between(-most, u->log_rate + du1, most));
    u->log_radius = between(-most, u->log_radius + du2, most);
    u->last_increment = is_active ? du2 : du1;
}

/* schedules.py */
static double base_of(const stern_control *c, double t)
{
    const double n = c->n_steps;
    const double rise = c->warmup_steps > 0 ? smaller(1, (t + 1) / c->warmup_steps) : 1;
    const double now = n > 0 ? smaller(t, n - 1) : 0;
    if (c->schedule == STERN_COSINE)
        return rise * 0.5 * (1 + cos(PI * now / n));
    if (c->schedule == STERN_WSD)
        return rise * larger(0.01, smaller(1, (n - now) / larger(1, 0.2 * n)));
    if (c->schedule == STERN_INVSCALING)
        return rise * pow(t + 1, -c->power_t);
    return rise;
}

/* trust_region.py */
static double shortened(double rate, double norm, double radius)
{
    return rate * norm > radius ? radius / norm * (1 - 0x1p-22) : rate;
}

static double column(const stern_control *c, const double *sums, int j)
{
    double total = 0;
    for (ptrdiff_t i = 0; i < c->n_segments; ++i)
        total += sums[i * STERN_STEP_SUMS + j];
    return total;
}

static void sum_groups(const stern_control *c, const double *sums, int j, double *totals)
{
    for (ptrdiff_t k = 0; k < c->n_groups; ++k)
        totals[k] = 0;
    for (ptrdiff_t i = 0; i < c->n_segments; ++i)
        totals[c->groups[i]] += sums[i * STERN_STEP_SUMS + j];
}

static double total_of(const double *values, ptrdiff_t n)
{
    double total = 0;
    for (ptrdiff_t k = 0; k < n; ++k)
        total += values[k];
    return total;
}

/* Radii of the groups from the sums of the squares of their values, in place; returns
 * that of all. */
static double set_radii(const stern_control *c, double multiplier, double *radii)
{
    const ptrdiff_t n = c->n_groups;
    const double radius = c->radius * c->trust->first_norm * multiplier;
    if (c->bound == STERN_LAYERS) {
        double squares = 0;
        for (ptrdiff_t k = 0; k < n; ++k) {
            radii[k] = c->radius * larger(sqrt(radii[k]), 1e-3) * multiplier;
            squares += radii[k] * radii[k];
        }
        return sqrt(squares);
    }
    if (c->bound == STERN_CLUSTERS) {
        const double size = 0.01 * total_of(radii, n), count = total_of(c->counts, n);
        for (ptrdiff_t k = 0; k < n; ++k)
            radii[k] = larger(radii[k], size * c->counts[k] / count);
        const double shares = total_of(radii, n);
        for (ptrdiff_t k = 0; k < n; ++k)
            radii[k] = radius * sqrt(shares > 0 ? radii[k] / shares : c->counts[k] / count);
        return radius;
    }
    return radii[0] = c->bound == STERN_GLOBAL ? radius : INFINITY;
}

static void limit(const stern_control *c, double rate, double multiplier,
                  const double *sums)
{
    double *radii = c->radii, *norms = c->norms, squares = 0;
    ptrdiff_t n_active = 0, n_filled = 0;
    sum_groups(c, sums, 4, radii);
    sum_groups(c, sums, 2, norms);
    c->report[STERN_RADIUS] = set_radii(c, multiplier * c->trust->scale, radii);
    for (ptrdiff_t k = 0; k < c->n_groups; ++k)
        norms[k] = sqrt(norms[k]);
    for (ptrdiff_t i = 0; i < c->n_segments; ++i)
        c->factors[i] = shortened(rate, norms[c->groups[i]], radii[c->groups[i]]);
    for (ptrdiff_t k = 0; k < c->n_groups; ++k) {
        const int is_active = rate * norms[k] > radii[k];
        const double factor = shortened(rate, norms[k], radii[k]);
        squares += (factor * norms[k]) * (factor * norms[k]);
        n_active += is_active;
        n_filled += c->counts[k] > 0;
    }
    c->trust->is_active = 2 * n_active > n_filled;
    c->report[STERN_RATE] = rate;
    c->report[STERN_STEP_NORM] = sqrt(squares);
}

int stern_control_begin(const stern_control *c, double loss, const double *sums, double t)
{
    stern_guard *guard = c->guard;
    const double gradient_norm = sqrt(column(c, sums, 0));
    if (!isfinite(loss + gradient_norm))
        return 0;
    guard->average += 0.1 * (loss - guard->average);
    if (guard->average > larger(2 * guard->compared, 0.5 * guard->naive))
        return 0;

    double alignment = 0, features[STERN_FEATURES];
    const double length = gradient_norm * c->signals->step_norm;
    if (length > 0) {
        for (ptrdiff_t i = 0; i < c->n_segments; ++i)
            alignment += c->factors[i] * sums[i * STERN_STEP_SUMS + 1];
        alignment = between(-1, -alignment / length, 1);
    }
    observe(c, loss, gradient_norm, alignment, sqrt(column(c, sums, 4)), t, features);
    if (t < c->controller_steps)
        move(c, features);
    c->report[STERN_LOSS] = loss;
    c->report[STERN_ALIGNMENT] = alignment;
    return 1;
}

int stern_control_observe_rows(const stern_control *c, const double *sums)
{
    const double n = c->clusters->n_seen += 1, share = n == 1 ? 1 : 1 - c->keep;
    for (ptrdiff_t i = 0; i < c->n_segments; ++i) {
        const double mean = sums[i * STERN_STEP_SUMS] / c->lengths[i];
        c->row_means[i] += (mean - c->row_means[i]) * share;
    }
    return c->clusters->refit_pending != 0 || n == 1 || n == 5 || n == 20 || n == 60;
}

void stern_control_end(const stern_control *c, const double *sums, double t)
{
    const stern_controller *u = c->controller;
    const double base = base_of(c, t);
    const double rate = c->learning_rate * base * exp(u->log_rate + u->log_guard);
    limit(c, rate, base * exp(u->log_radius), sums);
}
