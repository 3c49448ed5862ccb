#include "../compat/cuda.h"
#include "../shared/conv.entry.h"
