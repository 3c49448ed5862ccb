#include "../compat/host.h"
#include "../shared/tensor.entry.h"
EMU_UNIT(tensor)
