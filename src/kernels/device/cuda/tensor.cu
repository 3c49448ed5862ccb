#include "../compat/cuda.h"
#include "../shared/tensor.entry.h"
