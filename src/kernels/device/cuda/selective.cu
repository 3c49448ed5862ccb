#include "../compat/cuda.h"
#include "../shared/selective.entry.h"
