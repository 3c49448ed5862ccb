#include "../compat/host.h"
#include "../shared/conv.entry.h"
EMU_UNIT(conv)
