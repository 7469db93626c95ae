/* How long a step of training is: signals, guard, controller and radius, as defined by
 * the classes in sklearn_ternary/neural_network/_steps. The numbers between two steps
 * belong to those classes, in arrays of double in the orders below. */
#ifndef STERN_CONTROL_H
#define STERN_CONTROL_H
#include <stddef.h>

enum { STERN_FEATURES = 6, STERN_HIDDEN = 16, STERN_OUTPUTS = 2 };
enum {
    STERN_WEIGHTS = (STERN_FEATURES + STERN_OUTPUTS) * STERN_HIDDEN + STERN_HIDDEN + STERN_OUTPUTS
};

typedef struct {
    double fast_loss, slow_loss, gradient_norm, trust, step_norm, n_descents;
} stern_signals;

typedef struct {
    double average, compared, naive;
} stern_guard;

typedef struct {
    double log_rate, log_radius, log_guard, last_increment, n_hits, n_judged;
    double log_rate_limit;
} stern_controller;

typedef struct {
    double scale, first_norm, is_active, n_rejected;
} stern_trust;

/* row_clusters.py */
typedef struct {
    double n_seen, refit_pending;
} stern_clusters;

/* What the network saw and answered at the last step. */
typedef struct {
    double is_known, features[STERN_FEATURES], hidden[STERN_HIDDEN], outputs[STERN_OUTPUTS];
} stern_memory;

/* The auxiliary network: parameters and both moments, n_steps of Adam. */
typedef struct {
    double *weights, *n_steps;
    stern_memory *last;
    int learns;
} stern_learner;

/* Rows of what a step reports. */
enum { STERN_LOSS, STERN_RATE, STERN_RADIUS, STERN_STEP_NORM, STERN_ALIGNMENT, STERN_REPORT };

typedef enum { STERN_CONSTANT, STERN_COSINE, STERN_WSD, STERN_INVSCALING } stern_schedule;
typedef enum { STERN_UNBOUNDED, STERN_GLOBAL, STERN_LAYERS, STERN_CLUSTERS } stern_bound;

typedef struct {
    stern_signals *signals;
    stern_guard *guard;
    stern_controller *controller;
    stern_trust *trust;
    stern_learner learner; /* without weights where there is none */
    double gain;
    double learning_rate, n_steps, warmup_steps;
    double controller_steps; /* before which multipliers move; 0: never */
    double power_t, radius;
    int schedule, bound;
    ptrdiff_t n_segments, n_groups;
    const long long *groups; /* of each segment */
    const double *counts;    /* values of each group */
    const double *lengths;   /* values of each segment */
    stern_clusters *clusters;
    double *row_means; /* of squared gradients, of each segment */
    double keep;
    double *radii, *norms;   /* of each group */
    double *factors;         /* of the last step, and of the new one */
    double *report;
} stern_control;

/* One step is `begin` and `end`, one after another. Sums are five of each segment, t
 * counts from 0. `begin` returns 0 where training has failed, and nothing but the guard
 * has changed. In between, where there are clusters, `observe_rows` takes in a gradient
 * and returns whether they are to be found anew. */
int stern_control_begin(const stern_control *c, double loss, const double *sums, double t);
int stern_control_observe_rows(const stern_control *c, const double *sums);
void stern_control_end(const stern_control *c, const double *sums, double t);
#endif
