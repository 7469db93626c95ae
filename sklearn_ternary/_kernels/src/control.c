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
    return rise;
}

/* trust_region.py */
static double shortened(double rate, double norm, double radius, int *is_active)
{
    *is_active = rate * norm > radius;
    return *is_active ? radius / norm * (1 - 0x1p-22) : rate;
}

static double column(const stern_control *c, const double *sums, int j)
{
    double total = 0;
    for (ptrdiff_t i = 0; i < c->n_segments; ++i)
        total += sums[i * STERN_STEP_SUMS + j];
    return total;
}

static void limit(const stern_control *c, double rate, double multiplier,
                  const double *sums)
{
    double radius = INFINITY;
    int is_active = 0;
    multiplier *= c->trust->scale;
    c->report[STERN_RATE] = rate;
    if (c->bound == STERN_LAYERS) {
        double squares = 0, squared_radius = 0;
        ptrdiff_t n_active = 0;
        for (ptrdiff_t k = 0; k < c->n_layers; ++k) {
            double size = 0, length = 0;
            for (long long at = c->starts[k]; at < c->starts[k + 1]; ++at) {
                size += sums[c->members[at] * STERN_STEP_SUMS + 4];
                length += sums[c->members[at] * STERN_STEP_SUMS + 2];
            }
            const double norm = sqrt(length);
            radius = c->radius * larger(sqrt(size), 1e-3) * multiplier;
            const double factor = shortened(rate, norm, radius, &is_active);
            for (long long at = c->starts[k]; at < c->starts[k + 1]; ++at)
                c->factors[c->members[at]] = factor;
            squares += (factor * norm) * (factor * norm);
            squared_radius += radius * radius;
            n_active += is_active;
        }
        c->trust->is_active = 2 * n_active > c->n_layers;
        c->report[STERN_STEP_NORM] = sqrt(squares);
        c->report[STERN_RADIUS] = sqrt(squared_radius);
        return;
    }
    const double norm = sqrt(column(c, sums, 2));
    if (c->bound == STERN_GLOBAL) {
        radius = c->radius * c->trust->first_norm * multiplier;
        rate = shortened(rate, norm, radius, &is_active);
    }
    for (ptrdiff_t i = 0; i < c->n_segments; ++i)
        c->factors[i] = rate;
    c->trust->is_active = is_active;
    c->report[STERN_STEP_NORM] = rate * norm;
    c->report[STERN_RADIUS] = radius;
}

int stern_control_step(const stern_control *c, double loss, const double *sums, double t)
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
    const stern_controller *u = c->controller;
    const double base = base_of(c, t);
    const double rate = c->learning_rate * base * exp(u->log_rate + u->log_guard);
    limit(c, rate, base * exp(u->log_radius), sums);
    c->report[STERN_LOSS] = loss;
    c->report[STERN_ALIGNMENT] = alignment;
    return 1;
}
