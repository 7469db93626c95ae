/* Loops of rows at prices at level "generic"; the build gives the flags of the level. */
#define STERN_LEVEL generic
#include "transport_loops.h"
