/* Included once per level, with STERN_LEVEL defined and the compiler set to it. */
#include "language.h"
#include "language_vector.h"

#include "language_rows.h"
#include "language_attention.h"
#include "language_blocks.h"
#include "language_stored.h"
#include "language_dense.h"
#include "language_pack.h"

const stern_lm_loops STERN_GLUE(stern_lm_, STERN_LEVEL) = {
    norm, gate_rows, add_rows, quantize_blocks, rotate, store, attend, dense, blocks,
    order_fields, stored_ternary, stored_q6,
    pack_ternary, pack_q6, pack_q8,
};
